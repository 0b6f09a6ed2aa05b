import Checkpoint
import Glibc

/// A child process with its output in files; for the daemon in the background and for testnets.
package struct ChildProcess: Sendable {
    /// The process id.
    package let processID: Int32

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - arguments: the program's path first.
    ///   - environment: variables to add to this process's own.
    ///   - outputPath: where standard output goes, appended; created with mode 0600.
    ///   - errorPath: where standard error goes; nil for the same file.
    ///   - detached: whether it gets a session of its own, so that the terminal's signals do not reach it.
    package init(
        _ arguments: [String], environment: [String: String] = [:], outputPath: String, errorPath: String? = nil,
        detached: Bool
    ) throws(UserError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, outputPath, flags, 0o600)
        if let errorPath {
            posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errorPath, flags, 0o600)
        } else {
            posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        }
        // Pipes and sockets that this process was given, too, are not the child's: whoever waits for their end would wait
        // for a daemon's.
        for name in (try? SystemFiles().list("/proc/self/fd")) ?? [] {
            // Closing one that is closed by then is no error.
            if let descriptor = Int32(name), descriptor > STDERR_FILENO {
                posix_spawn_file_actions_addclose(&actions, descriptor)
            }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        if detached { posix_spawnattr_setflags(&attributes, Self.newSession) }

        var variables: [String] = []
        var entry = environ
        while let variable = entry.pointee {
            let text = String(cString: variable)
            if let name = text.split(separator: "=").first, environment[String(name)] == nil { variables.append(text) }
            entry += 1
        }
        variables += environment.map { "\($0.key)=\($0.value)" }

        var argv = arguments.map { strdup($0) } + [nil]
        var envp = variables.map { strdup($0) } + [nil]
        defer {
            for text in argv { free(text) }
            for text in envp { free(text) }
        }
        var child: pid_t = 0
        let status = posix_spawn(&child, arguments[0], &actions, &attributes, &argv, &envp)
        guard status == 0 else { throw UserError.system("run \(arguments[0])", errno: status) }
        processID = child
    }

    /// POSIX_SPAWN_SETSID of glibc, a GNU extension that the Glibc module does not export.
    private static let newSession: Int16 = 0x80

    /// How a child ended.
    package enum Ending: Equatable, Sendable {
        /// It returned this code.
        case exited(Int32)
        /// This signal ended it.
        case signaled(Int32)
    }

    /// Whether it ended, and how; nil while it runs.
    package func poll() -> Ending? { wait(flags: WNOHANG) }

    /// Waits until it ends. Blocks the thread.
    package func waitUntilEnd() -> Ending { wait(flags: 0) ?? .exited(-1) }

    private func wait(flags: Int32) -> Ending? {
        var status: Int32 = 0
        while true {
            let result = waitpid(processID, &status, flags)
            if result == 0 { return nil }
            if result < 0 {
                if errno == EINTR { continue }
                return .exited(-1)
            }
            // The macros WIFEXITED and friends are not importable.
            let signal = status & 0x7F
            return signal == 0 ? .exited((status >> 8) & 0xFF) : .signaled(signal)
        }
    }

    /// Sends a signal.
    package func send(signal: Int32) { kill(processID, signal) }

    /// The path of the running program.
    package static func ownPath() -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return CommandLine.arguments[0] }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
