import Foundation
import Glibc
import Testing

/// A folder with text and the homes of nodes of this machine; at its end their processes are killed and all is removed.
///
/// Everything listens on and dials 127.0.0.1 only, on free ports.
final class SwarmPlace {
    let place = Workplace()
    private var homes: Set<String> = []

    init() throws { try place.writeText() }

    deinit {
        for home in homes { killNode(home) }
    }

    /// The path of a file or folder of the place.
    subscript(_ name: String) -> String { place[name] }

    // MARK: Commands

    /// Runs a command with a home to its end.
    @discardableResult
    func atoll(_ arguments: [String], home: String) throws -> AtollProcess.Result {
        homes.insert(home)
        return try AtollProcess.run(arguments + ["--home", place[home]])
    }

    /// Runs a command that must succeed; returns what it printed.
    @discardableResult
    func succeed(_ arguments: [String], home: String) throws -> String {
        let result = try atoll(arguments, home: home)
        try #require(result.status == 0, "\(arguments): \(result.error)")
        return result.output
    }

    /// Makes a home whose node listens on loopback and trains on the place's text.
    func makeHome(_ home: String, listen port: UInt16 = 0, domain glob: String? = nil) throws {
        try succeed(
            [
                "init", "--listen", "/ip4/127.0.0.1/tcp/\(port)", "--threads", "1", "--domain",
                "x=\(glob ?? place["text/**"])",
            ], home: home)
    }

    /// Forms a swarm of small steps; returns its invite. The node runs afterwards.
    func formSwarm(_ home: String, tokens: Int, stepsPerRound: Int = 10) throws -> String {
        try place.write(
            "\(home).yaml",
            """
            name: \(home.split(separator: "/").last ?? "test")
            token_budget: \(tokens)
            batch_sequences: 2
            sync:
              inner_steps_per_round: \(stepsPerRound)
            """)
        let output = try succeed(["swarm", "new", place["\(home).yaml"], "--detach", "--json"], home: home)
        return try #require(Self.object(output)?["invite"] as? String)
    }

    /// What a node says of itself; nil while none answers.
    func status(_ home: String) throws -> [String: Any]? {
        let result = try atoll(["node", "status", "--json"], home: home)
        return result.status == 0 ? Self.object(result.output) : nil
    }

    /// Asks a node until its status is as wanted; gives up after so many seconds.
    @discardableResult
    func wait(
        _ home: String, seconds: Int = 60, _ comment: Comment, until isReached: ([String: Any]) -> Bool
    ) throws -> [String: Any] {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if let status = try status(home), isReached(status) { return status }
            Self.pause()
        }
        Issue.record(comment)
        throw Timeout()
    }

    private struct Timeout: Error {}

    /// The moment between two looks at a process that cannot tell when it is there.
    private static func pause() { poll(nil, 0, 20) }

    static func object(_ line: String) -> [String: Any]? {
        try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    }

    // MARK: Failures

    /// Runs a command that must fail with the code, say so in one line that holds all of the words, and leave the folder
    /// and the processes as they were.
    func expectFailure(
        _ arguments: [String], home: String, _ status: Int32, _ words: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let (files, processes) = (listing(home), Self.processes(naming: place[home]))
        let result = try atoll(arguments, home: home)
        #expect(result.status == status, "\(arguments): \(result.error)", sourceLocation: sourceLocation)
        let lines = result.error.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 2 && lines.last == "", "\(arguments): \(result.error)", sourceLocation: sourceLocation)
        #expect(
            result.error.hasPrefix("atoll: ") && result.error.hasSuffix(".\n"), "\(arguments): \(result.error)",
            sourceLocation: sourceLocation)
        for word in words {
            #expect(result.error.contains(word), "\(arguments): \(result.error)", sourceLocation: sourceLocation)
        }
        #expect(result.output.isEmpty, "\(arguments)", sourceLocation: sourceLocation)
        #expect(listing(home) == files, "\(arguments)", sourceLocation: sourceLocation)
        #expect(Self.processes(naming: place[home]) == processes, "\(arguments)", sourceLocation: sourceLocation)
    }

    /// Everything in the place; only the one home while nodes work in others; not the swarms of a node that works.
    private func listing(_ home: String) -> [String] {
        let isRunning = !Self.processes(naming: place[home]).isEmpty
        let othersRun = homes.contains { !Self.processes(naming: place[$0]).isEmpty }
        let folder = isRunning || othersRun ? place[home] : place.path
        guard FileManager.default.fileExists(atPath: folder),
            let files = FileManager.default.enumerator(atPath: folder)
        else { return [] }
        return ["."] + files.compactMap { $0 as? String }.filter { !isRunning || !$0.hasPrefix("swarms/") }.sorted()
    }

    // MARK: Processes

    /// The ids of processes whose command line names a path.
    static func processes(naming path: String) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap(Int32.init).filter { id in
            guard let line = FileManager.default.contents(atPath: "/proc/\(id)/cmdline") else { return false }
            return line.split(separator: 0).contains { $0.elementsEqual(path.utf8) }
        }.sorted()
    }

    /// Sends SIGKILL to the node of a home and returns once it is gone.
    func killNode(_ home: String) {
        for id in Self.processes(naming: place[home]) { kill(id, SIGKILL) }
        for _ in 0..<500 {
            guard !Self.processes(naming: place[home]).isEmpty else { return }
            Self.pause()
        }
    }
}

/// A TCP socket that listens on a free port of loopback, to be in the way.
final class TakenPort {
    let port: UInt16
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, length) = (descriptor, size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        try #require(bound, "loopback must have a free port")
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}

/// A file that takes what room is left on its file system.
struct Filling {
    private let path: String

    init(_ path: String) {
        self.path = path
        fill()
    }

    /// Takes what has become free.
    func fill() {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        let zeros = [UInt8](repeating: 0, count: 1 << 16)
        while write(descriptor, zeros, zeros.count) > 0 {}
        close(descriptor)
    }

    /// Gives the room back.
    func remove() { unlink(path) }
}
