/// libp2p's distributed hash table (`kad-dht`) as a state machine: finds peers, providers of keys and values, keeps
/// some of them for others, and answers for what it keeps.
///
/// The driver tells who connects and what they say about themselves, performs `takeOutputs()` in order, reports what
/// became of each request, hands in other peers' requests by `answer`, and calls `advance` when `nextDeadline` has
/// come. Nothing here knows a clock, a socket or a source of randomness; nothing a peer sends can make it trap, or hold
/// more than `KademliaLimits` name.
package struct Kademlia: Sendable {
    /// Atoll's own table.
    package static let atollProtocol = "/atoll/kad/1.0.0"
    /// The public table of IPFS.
    package static let ipfsProtocol = "/ipfs/kad/1.0.0"

    /// Whether this node answers others and is told to others. A node that others cannot dial is a client.
    package enum Mode: Hashable, Sendable { case client, server }

    /// What a table is given at its start.
    package struct Configuration: Sendable {
        /// This node.
        package var peer: PeerID
        /// Where others reach it; told with what it provides.
        package var addresses: [Multiaddr]
        /// Whether it answers; the driver lists the protocol in identify for a server alone.
        package var mode: Mode
        /// The protocol of the streams, which also tells one table from another one.
        package var protocolName: String
        /// Whether loopback and private addresses count: for a network of one site, and for tests.
        package var isLocalNetwork: Bool
        /// What values are kept and believed.
        package var validator: any RecordValidator
        /// Requests of one look-up at once.
        package var concurrency: Int
        /// Random bits of the driver.
        package var seed: UInt64

        /// Wraps the fields.
        package init(
            peer: PeerID, addresses: [Multiaddr] = [], mode: Mode, protocolName: String = Kademlia.atollProtocol,
            isLocalNetwork: Bool = false, validator: any RecordValidator = PublicKeyValidator(),
            concurrency: Int = KademliaLimits.concurrency, seed: UInt64
        ) {
            precondition(concurrency > 0, "a look-up asks at least one peer at a time")
            self.peer = peer
            self.addresses = addresses
            self.mode = mode
            self.protocolName = protocolName
            self.isLocalNetwork = isLocalNetwork
            self.validator = validator
            self.concurrency = concurrency
            self.seed = seed
        }
    }

    /// Names a request until its end.
    package struct RequestToken: Hashable, Comparable, Sendable {
        let number: UInt64

        /// Orders by age.
        package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
    }

    /// Names a command until its outcome.
    package struct LookupID: Hashable, Comparable, Sendable {
        let number: UInt64

        /// Orders by age.
        package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
    }

    /// One message for one peer.
    package struct Request: Hashable, Sendable {
        /// What its end is reported under.
        package let token: RequestToken
        /// For whom, with where to dial if there is no connection.
        package let contact: PeerContact
        /// The message, without length prefix.
        package let bytes: [UInt8]
        /// Whether one message comes back; if not, `delivered` is its end.
        package let awaitsAnswer: Bool
    }

    /// What came of a command.
    package enum Outcome: Hashable, Sendable {
        /// The peers closest to a key, or for bootstrap to this node, that answered; the closest first.
        case closest([PeerContact])
        /// The peer sought, if anybody knew it; `isConfirmed`: this node reached it itself, else the addresses are
        /// hearsay.
        case peer(PeerContact?, isConfirmed: Bool)
        /// Everybody who was said to provide the key. Connect to verify; addresses may be empty.
        case providers([PeerContact])
        /// How many peers keep the provider record now, as far as this node knows.
        case provided(peers: Int)
        /// The best valid value found.
        case value([UInt8]?)
        /// How many peers keep the value now.
        case stored(peers: Int)
    }

    /// What the driver must do, in order.
    package enum Output: Hashable, Sendable {
        /// Send a message on a new stream of the protocol; its end must be reported by `receive`, `delivered` or
        /// `failed`.
        case send(Request)
        /// Nobody waits for this request any more; reset its stream or give up its dial.
        case abandon(RequestToken)
        /// Further providers; `.finished` follows some time.
        case providersFound(LookupID, [PeerContact])
        /// A command is done.
        case finished(LookupID, Outcome)
    }

    /// A connected peer, listed in the table or not.
    struct Acquaintance: Sendable {
        var addresses: [Multiaddr] = []
        var groups: [IPGroup] = []
        /// Whether it said that it serves the protocol; nil before identify.
        var isServer: Bool?
        /// Whether it has answered a request.
        var hasAnswered = false
    }

    /// What this node publishes again and again.
    struct Publication: Sendable {
        /// Nil for a provider record.
        var value: [UInt8]?
        var dueAt: Moment
    }

    package private(set) var configuration: Configuration
    let policy: AddressPolicy
    let ownKey: KademliaKey
    var random: SplitMix64
    var table: RoutingTable
    var acquaintances: [PeerID: Acquaintance] = [:]
    var seeds: [PeerContact] = []
    var providers: ProviderStore
    var values: ValueStore
    var publications: [[UInt8]: Publication] = [:]
    var operations: [LookupID: Operation] = [:]
    var requests: [RequestToken: PendingRequest] = [:]
    var outputs: [Output] = []
    /// Numbers of the last token and of the last look-up.
    var tokenCount: UInt64 = 0
    var lookupCount: UInt64 = 0
    /// When any peer last answered; tells a dead peer from a dead uplink.
    var lastAnswerAt: Moment?
    var nextTick: Moment
    var nextRefresh: Moment?
    /// The look-up that refreshes the table now, and the buckets whose turn comes after it.
    var refreshLookup: LookupID?
    var bucketsToRefresh: [Int] = []

    /// Starts with an empty table; nothing is sent before a command or a peer comes.
    package init(configuration: Configuration, at now: Moment) {
        self.configuration = configuration
        policy = AddressPolicy(isLocalNetwork: configuration.isLocalNetwork)
        ownKey = KademliaKey(configuration.peer)
        random = SplitMix64(seed: configuration.seed)
        table = RoutingTable(own: ownKey)
        providers = ProviderStore(own: ownKey)
        values = ValueStore(own: ownKey)
        nextTick = now + KademliaLimits.tickInterval
    }

    // MARK: Inputs

    /// A connected peer said who it is, or said it anew. `remoteAddress` is its end of the connection: proof of where
    /// it is, unlike what it says.
    package mutating func identified(
        _ peer: PeerID, record: IdentifyRecord, remoteAddress: Multiaddr?, at now: Moment
    ) {
        guard peer != configuration.peer else { return }
        var acquaintance = acquaintances[peer] ?? Acquaintance()
        guard acquaintances.count < KademliaLimits.acquaintancesMax || acquaintances[peer] != nil else { return }
        acquaintance.addresses = policy.kept(record.listenAddresses)
        acquaintance.groups = policy.groups(remoteAddress: remoteAddress, addresses: acquaintance.addresses)
        acquaintance.isServer = record.protocols.contains(configuration.protocolName)
        acquaintances[peer] = acquaintance
        if acquaintance.isServer == true {
            consider(peer, at: now)
        } else {
            table.remove(peer)
        }
    }

    /// The last connection of a peer ended.
    package mutating func disconnected(_ peer: PeerID) { acquaintances[peer] = nil }

    /// Takes the answer to a request, without length prefix.
    package mutating func receive(_ bytes: [UInt8], for token: RequestToken, at now: Moment) {
        guard let request = requests.removeValue(forKey: token) else { return }
        guard let message = try? KademliaMessage(decoding: bytes), message.kind == request.kind else {
            return failed(request, blamesPeer: true, at: now)
        }
        answered(request, message, at: now)
    }

    /// A request that awaits no answer is written, and its stream ended.
    package mutating func delivered(_ token: RequestToken, at now: Moment) {
        guard let request = requests.removeValue(forKey: token) else { return }
        if case .spread(let id) = request.purpose {
            spreadEnded(id, succeeded: request.kind == .addProvider, at: now)
        }
    }

    /// A request came to nothing: no connection, protocol refused, stream reset. `blamesPeer`: false if it was this
    /// node that could not dial or open a stream, by a limit of its own; that costs the peer nothing.
    package mutating func failed(_ token: RequestToken, blamesPeer: Bool = true, at now: Moment) {
        guard let request = requests.removeValue(forKey: token) else { return }
        failed(request, blamesPeer: blamesPeer, at: now)
    }

    /// Does what is due.
    package mutating func advance(at now: Moment) {
        let late = requests.filter { $0.value.deadline <= now }.keys.sorted()
        for token in late {
            // An earlier one's end may have ended this one's look-up.
            guard let request = requests.removeValue(forKey: token) else { continue }
            outputs.append(.abandon(token))
            failed(request, blamesPeer: true, at: now)
        }
        if nextTick <= now { tick(at: now) }
        if let due = nextRefresh, due <= now { refresh(at: now) }
    }

    /// When `advance` has something to do.
    package var nextDeadline: Moment {
        requests.values.reduce(min(nextTick, nextRefresh ?? nextTick)) { min($0, $1.deadline) }
    }

    /// What the driver must do now, in order.
    package mutating func takeOutputs() -> [Output] {
        defer { outputs.removeAll() }
        return outputs
    }

    // MARK: State

    /// Peers in the table.
    package var peerCount: Int { table.count }

    /// The table's peers that answered last time, to be remembered for the next start.
    package var contacts: [PeerContact] {
        table.entries.filter { $0.failures == 0 }.map { PeerContact(peer: $0.peer, addresses: $0.addresses) }
    }

    /// Provider records and values kept for others.
    package var storedCounts: (providerRecords: Int, values: Int) { (providers.recordCount, values.count) }

    /// Changes between client and server; the driver changes what identify lists.
    package mutating func setMode(_ mode: Mode) { configuration.mode = mode }

    /// Tells where this node is reached now; what it provides is soon published anew.
    package mutating func setAddresses(_ addresses: [Multiaddr], at now: Moment) {
        guard addresses != configuration.addresses else { return }
        configuration.addresses = addresses
        for key in publications.keys where publications[key]?.value == nil { publications[key]?.dueAt = now }
    }
}
