import Glibc

/// Reads files of text into memory.
enum TextFile {
    /// A file that could not be read.
    struct Unreadable: Error {
        let reason: String
    }

    /// At most `byteCountMax` bytes from the start of a plain file.
    static func read(_ path: String, byteCountMax: Int) throws(Unreadable) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Unreadable(reason: reason()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Unreadable(reason: reason()) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Unreadable(reason: "it is not a plain file") }
        let count = min(Int(status.st_size), byteCountMax)
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let step = Glibc.read(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled)
                if step < 0 && errno == EINTR { continue }
                if step < 0 { failed = true }
                if step <= 0 { return }
                filled += step
            }
        }
        if failed { throw Unreadable(reason: reason()) }
        return bytes
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}
