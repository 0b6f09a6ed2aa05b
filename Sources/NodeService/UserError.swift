import Checkpoint
import Glibc

/// Why a command cannot go on: one message with the cause, one sentence with the cure, and the exit code that says
/// which kind of trouble it is.
///
/// Commands throw this and nothing else; whatever a module throws is turned into one at the command's border.
package struct UserError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong, with the name of the file, flag or peer; no final full stop.
    package var message: String
    /// What the person can do about it; no final full stop.
    package var cure: String
    /// The code that the process ends with.
    package var exitCode: ExitCode

    /// Wraps the three.
    package init(_ message: String, cure: String, exitCode: ExitCode) {
        self.message = message
        self.cure = cure
        self.exitCode = exitCode
    }

    /// The exit codes of `atoll`; the numbers are those of sysexits(3), documented in docs/operations.md.
    package enum ExitCode: Int32, Hashable, Sendable, CaseIterable {
        /// A flag or argument makes no sense.
        case usage = 64
        /// A file was read, but what it holds is wrong: garbage as checkpoint, a truncated invite.
        case badData = 65
        /// A file or folder that was named does not exist, or none matched.
        case noInput = 66
        /// A service that is needed does not answer: no running node, no reachable peer, a port that is taken.
        case unavailable = 69
        /// A defect of atoll itself.
        case internalBug = 70
        /// An output cannot be created: it exists already, or its folder does not or is read-only.
        case cannotCreate = 73
        /// Reading or writing failed half-way: a full disk, a failing device.
        case inputOutput = 74
        /// Trying again later can help.
        case temporaryFailure = 75
        /// The system refuses access.
        case noPermission = 77
        /// Stopped by Ctrl-C (128 + SIGINT), after cleaning up.
        case interrupted = 130
    }

    /// The line for the terminal: `cause. cure.`
    package var description: String {
        cure.isEmpty ? "\(message)." : "\(message). \(cure)."
    }

    /// Writes `atoll: cause. cure.` as one line to standard error.
    package func report() {
        Self.writeToStandardError("atoll: \(Self.oneLine(description))\n")
    }

    /// The text on one line of a terminal: a file name or a file's content may hold line ends and control characters.
    static func oneLine(_ text: String) -> String {
        let printable = text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control || scalar == "\u{FFFD}" ? " " : Character(scalar)
        }
        return String(printable).split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }

    /// Writes text to standard error as it is, in as few writes as the system allows.
    package static func writeToStandardError(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// An error of the operating system: picks exit code and cure from `errno`.
    ///
    /// - Parameters:
    ///   - operation: what was tried, as a verb phrase with the object: `write model.safetensors`.
    ///   - number: the value of `errno`.
    ///   - otherwise: the code for numbers that do not speak for themselves.
    package static func system(
        _ operation: String, errno number: Int32, otherwise: ExitCode = .inputOutput
    ) -> UserError {
        let reason = SystemErrorNumber(number)
        let code: ExitCode =
            switch number {
            case ENOENT, ENOTDIR, EISDIR, ELOOP: .noInput
            case EACCES, EPERM: .noPermission
            case EROFS, EEXIST, ENOTEMPTY, EXDEV, EBUSY, ENAMETOOLONG: .cannotCreate
            case EADDRINUSE: .unavailable
            case EMFILE, ENFILE, ENOMEM, EWOULDBLOCK: .temporaryFailure
            default: otherwise
            }
        return UserError("cannot \(operation): \(reason)", cure: reason.cure, exitCode: code)
    }
}
