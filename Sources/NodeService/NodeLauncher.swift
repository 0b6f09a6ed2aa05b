import Checkpoint
import Glibc
import PeerNet

/// Starts and stops the node of a home as a process in the background.
package struct NodeLauncher: Sendable {
    private let home: NodeHome

    /// How long a node may take to answer after its start: it reads its corpus and replays its ledger first.
    private static let startSeconds = 120.0
    /// How long a node may take to finish its step and save its state.
    private static let stopSeconds = 120.0
    private static let pollInterval: Duration = .milliseconds(50)

    /// Works on a home.
    package init(home: NodeHome) { self.home = home }

    /// Whether a node answers.
    func isRunning() async -> Bool { (try? await NodeControl(home: home).status()) != nil }

    /// Starts the node and returns once it answers.
    package func start(port: UInt16?) async throws(UserError) -> NodeReport {
        if let report = try? await NodeControl(home: home).status() { return report }
        guard home.isInitialized else {
            throw UserError("\(home.path) is no node's home", cure: "Make one with atoll init", exitCode: .noInput)
        }
        var arguments = [ChildProcess.ownPath(), "node", "run", "--home", home.path]
        if let port { arguments += ["--port", "\(port)"] }
        // What an earlier node printed is not this one's.
        do { try DurableFile.write([], to: home.logPath) } catch { throw UserError(wrapping: error) }
        let child = try ChildProcess(arguments, outputPath: home.logPath, detached: true)
        let clock = MonotonicClock()
        let begin = clock.now
        while (clock.now - begin).inSeconds < Self.startSeconds {
            if let report = try? await NodeControl(home: home).status() { return report }
            if let ending = child.poll() { throw startFailure(ending) }
            await Self.pause()
        }
        child.send(signal: SIGTERM)
        throw UserError("the node does not answer", cure: "See atoll node logs", exitCode: .temporaryFailure)
    }

    /// What the node said as it ended is what the person must hear.
    private func startFailure(_ ending: ChildProcess.Ending) -> UserError {
        let line = (try? lastLogLines(200))?.last { $0.hasPrefix("atoll: ") }.map {
            String($0.dropFirst("atoll: ".count))
        }
        if let line, case .exited(let code) = ending, let exitCode = UserError.ExitCode(rawValue: code) {
            return UserError(line.hasSuffix(".") ? String(line.dropLast()) : line, cure: "", exitCode: exitCode)
        }
        return UserError("the node ended at its start (\(ending))", cure: "See atoll node logs", exitCode: .unavailable)
    }

    /// Stops the node and returns once its process is gone.
    package func stop() async throws(UserError) {
        try await NodeControl(home: home).stop()
        let clock = MonotonicClock()
        let begin = clock.now
        while (clock.now - begin).inSeconds < Self.stopSeconds {
            if try !HomeLock.isHeld(home) { return }
            await Self.pause()
        }
        throw UserError("the node does not stop", cure: "See atoll node logs", exitCode: .temporaryFailure)
    }

    /// Waits a moment between two looks at another process; only commands do this, never a node.
    static func pause() async { try? await Task.sleep(for: pollInterval) }

    /// The last lines of the background node's log.
    package func lastLogLines(_ count: Int) throws(UserError) -> [String] {
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(home.logPath, byteCountMax: 1 << 30) } catch {
            throw UserError(wrapping: error)
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").suffix(count).map(String.init)
    }
}

/// The right to run a node in a home; held by the process that runs it, released when that ends however it ends.
struct HomeLock: ~Copyable {
    private let descriptor: Int32

    /// Takes the lock, or says that another process has it.
    init(_ home: NodeHome) throws(UserError) {
        descriptor = open(home.lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw UserError.system("create \(home.lockPath)", errno: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw UserError(
                "another node runs in \(home.path)", cure: "Stop it with atoll node stop", exitCode: .unavailable)
        }
        // For people and testnets; the lock itself says whether the process lives.
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        _ = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }

    /// The process that runs the home's node; nil if none does.
    static func holder(_ home: NodeHome) throws(UserError) -> Int32? {
        guard try isHeld(home) else { return nil }
        do {
            let bytes = try DurableFile.read(home.lockPath, byteCountMax: 32)
            return Int32(String(decoding: bytes, as: UTF8.self).filter(\.isNumber))
        } catch { throw UserError(wrapping: error) }
    }

    deinit { close(descriptor) }

    /// Whether some process holds the lock.
    static func isHeld(_ home: NodeHome) throws(UserError) -> Bool {
        let descriptor = open(home.lockPath, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) == 0 else { return true }
        return false
    }
}
