import Glibc

/// Reading and replacing whole files such that a crash at any instant leaves the old file or the new one.
package enum DurableFile {
    /// Replaces the file at `path` by `bytes`, atomically and durably. If it fails, the old file is untouched and nothing
    /// else remains.
    ///
    /// - Parameter isPrivate: only the owner may read the file (mode 0600).
    package static func write(
        _ bytes: [UInt8], to path: String, isPrivate: Bool = false, layer: any FileLayer = SystemFiles()
    ) throws(FileError) {
        var writer = try DurableWriter(path: path, isPrivate: isPrivate, layer: layer)
        try writer.append(bytes)
        try writer.commit()
    }

    /// The bytes of a file of at most `byteCountMax`; a larger one, or something that is not a plain file, is refused
    /// before memory is taken.
    package static func read(_ path: String, byteCountMax: Int) throws(FileError) -> [UInt8] {
        let (descriptor, count) = try openToRead(path)
        defer { close(descriptor) }
        guard count <= byteCountMax else { throw FileError(.read, path, errno: EFBIG) }
        return try readAll(descriptor, from: 0, count: count, path: path)
    }

    /// At most `byteCountMax` bytes of a file from `offset` on; none if it ends before. Only these are read.
    package static func read(
        _ path: String, from offset: UInt64, byteCountMax: UInt64
    ) throws(FileError) -> [UInt8] {
        let (descriptor, count) = try openToRead(path)
        defer { close(descriptor) }
        let start = Int(min(offset, UInt64(count)))
        return try readAll(
            descriptor, from: start, count: Int(min(byteCountMax, UInt64(count - start))), path: path)
    }

    /// Opens a plain file; gives its size.
    private static func openToRead(_ path: String) throws(FileError) -> (descriptor: Int32, count: Int) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError(.open, path, errno: errno) }
        var status = stat()
        let failure: FileError? =
            if fstat(descriptor, &status) != 0 {
                FileError(.inspect, path, errno: errno)
            } else if status.st_mode & S_IFMT == S_IFDIR {
                FileError(.read, path, errno: EISDIR)
            } else if status.st_mode & S_IFMT != S_IFREG {
                FileError(.read, path, errno: EINVAL)
            } else {
                nil
            }
        if let failure {
            close(descriptor)
            throw failure
        }
        return (descriptor, Int(status.st_size))
    }

    private static func readAll(
        _ descriptor: Int32, from start: Int, count: Int, path: String
    ) throws(FileError) -> [UInt8] {
        var failure: FileError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let step = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(start + filled))
                if step < 0 && errno == EINTR { continue }
                if step < 0 { failure = FileError(.read, path, errno: errno) }
                if step <= 0 { return }
                filled += step
            }
        }
        if let failure { throw failure }
        return bytes
    }
}

/// A file that comes into being, or replaces an old one, all at once when it is committed. If it is dropped before, by an
/// error or a cancelled command, its partial file is removed.
package struct DurableWriter: ~Copyable {
    private let path: String
    /// The path that errors name.
    private let shownPath: String
    private let folder: String
    private let partial: String
    private let layer: any FileLayer
    private let descriptor: Int32
    private var isCommitted = false

    /// Starts a partial file beside `path`, after removing what killed processes may have left there.
    ///
    /// - Parameter shownPath: what errors name in place of `path`, where that itself is only there for a while.
    package init(
        path: String, shownAs shownPath: String? = nil, isPrivate: Bool = false,
        layer: any FileLayer = SystemFiles()
    ) throws(FileError) {
        let (folder, name) = splitPath(path)
        for stale in stalePartials(of: name, among: try layer.list(folder)) {
            try? layer.removeFile("\(folder)/\(stale)")
        }
        let partial = "\(folder)/\(partialName(name))"
        do { descriptor = try layer.open(partial, .create(isPrivate: isPrivate)) } catch {
            throw FileError(error.operation, shownPath ?? path, errno: error.reason.number)
        }
        self.path = path
        self.shownPath = shownPath ?? path
        self.folder = folder
        self.partial = partial
        self.layer = layer
    }

    /// Appends bytes.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        do { try layer.writeAll(descriptor, bytes, path: partial) } catch { throw naming(error) }
    }

    /// Appends bytes.
    package mutating func append(_ bytes: [UInt8]) throws(FileError) {
        var failure: FileError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileError) {
                try layer.writeAll(descriptor, buffer, path: partial)
            } catch { failure = naming(error) }
        }
        if let failure { throw failure }
    }

    /// Forces the bytes to the device and puts the file in its place.
    package consuming func commit() throws(FileError) {
        do {
            try layer.sync(descriptor, path: partial)
            try layer.rename(partial, to: path)
            isCommitted = true
            try layer.syncFolder(folder)
        } catch { throw naming(error) }
    }

    /// An error about the partial file is one about the file that the person named.
    private func naming(_ error: FileError) -> FileError {
        var error = error
        if error.path == partial { error.path = shownPath }
        return error
    }

    deinit {
        layer.close(descriptor)
        if !isCommitted { try? layer.removeFile(partial) }
    }
}
