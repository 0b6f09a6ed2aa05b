import Checkpoint
import Glibc
import JSONText

/// One node process of a demo, seen from outside: its home, its commands, its run log.
struct DemoNode: Sendable {
    let index: Int
    let home: NodeHome
    let domains: [NodeConfiguration.Domain]

    /// Runs `atoll` with these arguments and the node's home; returns its standard output.
    func run(_ arguments: [String]) throws(UserError) -> String {
        try Self.run(arguments + ["--home", home.path], logPath: home.path + ".log")
    }

    /// Runs `atoll` and waits; a failure becomes this command's failure.
    static func run(_ arguments: [String], logPath: String) throws(UserError) -> String {
        try finish(start(arguments, logPath: logPath))
    }

    /// A running command with the places of its output.
    struct Command: Sendable {
        var process: ChildProcess
        var outputPath: String
        var logPath: String
        var arguments: [String]
    }

    /// Starts `atoll`, in this process's group so that Ctrl-C reaches it.
    static func start(_ arguments: [String], logPath: String) throws(UserError) -> Command {
        let outputPath = logPath + ".out"
        unlink(outputPath)
        let process = try ChildProcess(
            [ChildProcess.ownPath()] + arguments, outputPath: outputPath, errorPath: logPath, detached: false)
        return Command(process: process, outputPath: outputPath, logPath: logPath, arguments: arguments)
    }

    /// Waits for a command; returns its standard output.
    static func finish(_ command: Command) throws(UserError) -> String {
        let ending = command.process.waitUntilEnd()
        let bytes: [UInt8]
        do { bytes = try DurableFile.read(command.outputPath, byteCountMax: 1 << 26) } catch {
            throw UserError(wrapping: error)
        }
        unlink(command.outputPath)
        guard ending == .exited(0) else {
            throw UserError(
                "atoll \(command.arguments.joined(separator: " ")) ended with \(ending)",
                cure: "See \(command.logPath)",
                exitCode: .temporaryFailure)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Sends SIGKILL to the node; nothing of it survives but its disk.
    func kill() throws(UserError) {
        guard let processID = try HomeLock.holder(home) else {
            throw UserError("node \(index) does not run", cure: "See \(home.logPath)", exitCode: .temporaryFailure)
        }
        Glibc.kill(processID, SIGKILL)
    }

    /// One line of the run log.
    struct LogLine {
        var time: Double
        var event: String
        var members: JSONObject
    }

    /// The node's run log so far.
    func runLog() throws(UserError) -> [LogLine] {
        try NodeHome.mapping { try Self.readLog(SwarmRegistry(home: home).active().folder.runLogPath) }
    }

    /// The lines of a run log.
    static func readLog(_ path: String) throws(UserError) -> [LogLine] {
        try NodeHome.mapping {
            let bytes = try DurableFile.read(path, byteCountMax: 1 << 28)
            return bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
                // The last line may be torn by a kill.
                guard let members = (try? JSONValue(parsing: Array(line)))?.object,
                    let time = members["time"]?.double, let event = members["event"]?.string?.string
                else { return nil }
                return LogLine(time: time, event: event, members: members)
            }
        }
    }
}

/// What a run log says about one node's training.
struct TrainingRecord {
    /// Tokens per second from first to last step, the time between two starts of the process left out.
    var tokensPerSecond = 0.0
    /// Share of that time that was spent inside steps.
    var stepShare = 0.0

    /// - Parameter interval: only steps that ended in it count; seconds since 1970.
    init(_ lines: [DemoNode.LogLine], in interval: ClosedRange<Double>? = nil) {
        var seconds = 0.0
        var tokens = 0.0
        var stepSeconds = 0.0
        var previous: (time: Double, tokens: Double, step: Double)?
        for line in lines {
            if line.event == "started" { previous = nil }
            guard line.event == "step", interval?.contains(line.time) ?? true,
                let count = line.members["tokens"]?.double,
                let step = line.members["step"]?.double,
                let duration = line.members["step_seconds"]?.double
            else { continue }
            if let previous {
                seconds += line.time - previous.time
                tokens += count - previous.tokens
                // Lines are a second apart: the logged step stands for those since the line before.
                stepSeconds += duration * (step - previous.step)
            }
            previous = (line.time, count, step)
        }
        guard seconds > 0 else { return }
        tokensPerSecond = tokens / seconds
        stepShare = min(1, stepSeconds / seconds)
    }
}
