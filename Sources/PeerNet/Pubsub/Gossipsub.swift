/// gossipsub v1.1 with v1.2's IDONTWANT as a state machine: signed messages, a mesh per topic, gossip about what was
/// missed, and scores that end in disconnection. protocols/gossip.md states its rules and limits.
///
/// The driver feeds what happens, performs `takeOutputs()` in order after each call, reports written bytes by `written`,
/// and calls `advance` when `nextDeadline` has come. Time is an argument and chance comes from a seed, so a run can be
/// repeated. Where this departs from the specification it says so at the rule.
package struct Gossipsub: Sendable {
    /// What the driver must do.
    package enum Output: Hashable, Sendable {
        /// Write these bytes (RPCs with their lengths) on our stream to the peer, and report it by `written`.
        case send(PeerID, [UInt8])
        /// Judge this message and call `validated`; until then it is not passed on.
        case deliver(Delivery)
        /// Peers of a topic that another peer suggested; dial some if more are wanted.
        case suggestPeers(Topic, [SuggestedPeer])
        /// Connect to a direct peer.
        case connect(PeerID)
        /// Reset the stream that the peer opened: what it sent there is not pubsub.
        case resetStream(PeerID, RPCFault)
        /// Close the connection and report it by `peerDisconnected`.
        case disconnect(PeerID, DisconnectReason)
    }

    /// A message whose signature is good and whose content must be judged.
    package struct Delivery: Hashable, Sendable {
        /// What tells it from others.
        package let id: MessageID
        /// Where it was published.
        package let topic: Topic
        /// The content.
        package let data: [UInt8]
        /// Who passed it to us; its author is `id.author`.
        package let source: PeerID
    }

    /// The application's judgement of a message.
    package enum Verdict: Hashable, Sendable {
        /// Valid: pass it on.
        case accept
        /// Invalid whatever this node knows: those who passed it on are punished.
        case reject
        /// Not to be passed on, and nobody's fault: outdated, or too much at once.
        case ignore
    }

    /// A peer that another suggested.
    package struct SuggestedPeer: Hashable, Sendable {
        /// Who.
        package let peer: PeerID
        /// Its own verified record; nil if only the id was given, and addresses must be known otherwise.
        package let record: SignedPeerRecord?
    }

    /// Why a peer must go.
    package enum DisconnectReason: Hashable, Sendable {
        /// Its score fell below the graylist threshold.
        case graylisted(score: Double)
        /// It does not read: even control messages no longer fit its queue.
        case queueFull
    }

    /// What this node asked for and cannot have.
    package enum Refusal: Error, Hashable, Sendable {
        /// More topics than the limit.
        case tooManyTopics(max: Int)
        /// More data than one message carries.
        case dataTooLong(bytes: Int, bytesMax: Int)
    }

    /// What a node is given at its start.
    package struct Configuration: Sendable {
        /// This node's key, which signs its messages.
        package var identity: Identity
        /// The first sequence number, above all that the key ever used: Unix time in nanoseconds, say.
        package var firstSequence: UInt64
        /// Seed of all choices; random.
        package var seed: UInt64
        /// Numbers of mesh and gossip.
        package var parameters = GossipParameters()
        /// Weights of scores.
        package var scores = ScoreParameters()
        /// Peers that are always forwarded to, whatever they do; they must name this node likewise.
        package var directPeers: Set<PeerID> = []

        /// Wraps the fields.
        package init(identity: Identity, firstSequence: UInt64, seed: UInt64) {
            self.identity = identity
            self.firstSequence = firstSequence
            self.seed = seed
        }
    }

    /// A message that waits for its verdict.
    struct Pending: Sendable {
        let message: PubsubMessage
        let source: PeerID
        /// Others who delivered it meanwhile.
        var others = SortedPeers()
        let since: Moment

        var bytes: Int { message.data?.count ?? 0 }
    }

    /// Peers for publishing to a topic that this node does not follow.
    struct Fanout: Sendable {
        var peers = SortedPeers()
        var lastPublish: Moment
    }

    let identity: Identity
    let parameters: GossipParameters
    let directPeers: SortedPeers
    var random: SplitMix64
    var nextSequence: UInt64

    var peers: [PeerID: GossipPeer] = [:]
    /// Connected peers of each topic that any of them follows.
    var topicPeers: [Topic: SortedPeers] = [:]
    /// Our topics, each with the peers that we exchange full messages with.
    var mesh: [Topic: SortedPeers] = [:]
    var fanout: [Topic: Fanout] = [:]
    var seen: SeenCache
    var cache: MessageCache
    var pending: [MessageID: Pending] = [:]
    var pendingBytes = 0
    /// Who delivered a message that was just accepted, while P3 counts late deliveries.
    var lateDeliverers: [MessageID: SortedPeers] = [:]
    var backoffs = Backoffs()
    var promises = Promises()
    var scores: PeerScores
    /// Peers with something to send, in the order in which it came.
    var scheduled: [PeerID] = []
    var outputs: [Output] = []
    var heartbeats: UInt64 = 0
    /// New messages of the last heartbeats, newest last.
    var freshCounts: [Int] = [0]
    var nextHeartbeat: Moment

    /// Starts without peers or topics.
    package init(configuration: Configuration, at now: Moment) {
        configuration.parameters.check()
        identity = configuration.identity
        parameters = configuration.parameters
        var direct = SortedPeers()
        for peer in configuration.directPeers { direct.insert(peer) }
        directPeers = direct
        random = SplitMix64(seed: configuration.seed)
        nextSequence = configuration.firstSequence
        seen = SeenCache(lifetime: parameters.seenLifetime, countMax: PubsubLimits.seenMax)
        cache = MessageCache(windowsKept: parameters.cacheWindows)
        scores = PeerScores(parameters: configuration.scores)
        nextHeartbeat = now + parameters.heartbeatInitialDelay
    }

    // MARK: Driver

    /// What to do since the last call.
    package mutating func takeOutputs() -> [Output] {
        defer { outputs.removeAll(keepingCapacity: true) }
        return outputs
    }

    /// When `advance` must be called at the latest.
    package var nextDeadline: Moment { nextHeartbeat }

    /// Does what is due at `now`. Heartbeats that were missed are not made up for.
    package mutating func advance(to now: Moment) {
        guard now >= nextHeartbeat else { return }
        let isLate = now - nextHeartbeat > parameters.heartbeatInterval
        nextHeartbeat = now + parameters.heartbeatInterval
        heartbeat(at: now, isLate: isLate)
        flush()
    }

    // MARK: For status and tests

    /// Topics that this node follows, in order.
    package var topics: [Topic] { mesh.keys.sorted() }

    /// Peers in the mesh of a topic, in order.
    package func meshPeers(of topic: Topic) -> [PeerID] { mesh[topic].map { Array($0) } ?? [] }

    /// Connected peers that follow a topic, in order.
    package func followers(of topic: Topic) -> [PeerID] { topicPeers[topic].map { Array($0) } ?? [] }

    /// The score of a peer; 0 for one that is unknown.
    package func score(of peer: PeerID) -> Double { scores.score(of: peer) }

    // MARK: Facts about peers

    /// Whether the peer may be in a mesh with us, backoffs aside.
    func isMeshCandidate(_ peer: PeerID) -> Bool {
        guard let state = peers[peer] else { return false }
        return state.isMeshCapable && !state.isDirect && !state.isCondemned && scores.score(of: peer) >= 0
    }

    /// Whether the score of a peer is at least a threshold; direct peers are not judged.
    func isTrusted(_ peer: PeerID, above threshold: Double) -> Bool {
        directPeers.contains(peer) || scores.score(of: peer) >= threshold
    }
}
