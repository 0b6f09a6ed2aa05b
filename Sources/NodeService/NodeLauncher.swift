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
        // Without a swarm there is nothing to start.
        _ = try NodeHome.mapping { try SwarmRegistry(home: home).active() }
        if try HomeLock.isHeld(home) { throw HomeLock.taken(home) }
        var arguments = [ChildProcess.ownPath(), "node", "run", "--home", home.path]
        if let port { arguments += ["--port", "\(port)"] }
        let hadLog = access(home.logPath, F_OK) == 0
        // What an earlier node printed is not this one's.
        do { try DurableFile.write([], to: home.logPath) } catch { throw UserError(wrapping: error) }
        do { return try await report(of: ChildProcess(arguments, outputPath: home.logPath, detached: true)) } catch {
            if !hadLog { unlink(home.logPath) }
            throw error
        }
    }

    /// Waits for the first answer of a node that was started.
    private func report(of child: ChildProcess) async throws(UserError) -> NodeReport {
        let clock = MonotonicClock()
        let begin = clock.now
        while (clock.now - begin).inSeconds < Self.startSeconds {
            if let report = try? await NodeControl(home: home).status() { return report }
            if let ending = child.poll() { throw startFailure(ending) }
            await Self.pause()
        }
        child.send(signal: SIGKILL)
        _ = child.waitUntilEnd()
        throw UserError(
            "the node does not answer within \(Int(Self.startSeconds)) seconds", cure: "Look at it with atoll node run",
            exitCode: .temporaryFailure)
    }

    /// What the node said as it ended is what the person must hear.
    private func startFailure(_ ending: ChildProcess.Ending) -> UserError {
        let lines = (try? lastLogLines(200)) ?? []
        let line = lines.last { $0.hasPrefix("atoll: ") }.map { String($0.dropFirst("atoll: ".count)) }
        if let line, case .exited(let code) = ending, let exitCode = UserError.ExitCode(rawValue: code) {
            return UserError(line.hasSuffix(".") ? String(line.dropLast()) : line, cure: "", exitCode: exitCode)
        }
        return UserError(
            "the node ended at its start (\(ending)): \(lines.last ?? "it said nothing")",
            cure: "Look at it with atoll node run", exitCode: .internalBug)
    }

    /// Stops the node and returns once its process is gone.
    package func stop() async throws(UserError) {
        let processID = try HomeLock.holder(home)
        try await NodeControl(home: home).stop()
        let clock = MonotonicClock()
        let begin = clock.now
        while (clock.now - begin).inSeconds < Self.stopSeconds {
            // The lock is let go a moment before the last file is closed.
            if try !HomeLock.isHeld(home), processID.map(Self.isGone) ?? true { return }
            await Self.pause()
        }
        throw UserError("the node does not stop", cure: "See atoll node logs", exitCode: .temporaryFailure)
    }

    /// Whether a process has ended. One that its parent has not asked about yet is gone, too: it holds nothing any more.
    private static func isGone(_ processID: pid_t) -> Bool {
        var target: CChar = 0
        return readlink("/proc/\(processID)/exe", &target, 1) < 0 && errno == ENOENT
    }

    /// Waits a moment between two looks at another process; only commands do this, never a node.
    static func pause() async { try? await Task.sleep(for: pollInterval) }

    /// The last lines of the background node's log.
    package func lastLogLines(_ count: Int) throws(UserError) -> [String] {
        guard access(home.logPath, F_OK) == 0 else {
            throw UserError(
                "no node of \(home.path) has run in the background", cure: "Start one with atoll node start",
                exitCode: .noInput)
        }
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(home.logPath, byteCountMax: 1 << 30) } catch {
            throw UserError(wrapping: error)
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").suffix(count).map(String.init)
    }
}
