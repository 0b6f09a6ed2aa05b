import Glibc
import PeerNet
import Transport

/// What a bare libp2p node speaks.
package struct NetSettings: Sendable {
    /// TCP addresses to listen on; empty: dial only.
    package var listen: [String]
    /// Topics to follow.
    package var topics: [String]
    /// Protocol of the hash table to take part in; nil: none.
    package var table: String?
    /// Peers to connect to at the start.
    package var bootstrap: [String]
    /// Whether to look for peers by multicast DNS.
    package var discoversLocally: Bool
    /// Path of the control socket by which `publish` and `subscribe` reach a listener.
    package var controlPath: String

    /// Wraps the fields.
    package init(
        listen: [String] = [], topics: [String] = [], table: String? = nil, bootstrap: [String] = [],
        discoversLocally: Bool = false, controlPath: String = NetSettings.defaultControlPath
    ) {
        self.listen = listen
        self.topics = topics
        self.table = table
        self.bootstrap = bootstrap
        self.discoversLocally = discoversLocally
        self.controlPath = controlPath
    }

    /// In the user's runtime folder, else hidden in the home, else where the command was started.
    package static var defaultControlPath: String {
        if let folder = getenv("XDG_RUNTIME_DIR"), folder.pointee != 0 {
            return String(cString: folder) + "/atoll-net.sock"
        }
        if let folder = getenv("HOME"), folder.pointee != 0 { return String(cString: folder) + "/.atoll-net.sock" }
        return ".atoll-net.sock"
    }
}

/// Makes the host of a bare libp2p node.
enum NetHost {
    /// Returns each message (a length and its bytes) that it is sent until the sender ends, so that streams can be tried.
    /// A peer that returns bytes as they come, whatever they are, does the same.
    static let echoProtocol = "/echo/1.0.0"
    /// Bytes of one echo.
    static let echoBytesMax = 64 << 10

    /// A host of a fresh identity that speaks identify, ping, gossip, echo and, if asked, the hash table.
    static func make(_ settings: NetSettings) async throws(UserError) -> PeerHost {
        let listen = try settings.listen.map { (text) throws(UserError) in try address(text) }
        var seed = [UInt8](repeating: 0, count: 32)
        guard getentropy(&seed, seed.count) == 0, let identity = Identity(seed: seed) else {
            throw .system("draw a random key", errno: errno)
        }
        var limits = HostLimits()
        limits.servedRequestsMax = 256
        limits.outboundRequestsMax = 256
        let host = PeerHost(
            identity: identity,
            configuration: PeerHostConfiguration(
                listenAddresses: listen, agentVersion: AtollVersion.agent, limits: limits))
        await host.enableGossip(firstSequence: UInt64(WallClock.nanoseconds))
        if let table = settings.table {
            guard table.hasPrefix("/"), table.utf8.count <= 128 else {
                throw UserError(
                    "'\(table)' names no protocol", cure: "Pass --dht /ipfs/kad/1.0.0 or /atoll/kad/1.0.0",
                    exitCode: .usage)
            }
            // Whoever diagnoses a table may well do so on one machine or one site.
            await host.enableKademlia(
                protocolName: table, mode: listen.isEmpty ? .client : .server, isLocalNetwork: true)
        }
        await host.serveSessions(echoProtocol, messageBytesMax: echoBytesMax) { session in
            // A stream that breaks is its opener's to notice.
            while let message = try? await session.receive() { try? await session.send(message) }
        }
        return host
    }

    /// A multiaddr of a flag or argument.
    static func address(_ text: String) throws(UserError) -> Multiaddr {
        do { return try Multiaddr(text) } catch {
            throw UserError(
                "'\(text)' is no multiaddr: \(error)",
                cure: "Write it like /ip4/127.0.0.1/tcp/4001 or, for a peer, /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…",
                exitCode: .usage)
        }
    }

    /// A topic of a flag or argument.
    static func topic(_ name: String) throws(UserError) -> Topic {
        guard let topic = Topic(name) else {
            throw UserError(
                "'\(name)' is no topic",
                cure: "A topic has 1 to \(Topic.byteCountMax) bytes without control characters",
                exitCode: .usage)
        }
        return topic
    }

    /// Starts a host; stops it if that fails.
    static func start(_ host: PeerHost) async throws(UserError) -> [Multiaddr] {
        do { return try await host.start() } catch {
            await host.stop()
            throw UserError(
                "\(error)", cure: "Choose another address; port 0 takes a free one", exitCode: .unavailable)
        }
    }
}
