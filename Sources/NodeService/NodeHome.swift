import Glibc

/// A node's home folder: identity, configuration and the swarms that it has joined.
package struct NodeHome: Sendable {
    /// The folder's path.
    package let path: String

    /// Takes the path as given, else from ATOLL_HOME, else `~/.atoll`.
    package init(path: String?) throws(UserError) {
        if let path, !path.isEmpty {
            self.path = Self.absolute(path)
        } else if let value = getenv("ATOLL_HOME"), value.pointee != 0 {
            self.path = Self.absolute(String(cString: value))
        } else if let value = getenv("HOME"), value.pointee != 0 {
            self.path = Self.absolute(String(cString: value)) + "/.atoll"
        } else {
            throw UserError(
                "no home folder: neither --home nor ATOLL_HOME nor HOME is set", cure: "Pass --home DIR",
                exitCode: .usage)
        }
    }

    static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
        defer { free(folder) }
        return String(cString: folder) + "/" + path
    }

    /// The identity's seed and key file (libp2p private key protobuf), mode 0600.
    package var identityPath: String { "\(path)/identity.key" }
    /// The owner's configuration.
    package var configurationPath: String { "\(path)/config.yaml" }
    /// The last port, as decimal text.
    package var portPath: String { "\(path)/port" }
    /// Held locked by the running daemon.
    package var lockPath: String { "\(path)/lock" }
    /// The daemon's control socket.
    package var controlSocketPath: String { "\(path)/control.sock" }
    /// What a daemon in the background prints.
    package var logPath: String { "\(path)/node.log" }
    /// The id of the swarm that the daemon trains for, as hexadecimal text.
    package var activeSwarmPath: String { "\(path)/active" }
    /// One folder per swarm.
    package var swarmsPath: String { "\(path)/swarms" }

    /// Whether `init` has been here.
    package var isInitialized: Bool { access(identityPath, F_OK) == 0 && access(configurationPath, F_OK) == 0 }

    /// The longest path that a Unix socket address holds on Linux, without its final zero.
    static let socketPathBytesMax = 107

    /// Refuses a home whose control socket's path no Unix socket address can hold.
    func checkSocketPath() throws(UserError) {
        guard controlSocketPath.utf8.count <= Self.socketPathBytesMax else {
            throw UserError(
                "the home's path is too long for a control socket: \(controlSocketPath)",
                cure: "Choose a home whose path has at most \(Self.socketPathBytesMax - 13) bytes", exitCode: .usage)
        }
    }
}
