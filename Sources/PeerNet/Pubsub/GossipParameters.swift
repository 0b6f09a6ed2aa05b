/// The protocol that a peer's pubsub stream speaks; each version adds to the one before.
package enum PubsubProtocol: Int, Hashable, Comparable, Sendable, CaseIterable {
    /// No control messages: such peers get every message of their topics.
    case floodsub
    /// Mesh and gossip.
    case gossipsub10
    /// Backoff and peer exchange in PRUNE; scores.
    case gossipsub11
    /// IDONTWANT.
    case gossipsub12

    /// The name in multistream-select.
    package var name: String {
        switch self {
        case .floodsub: "/floodsub/1.0.0"
        case .gossipsub10: "/meshsub/1.0.0"
        case .gossipsub11: "/meshsub/1.1.0"
        case .gossipsub12: "/meshsub/1.2.0"
        }
    }

    /// The protocol of this name.
    package init?(name: some StringProtocol) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }

    /// Names to offer, newest first.
    package static let offered = allCases.reversed().map(\.name)

    /// Orders by age, oldest first.
    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Numbers of the mesh and of gossip, with the specification's names in brackets. All peers of a network should agree on
/// them roughly; none of them changes what is on the wire.
package struct GossipParameters: Sendable {
    /// Wanted peers per mesh (D), the least (D_lo) and the most (D_hi) that are left alone.
    package var degree = 6
    package var degreeLow = 5
    package var degreeHigh = 12
    /// Best-scored peers kept when a mesh is cut (D_score), and outbound ones that it must have (D_out): an attacker
    /// chooses whom it dials, not who dials it.
    package var degreeScore = 4
    package var degreeOutbound = 2
    /// Peers that get IHAVE: at least so many (D_lazy), and at least this share of those outside the mesh.
    package var degreeLazy = 6
    package var gossipFactor = 0.25
    /// Time between two heartbeats, and to the first.
    package var heartbeatInterval: Duration = .seconds(1)
    package var heartbeatInitialDelay: Duration = .milliseconds(100)
    /// Heartbeats for which messages are kept for IWANT (mcache_len), and advertised (mcache_gossip).
    package var cacheWindows = 5
    package var gossipWindows = 3
    /// How long an id is remembered (seen_ttl).
    package var seenLifetime: Duration = .seconds(120)
    /// How long peers for publishing to a topic that is not followed are kept (fanout_ttl).
    package var fanoutLifetime: Duration = .seconds(60)
    /// Own messages go to every peer of the topic with a good enough score, not to the mesh alone: a mesh full of
    /// attackers cannot keep them back.
    package var floodPublish = true
    /// How long a pruned peer must wait, and one that was left when we ceased to follow.
    package var pruneBackoff: Duration = .seconds(60)
    package var unsubscribeBackoff: Duration = .seconds(10)
    /// Longest backoff that a peer can impose.
    package var pruneBackoffMax: Duration = .seconds(3600)
    /// How much longer than a backoff this node waits itself.
    package var backoffSlack: Duration = .seconds(1)
    /// A GRAFT so soon after the backoff began counts twice.
    package var graftFloodThreshold: Duration = .seconds(10)
    /// RPCs with IHAVE from one peer per heartbeat, and ids asked of one peer per heartbeat.
    package var haveMessagesMax = 10
    package var wantedIDsMax = 5000
    /// Ids advertised to one peer per heartbeat: what fits the IHAVE messages that others accept.
    package var advertisedIDsMax = 2800
    /// How often one peer may ask for one message, and how many ids it may ask for per heartbeat.
    package var retransmissionsMax = 3
    package var requestedIDsMax = 5000
    /// How long a peer has to send what it advertised.
    package var promiseTimeout: Duration = .seconds(3)
    /// Messages with at least so much data are worth an IDONTWANT.
    package var dontWantBytesMin = 1024
    /// RPCs with IDONTWANT from one peer per heartbeat, and heartbeats for which the ids are kept.
    package var dontWantMessagesMax = 1000
    package var dontWantHeartbeats = 3
    /// Heartbeats between two looks at whether a mesh is poor, and peers grafted if it is.
    package var opportunisticGraftHeartbeats = 60
    package var opportunisticGraftPeers = 2
    /// Heartbeats between two attempts to reach direct peers that are not connected.
    package var directConnectHeartbeats = 300
    /// Most data of one message. Larger things are announced here and fetched elsewhere.
    package var dataBytesMax = (1 << 20) - 1024
    /// Useless messages (repeated, or of topics not followed) that a peer may send per heartbeat, on top of four copies
    /// of every message that arrived lately.
    package var uselessMessagesFree = 1024

    /// The defaults.
    package init() {}

    /// Traps on numbers that contradict each other.
    func check() {
        precondition(
            0 <= degreeLow && degreeLow <= degree && degree <= degreeHigh, "mesh degrees must be low ≤ wanted ≤ high")
        precondition(degreeScore <= degree, "the peers kept by score are some of the mesh")
        precondition(
            degree == 0 || degreeOutbound < degreeLow && degreeOutbound <= degree / 2,
            "outbound peers must be fewer than the least degree and at most half the mesh")
        precondition(0 < gossipWindows && gossipWindows <= cacheWindows, "what is advertised must still be kept")
        precondition(heartbeatInterval > .zero, "time must pass between heartbeats")
        precondition(dataBytesMax <= PubsubLimits.rpcBytesMax - 1024, "a message must fit one RPC")
    }
}
