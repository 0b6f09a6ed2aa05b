import Foundation
import Glibc

/// Runs the `atoll` binary that was built with these tests.
enum AtollProcess {
    struct Result {
        var status: Int32
        var output: String
        var error: String

        /// The last line of standard error, which is where a command says why it could not go on.
        var lastErrorLine: String { error.split(separator: "\n").last.map(String.init) ?? "" }
    }

    /// The binary: it lies beside the test program.
    static let path: String = {
        let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: program).deletingLastPathComponent().appendingPathComponent("atoll").path
    }()

    /// Runs a command to its end.
    static func run(_ arguments: String...) throws -> Result { try run(arguments) }

    /// Where a command writes.
    enum Stream { case output, error }

    /// Runs a command to its end; `interruptAfter` sends SIGINT once standard error, or output, holds that text.
    static func run(
        _ arguments: [String], interruptAfter mark: String? = nil, on stream: Stream = .error
    ) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        let (output, error) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = error
        try process.run()
        var watched = Data()
        if let mark {
            let handle = (stream == .error ? error : output).fileHandleForReading
            while !String(decoding: watched, as: UTF8.self).contains(mark) {
                let part = handle.availableData
                if part.isEmpty { break }
                watched += part
            }
            process.interrupt()
        }
        // Both are short enough for a pipe's buffer, but for the one that is read first.
        var (outputBytes, errorBytes) = stream == .error ? (Data(), watched) : (watched, Data())
        errorBytes += error.fileHandleForReading.readDataToEndOfFile()
        outputBytes += output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let status =
            process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
        return Result(
            status: status, output: String(decoding: outputBytes, as: UTF8.self),
            error: String(decoding: errorBytes, as: UTF8.self))
    }
}

/// A folder for one test, removed with everything in it, mounts included, at the end.
final class Workplace {
    let path: String
    private var mounts: [String] = []

    init() {
        var template = Array("/tmp/atoll-run-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for mount in mounts { umount(mount) }
        try? FileManager.default.removeItem(atPath: path)
    }

    subscript(_ name: String) -> String { "\(path)/\(name)" }

    /// Names in the folder, or one below it, hidden ones included, sorted.
    func names(in folder: String = "") -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: self[folder])) ?? []).sorted()
    }

    func write(_ name: String, _ text: String) throws {
        let url = URL(fileURLWithPath: self[name])
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    /// Text enough to train on: 40 files that all differ.
    func writeText(_ folder: String = "text") throws {
        for file in 0..<40 {
            try write("\(folder)/\(file).txt", (0..<40).map { "\(folder) \(file) line \($0)\n" }.joined())
        }
    }

    /// Mounts a small file system in memory; false where this process may not.
    func mountMemory(_ name: String, bytes: Int) -> Bool {
        try? FileManager.default.createDirectory(atPath: self[name], withIntermediateDirectories: true)
        guard mount("tmpfs", self[name], "tmpfs", 0, "size=\(bytes)") == 0 else { return false }
        mounts.append(self[name])
        return true
    }

    /// Makes a mounted file system read-only.
    func remountReadOnly(_ name: String) -> Bool {
        mount("tmpfs", self[name], "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
    }
}

/// Whether this process may mount file systems: needed for the tests of full and read-only disks.
let mayMount: Bool = {
    let place = Workplace()
    return place.mountMemory("probe", bytes: 65536)
}()
