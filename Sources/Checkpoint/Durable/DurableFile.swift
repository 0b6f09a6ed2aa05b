package import Glibc

/// Whole files that are either the old bytes or the new ones, whatever happens meanwhile.
package enum DurableFile {
    /// Replaces `path` by `bytes`: temporary sibling, fsync, rename, fsync of the folder.
    ///
    /// On failure the old file is untouched and the temporary one is gone.
    package static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(FileError) {
        try write([bytes], to: path, mode: mode)
    }

    /// Replaces `path` by the concatenation of `pieces`, as `write(_:to:mode:)` does.
    package static func write(_ pieces: [[UInt8]], to path: String, mode: mode_t = 0o644) throws(FileError) {
        let temporary = "\(path).tmp\(getpid())"
        do throws(FileError) {
            var file = try FileHandle(creating: temporary, mode: mode)
            for piece in pieces { try file.write(piece) }
            try file.synchronize()
            try file.close()
            guard rename(temporary, path) == 0 else { throw FileError("replace", path) }
        } catch {
            unlink(temporary)
            throw FileError(error.operation, path, number: error.number, detail: error.detail)
        }
        try synchronizeFolder(of: path)
    }

    /// Makes the names in the folder of `path` durable.
    package static func synchronizeFolder(of path: String) throws(FileError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", folder) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("synchronize", folder) }
    }

    /// The whole of a regular file of at most `byteCountMax` bytes; nil if there is no such file.
    package static func read(_ path: String, byteCountMax: Int) throws(FileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError("open", path)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("inspect", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError("read", path, detail: "not a regular file") }
        guard status.st_size <= byteCountMax else {
            throw FileError("read", path, detail: "\(status.st_size) bytes, but at most \(byteCountMax) are expected")
        }
        let size = Int(status.st_size)
        var failure: FileError?
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = 0
            while count < size {
                let step = Glibc.read(descriptor, buffer.baseAddress?.advanced(by: count), size - count)
                if step < 0 && errno == EINTR { continue }
                guard step > 0 else {
                    failure = step == 0 ? FileError("read", path, detail: "it shrank while read") : FileError("read", path)
                    return
                }
                count += step
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Creates a folder and its parents, durably; existing ones are fine.
    package static func createFolder(_ path: String, mode: mode_t = 0o755) throws(FileError) {
        if mkdir(path, mode) == 0 { return try synchronizeFolder(of: path) }
        switch errno {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw FileError("create folder", path, number: ENOTDIR)
            }
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
                throw FileError("create folder", path, number: ENOENT)
            }
            try createFolder(String(path[..<slash]), mode: mode)
            guard mkdir(path, mode) == 0 || errno == EEXIST else { throw FileError("create folder", path) }
            try synchronizeFolder(of: path)
        default: throw FileError("create folder", path)
        }
    }
}

extension FileError {
    fileprivate init(_ operation: String, _ path: String, number: Int32, detail: String) {
        self.init(operation, path, number: number)
        self.detail = detail
    }
}

/// One open file, closed at the latest when the value ends.
package struct FileHandle: ~Copyable {
    /// The descriptor, for calls that this type does not wrap.
    package private(set) var descriptor: Int32
    /// The path, for messages.
    package let path: String

    /// Creates a file or empties an existing one.
    package init(creating path: String, mode: mode_t = 0o644) throws(FileError) {
        try self.init(path, flags: O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode: mode)
    }

    /// Opens with the given flags of open(2).
    package init(_ path: String, flags: Int32, mode: mode_t = 0o644) throws(FileError) {
        descriptor = open(path, flags, mode)
        self.path = path
        guard descriptor >= 0 else { throw FileError(flags & O_CREAT == 0 ? "open" : "create", path) }
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    /// Writes all of `bytes` at the file's position.
    package borrowing func write(_ bytes: [UInt8]) throws(FileError) {
        var failure: FileError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileError) { try write(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Writes all of `bytes` at the file's position.
    package borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileError("write", path) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Waits until the contents are on the device.
    package borrowing func synchronize() throws(FileError) {
        guard fsync(descriptor) == 0 else { throw FileError("synchronize", path) }
    }

    /// Closes the file and reports what the system only says then.
    package mutating func close() throws(FileError) {
        let status = Glibc.close(descriptor)
        descriptor = -1
        guard status == 0 else { throw FileError("close", path) }
    }
}
