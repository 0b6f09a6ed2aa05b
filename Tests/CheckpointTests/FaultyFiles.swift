import Checkpoint
import Glibc

/// A file layer that fails at a chosen operation: once, as a full disk does, or from then on, as a killed process does.
/// The failing operation, if it is a write, leaves the first half of its bytes behind.
final class FaultyFiles: FileLayer, @unchecked Sendable {
    enum Fault { case error(Int32), kill }

    private let system = SystemFiles()
    private let fault: Fault
    private var remaining: Int
    private(set) var isDead = false
    /// The number of operations asked for.
    private(set) var operationCount = 0

    /// Fails the operation with the number `index`, from 0; never with nil.
    init(failing index: Int?, with fault: Fault = .kill) {
        remaining = index ?? .max
        self.fault = fault
    }

    /// Counts an operation; gives the error number if it is the one to fail.
    private func step() -> Int32? {
        operationCount += 1
        if isDead { return EINTR }
        remaining -= 1
        guard remaining == -1 else { return nil }
        switch fault {
        case .error(let number): return number
        case .kill:
            isDead = true
            return EINTR
        }
    }

    func open(_ path: String, _ mode: FileOpenMode) throws(FileError) -> Int32 {
        if let number = step() { throw FileError(.open, path, errno: number) }
        return try system.open(path, mode)
    }

    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, path: String) throws(FileError) -> Int {
        let wasDead = isDead
        if let number = step() {
            if !wasDead {
                _ = try system.write(
                    descriptor, UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count / 2)]), path: path)
            }
            throw FileError(.write, path, errno: number)
        }
        return try system.write(descriptor, bytes, path: path)
    }

    func sync(_ descriptor: Int32, path: String) throws(FileError) {
        if let number = step() { throw FileError(.sync, path, errno: number) }
    }

    func truncate(_ descriptor: Int32, to length: Int, path: String) throws(FileError) {
        if let number = step() { throw FileError(.truncate, path, errno: number) }
        try system.truncate(descriptor, to: length, path: path)
    }

    func close(_ descriptor: Int32) { system.close(descriptor) }

    func link(_ old: String, as new: String) throws(FileError) {
        if let number = step() { throw FileError(.create, new, errno: number) }
        try system.link(old, as: new)
    }

    func exchange(_ one: String, with other: String) throws(FileError) {
        if let number = step() { throw FileError(.rename, other, errno: number) }
        try system.exchange(one, with: other)
    }

    func rename(_ old: String, to new: String) throws(FileError) {
        if let number = step() { throw FileError(.rename, new, errno: number) }
        try system.rename(old, to: new)
    }

    func removeFile(_ path: String) throws(FileError) {
        if let number = step() { throw FileError(.remove, path, errno: number) }
        try system.removeFile(path)
    }

    func removeFolder(_ path: String) throws(FileError) {
        if let number = step() { throw FileError(.remove, path, errno: number) }
        try system.removeFolder(path)
    }

    func createFolder(_ path: String) throws(FileError) {
        if let number = step() { throw FileError(.createFolder, path, errno: number) }
        try system.createFolder(path)
    }

    func list(_ path: String) throws(FileError) -> [String] {
        if let number = step() { throw FileError(.list, path, errno: number) }
        return try system.list(path)
    }
}

/// A folder of its own for one test, removed with everything in it at the end.
final class ScratchFolder {
    let path: String

    init() {
        var template = Array("/tmp/atoll-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    subscript(_ name: String) -> String { "\(path)/\(name)" }

    /// The names in the folder, hidden ones too.
    var names: [String] { (try? SystemFiles().list(path)) ?? [] }

    /// What this process left unfinished looks from now on as if a process had left it that is gone.
    func killWriters() throws {
        for name in names where name.hasSuffix(".\(getpid()).partial") {
            // No process has this id: it is above the kernel's largest.
            let orphan = name.dropLast(".\(getpid()).partial".utf8.count) + ".99999999.partial"
            try SystemFiles().rename(self[name], to: self[String(orphan)])
        }
    }

    private static func remove(_ path: String) {
        for name in (try? SystemFiles().list(path)) ?? [] {
            let entry = "\(path)/\(name)"
            if unlink(entry) != 0 { remove(entry) }
        }
        rmdir(path)
    }
}
