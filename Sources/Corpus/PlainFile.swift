import Glibc

/// A file, or what is compressed in it, that could not be read.
struct Unreadable: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }

    /// The system's reason.
    static var system: Unreadable { Unreadable(String(cString: strerror(errno))) }
}

/// An open plain file; closed with the last reference.
final class PlainFile: Sendable {
    /// What tells whether a file is still the one that was read before.
    struct Identity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
        let byteCount: Int
        let seconds: Int
        let nanoseconds: Int
    }

    private let descriptor: Int32

    init(_ path: String) throws(Unreadable) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system }
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Unreadable("it is not a plain file") }
    }

    deinit { close(descriptor) }

    func identity() throws(Unreadable) -> Identity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system }
        return Identity(
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino), byteCount: Int(status.st_size),
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }

    /// Reads at the file's position, at least one byte unless it ends there.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(Unreadable) -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else { throw .system }
        }
    }

    /// Fills the buffer from `offset` on; false if the file ends before.
    func read(into buffer: UnsafeMutableRawBufferPointer, from offset: Int) throws(Unreadable) -> Bool {
        var filled = 0
        while filled < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, off_t(offset + filled))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system }
            guard count > 0 else { return false }
            filled += count
        }
        return true
    }
}
