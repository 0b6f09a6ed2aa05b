package import PeerNet

/// How a `PeerHost` presents itself and how much it lets peers use.
package struct PeerHostConfiguration: Sendable {
    /// TCP addresses to listen on, such as `/ip4/127.0.0.1/tcp/0`; port 0 takes a free one. Empty: dial only.
    package var listenAddresses: [Multiaddr]
    /// Told to peers by identify, such as `atoll/0.1.0`.
    package var agentVersion: String
    /// Told to peers by identify; informative.
    package var protocolVersion: String
    /// The key of the private network to which every connection is confined.
    package var networkKey: NetworkKey?
    /// What peers may use.
    package var limits: HostLimits
    /// The local address that connections are dialed from; nil lets the system choose. Only for a host that does not
    /// listen there.
    package var dialAddress: Multiaddr?
    /// The user's cap on what all sockets send, in bytes per second, everything counted that they carry; nil: none.
    /// Brought into the range of `TokenBucket`.
    package var uploadBytesPerSecond: Int?
    /// The same for what they receive.
    package var downloadBytesPerSecond: Int?

    /// Wraps the fields.
    package init(
        listenAddresses: [Multiaddr], agentVersion: String, protocolVersion: String = "atoll/1.0.0",
        networkKey: NetworkKey? = nil, limits: HostLimits = HostLimits()
    ) {
        self.listenAddresses = listenAddresses
        self.agentVersion = agentVersion
        self.protocolVersion = protocolVersion
        self.networkKey = networkKey
        self.limits = limits
    }
}

/// Bounds on what all peers together, and each one, may make a host hold.
package struct HostLimits: Hashable, Sendable {
    /// Open connections, half-open ones included; further inbound ones are closed at once, and none is dialed.
    package var connectionsMax = 256
    /// Which inbound connections are let in; what it leaves of `connectionsMax` is room for dials.
    package var inbound = InboundGate.Limits()
    /// Beyond so many authenticated connections the least useful ones are closed, until `trimmedConnections` are left.
    package var connectionsBeforeTrimming = 192
    package var trimmedConnections = 160
    /// Additional connections that responses are spread over.
    package var parallel = ParallelTuner.Limits()
    /// Connections of one peer, those that another one took over included; beyond it the oldest is closed.
    package var connectionsPerPeerMax = 4
    /// Offences of one connection within a minute: requests beyond a limit, and such that never end. One more ends it.
    package var offencesMax = 256
    /// Dials that run at once; more wait.
    package var dialsAtOnceMax = 32
    /// Bytes of control messages that wait for one peer, all protocols together; one more drops the connection.
    package var messageQueueBytesMax = 8 << 20
    /// Events that wait for `next()`; beyond it message streams are not read until the consumer catches up.
    package var waitingEventsMax = 1024
    /// Bytes of messages that wait for `next()`, with the same consequence.
    package var waitingEventBytesMax = 16 << 20
    /// Requests of this host to one peer that run at once; more wait in order.
    package var outboundRequestsMax = 32
    /// Requests of this host to one peer that may wait for their turn; one more fails.
    package var waitingRequestsMax = 4096
    /// Requests of one peer that are served at once; further ones are reset.
    package var servedRequestsMax = 64
    /// A request or a response that shows no progress for this long is abandoned.
    package var stallTimeout: Duration = .seconds(60)
    /// Time for resolving a name.
    package var resolveTimeout: Duration = .seconds(5)
    /// Time for connecting one address.
    package var connectTimeout: Duration = .seconds(15)

    /// The defaults.
    package init() {}
}
