import CFiles
import Glibc
import Synchronization

/// The file operations that durable writing is made of; tests put a layer that fails, tears and dies in its place.
package protocol FileLayer: Sendable {
    /// Opens a file: for reading, for appending, or new and empty for writing.
    func open(_ path: String, _ mode: FileOpenMode) throws(FileError) -> Int32
    /// Writes some of the bytes and returns how many, at least one.
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, path: String) throws(FileError) -> Int
    /// Forces the file, or folder, to the device.
    func sync(_ descriptor: Int32, path: String) throws(FileError)
    /// Cuts the file to a length.
    func truncate(_ descriptor: Int32, to length: Int, path: String) throws(FileError)
    /// Closes a descriptor.
    func close(_ descriptor: Int32)
    /// Renames a file or folder, replacing an old file or empty folder atomically.
    func rename(_ old: String, to new: String) throws(FileError)
    /// Gives a file a second name; fails for folders, and where the name is taken.
    func link(_ old: String, as new: String) throws(FileError)
    /// Swaps two names of one folder in one step.
    func exchange(_ one: String, with other: String) throws(FileError)
    /// Removes a file.
    func removeFile(_ path: String) throws(FileError)
    /// Removes an empty folder.
    func removeFolder(_ path: String) throws(FileError)
    /// Makes a folder.
    func createFolder(_ path: String) throws(FileError)
    /// The names in a folder, without `.` and `..`, in byte order.
    func list(_ path: String) throws(FileError) -> [String]
}

/// How a file is opened.
package enum FileOpenMode: Hashable, Sendable {
    /// For reading.
    case read
    /// For reading and appending; it must exist.
    case append
    /// For writing, empty; made if it is not there. `isPrivate`: only the owner may read it (mode 0600).
    case create(isPrivate: Bool)
    /// A folder, in order to `sync` it.
    case folder
}

/// The operations of the operating system.
package struct SystemFiles: FileLayer {
    /// The one there is.
    package init() {}

    package func open(_ path: String, _ mode: FileOpenMode) throws(FileError) -> Int32 {
        let (flags, permissions): (Int32, mode_t) =
            switch mode {
            case .read: (O_RDONLY, 0)
            case .append: (O_RDWR | O_APPEND, 0)
            case .create(let isPrivate): (O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, isPrivate ? 0o600 : 0o644)
            case .folder: (O_RDONLY | O_DIRECTORY, 0)
            }
        while true {
            let descriptor = Glibc.open(path, flags | O_CLOEXEC, permissions)
            if descriptor >= 0 { return descriptor }
            if errno == EINTR { continue }
            if case .create = mode { throw FileError(.create, path, errno: errno) }
            throw FileError(.open, path, errno: errno)
        }
    }

    package func write(
        _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, path: String
    ) throws(FileError) -> Int {
        while true {
            let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            if count > 0 || bytes.isEmpty { return count }
            if count < 0 && errno == EINTR { continue }
            throw FileError(.write, path, errno: count == 0 ? EIO : errno)
        }
    }

    package func sync(_ descriptor: Int32, path: String) throws(FileError) {
        guard fsync(descriptor) == 0 else { throw FileError(.sync, path, errno: errno) }
    }

    package func truncate(_ descriptor: Int32, to length: Int, path: String) throws(FileError) {
        guard ftruncate(descriptor, off_t(length)) == 0 else { throw FileError(.truncate, path, errno: errno) }
    }

    package func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    package func rename(_ old: String, to new: String) throws(FileError) {
        guard Glibc.rename(old, new) == 0 else { throw FileError(.rename, new, errno: errno) }
    }

    package func link(_ old: String, as new: String) throws(FileError) {
        guard Glibc.link(old, new) == 0 else { throw FileError(.create, new, errno: errno) }
    }

    package func exchange(_ one: String, with other: String) throws(FileError) {
        guard files_exchange(one, other) == 0 else { throw FileError(.rename, other, errno: errno) }
    }

    package func removeFile(_ path: String) throws(FileError) {
        guard unlink(path) == 0 else { throw FileError(.remove, path, errno: errno) }
    }

    package func removeFolder(_ path: String) throws(FileError) {
        guard rmdir(path) == 0 else { throw FileError(.remove, path, errno: errno) }
    }

    package func createFolder(_ path: String) throws(FileError) {
        guard mkdir(path, 0o755) == 0 else { throw FileError(.createFolder, path, errno: errno) }
    }

    package func list(_ path: String) throws(FileError) -> [String] {
        guard let folder = opendir(path) else { throw FileError(.list, path, errno: errno) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

extension FileLayer {
    /// Writes all of the bytes.
    func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, path: String) throws(FileError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = try write(descriptor, rest, path: path)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Forces a folder's entries to the device, so that a rename in it survives a crash.
    func syncFolder(_ path: String) throws(FileError) {
        let descriptor = try open(path, .folder)
        defer { close(descriptor) }
        try sync(descriptor, path: path)
    }
}

/// The folder that holds a path, and the last component.
func splitPath(_ path: String) -> (folder: String, name: String) {
    var bytes = Array(path.utf8)
    while bytes.count > 1 && bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else {
        return (".", String(decoding: bytes, as: UTF8.self))
    }
    let folder = slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
    return (folder, String(decoding: bytes[(slash + 1)...], as: UTF8.self))
}

/// A name beside `name` that nobody else uses, no other thread either: hidden, with a number of its own, and with the
/// process's mark and id, so that what a killed process left can be told from what a living one writes.
func partialName(_ name: String) -> String {
    let number = partialCount.add(1, ordering: .relaxed).newValue
    return ".\(name).\(number).\(processMark).\(getpid()).partial"
}

/// Partial outputs that this process has named.
private let partialCount = Atomic<Int>(0)

/// Tells this process from an earlier one of the same id: in a container they all have the same.
private let processMark: UInt64 = {
    var mark: UInt64 = 0
    // Without entropy the mark is 0, as good as none: then only other process ids can be told apart.
    _ = getentropy(&mark, MemoryLayout<UInt64>.size)
    return mark
}()

/// The names in `names` that are partial outputs of `name` whose process no longer lives.
func stalePartials(of name: String, among names: [String]) -> [String] {
    names.filter { candidate in
        guard candidate.hasPrefix(".\(name)."), candidate.hasSuffix(".partial") else { return false }
        let numbers = candidate.dropFirst(name.utf8.count + 2).dropLast(".partial".utf8.count).split(separator: ".")
        guard numbers.count == 3, Int(numbers[0]) != nil, let mark = UInt64(numbers[1]),
            let process = pid_t(numbers[2])
        else { return false }
        if process == getpid() { return mark != processMark }
        return process > 0 && kill(process, 0) != 0 && errno == ESRCH
    }
}
