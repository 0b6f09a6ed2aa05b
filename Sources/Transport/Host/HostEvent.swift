package import PeerNet

/// What a `PeerHost` tells its owner, in order.
package enum HostEvent: Sendable {
    /// The first connection to a peer is authenticated. `addresses` holds the address dialed, or nothing if the
    /// peer dialed this host; `.identified` brings what the peer listens on.
    case connected(PeerID, addresses: [Multiaddr])
    /// The peer answered identify.
    case identified(PeerID, IdentifyRecord)
    /// The last connection to a peer is gone.
    case disconnected(PeerID, reason: String)
    /// Every address of a `dial(_:at:)` failed; the next dial of this peer waits for its back-off.
    case dialFailed(PeerID, reason: String)
    /// One whole control message.
    case message(from: PeerID, protocol: String, bytes: [UInt8])
    /// A gossip message of a followed topic; nothing is passed on before `judge(_:_:)` is called with its id.
    case gossip(Gossipsub.Delivery)
    /// A peer answers on the local network (multicast DNS), or is there at other addresses.
    case discovered(PeerContact)
}

extension HostEvent {
    /// Bytes of messages that the event holds.
    var byteCount: Int {
        switch self {
        case .message(_, _, let bytes): bytes.count
        case .gossip(let delivery): delivery.data.count
        case .connected, .identified, .disconnected, .dialFailed, .discovered: 0
        }
    }
}

/// Bytes that went through sockets: everything written and read, handshakes and framing included.
package struct Traffic: Hashable, Sendable {
    /// Bytes written to sockets.
    package var bytesSent: UInt64 = 0
    /// Bytes read from sockets.
    package var bytesReceived: UInt64 = 0

    /// Nothing yet.
    package init() {}

    mutating func add(_ other: Traffic) {
        bytesSent += other.bytesSent
        bytesReceived += other.bytesReceived
    }
}

/// One connected peer as `PeerHost.peers()` reports it.
package struct PeerStatus: Sendable {
    /// The peer.
    package var peerID: PeerID
    /// The socket's remote address.
    package var remoteAddress: Multiaddr
    /// Whether this host dialed the connection.
    package var isOutbound: Bool
    /// Smoothed round-trip time, once measured.
    package var roundTripTime: Duration?
    /// What went through sockets with this peer since it was first seen by this host, earlier connections included.
    package var traffic: Traffic
    /// The peer's identify answer, once received.
    package var identify: IdentifyRecord?
}

/// A response to a request: nothing more than its bytes, sent with the peer's backpressure.
package enum ResponseBody: Sendable {
    /// All bytes at once; not copied until they are encrypted.
    case bytes([UInt8])
    /// Pieces, asked for only when the peer has room; nil ends the response.
    case pieces(@Sendable () async -> [UInt8]?)
}

/// Why a request got no response.
package enum RequestError: Error, Hashable, Sendable {
    /// There is no connection to the peer.
    case notConnected
    /// The peer does not serve this protocol.
    case protocolRefused
    /// The peer reset the stream.
    case reset
    /// The connection ended, with the reason.
    case disconnected(String)
    /// The response is longer than the caller allowed; the stream was reset.
    case responseTooLarge(bytesMax: Int)
    /// Nothing arrived for the stall timeout.
    case stalled
    /// Too many requests to this peer wait already.
    case tooManyWaiting
    /// The caller's task was cancelled; the stream was reset.
    case cancelled
    /// A session took longer than it may; the stream was reset.
    case tooLate
}
