/// What gossipsub is told about a peer when its pubsub stream opens.
package struct GossipPeerDescription: Hashable, Sendable {
    /// What the stream speaks.
    package var version: PubsubProtocol
    /// Whether this node dialed the peer.
    package var isOutbound: Bool
    /// Where it connects from (`Multiaddr.scoredAddress`); nil if that must not count.
    package var scoredAddress: String?
    /// Longest RPC that the peer accepts.
    package var rpcBytesMax: Int

    /// Wraps the fields.
    package init(
        version: PubsubProtocol, isOutbound: Bool, scoredAddress: String? = nil, rpcBytesMax: Int = 1 << 20
    ) {
        self.version = version
        self.isOutbound = isOutbound
        self.scoredAddress = scoredAddress
        self.rpcBytesMax = rpcBytesMax
    }
}

/// One connected peer.
struct GossipPeer: Sendable {
    /// What the peer did since the last heartbeat.
    struct Counters: Hashable, Sendable {
        /// RPCs with IHAVE, and ids that we asked for in return.
        var haveMessages = 0
        var askedIDs = 0
        /// Ids that the peer asked for.
        var requestedIDs = 0
        var dontWantMessages = 0
        /// Suggested peers that were looked at.
        var exchangedPeers = 0
        /// Messages that were repeated, or of topics that we do not follow.
        var uselessMessages = 0
        /// Ids that we advertised.
        var advertisedIDs = 0
    }

    let description: GossipPeerDescription
    /// Configured on both sides: always forwarded to, never in the mesh, never judged.
    let isDirect: Bool
    var topics: Set<Topic> = []
    var counters = Counters()
    /// Messages that the peer has, with the heartbeat at which that is forgotten.
    var unwanted: [MessageID: UInt64] = [:]
    /// The peer's own signed record, to suggest it to others.
    var recordEnvelope: [UInt8]?
    /// Messages of the peer that wait for a verdict.
    var pendingCount = 0
    var pendingBytes = 0

    var queue = OutgoingQueue()
    /// Bytes handed to the driver and not yet written.
    var inFlightBytes = 0
    /// Whether the peer waits in the list of those with something to send.
    var isScheduled = false
    /// Whether the driver was told to disconnect the peer; nothing is read or sent any more.
    var isCondemned = false

    init(_ description: GossipPeerDescription, isDirect: Bool) {
        self.description = description
        self.isDirect = isDirect
    }

    /// Whether the peer knows meshes at all.
    var isMeshCapable: Bool { description.version >= .gossipsub10 }
}
