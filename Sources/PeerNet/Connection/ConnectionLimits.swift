/// Deadlines and counts of one connection.
package enum ConnectionLimits {
    /// From the first byte to an agreed muxer, whatever the peer sends meanwhile.
    static let upgradeTimeout: Duration = .seconds(15)
    /// From opening a stream to its agreed protocol.
    static let negotiationTimeout: Duration = .seconds(10)
    /// From opening an identify or ping stream to its answer.
    static let exchangeTimeout: Duration = .seconds(20)
    /// How often a yamux ping measures the round trip and keeps middleboxes and go peers (30 s) content.
    static let pingInterval: Duration = .seconds(15)
    /// A peer from which nothing arrived for so long is gone: three pings. Any byte counts, so a slow link that is
    /// busy with a large frame stays.
    static let silenceTimeout: Duration = .seconds(50)
    /// Streams of one peer that may negotiate at once; a further one is reset.
    static let negotiatingInboundMax = 128
    /// Inbound identify, push and ping streams of one peer at once, each kind.
    static let identifyInboundMax = 4
    static let pingInboundMax = 2
    /// Bytes that one inbound ping stream may have waiting; a peer that does not read its echoes is reset.
    static let pingQueueBytesMax = 1024
    /// Bytes of one libp2p ping.
    static let pingPayloadBytes = 32
}
