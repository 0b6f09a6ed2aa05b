import Compression
import OuterSync
package import PeerNet

/// One node's whole protocol: membership, rounds, ledger and join, as one pure state machine.
///
/// It knows no clock, file, socket or thread: `handle` takes what happened and says what the driver must do. A round's
/// life is told in protocols/round.md, section by section the order of the files beside this one.
package struct NodeCore: Sendable {
    /// What the node was told at its start.
    let configuration: Configuration
    let context: BranchContext
    let me: PeerID
    var now = Moment.zero
    /// The caller's array while an input is handled.
    var out: [Output] = []
    var random: SeededRandom

    var fragments: [FragmentState] = []
    var peers: PeerTable
    var admissions: AdmissionBook
    var book: BranchBook
    /// Connected peers that are not let in: since when, and their addresses.
    var strangers: [PeerID: (since: Moment, addresses: [Multiaddr])] = [:]
    /// The wall clock as last told, and when that was.
    var wallClock: (seconds: UInt64, at: Moment)?
    /// Why this node was last refused, unless somebody has greeted it since.
    var refusal: AdmissionRefusal?
    var shelf = BlobShelf()
    var slots = SlotBook()
    var requests = Requests()
    var progress: TrainingProgress
    var pace = Pace()
    var links: LinkBook

    var isStarted = false
    var isStopping = false
    var hasHeardOfClosure = false
    var budgetKnown = false
    var isFinished = false
    var isCaughtUp = false
    var hasContributed = false
    /// Blobs left behind by an earlier start have been named for deletion.
    var hasSwept = false
    /// Nobody else is known of: catching up needs nobody's word.
    let isAlone: Bool
    var committedTokens: UInt64 = 0
    var isRetrySet = false
    var retryWait: Duration

    /// The branch that every swarm starts with.
    static let branch = Branch.main

    var limits: Limits { configuration.limits }
    var charter: Charter { configuration.charter }

    /// Takes up the work where the records left it; the first input must be `.started`.
    package init(_ configuration: Configuration, recovered: Recovered) throws(StartError) {
        try Self.check(configuration, recovered)
        self.configuration = configuration
        context = BranchContext(swarmID: configuration.swarmID, branch: configuration.branch)
        me = configuration.identity.peerID
        random = SeededRandom(seed: configuration.seed)
        peers = PeerTable(me: me)
        links = LinkBook(limits: configuration.rateLimits)
        admissions = try Self.recoveredAdmissions(configuration, recovered)
        book = try Self.recoveredBook(configuration, recovered)
        progress = recovered.progress
        retryWait = configuration.limits.retry
        // Nor can a branch have advanced whose maker has decided no round of it.
        let isUnbegun = configuration.branchMaker == me && recovered.finals.allSatisfy(\.isEmpty)
        isAlone = isUnbegun || configuration.bootstrap.isEmpty && recovered.peers.isEmpty
        for peer in configuration.bootstrap + recovered.peers {
            peers.update(peer.peer) { $0.addresses = Array(peer.addresses.prefix(Limits.addressesPerPeerMax)) }
        }
        for index in configuration.fragments.indices {
            fragments.append(try recoveredFragment(FragmentIndex(index), recovered))
        }
        for bytes in recovered.slots {
            guard let message = try? Message(bytes: bytes, in: context) else {
                throw .recovered("a slot record does not decode")
            }
            slots.restore(message, bytes: bytes, me: me)
        }
    }

    /// Applies one input and appends what the driver must now do, in order, to `outputs`.
    package mutating func handle(_ input: Input, at now: Moment, into outputs: inout [Output]) {
        swap(&out, &outputs)
        self.now = max(self.now, now)
        apply(input)
        if isStarted { startFetches() }
        swap(&out, &outputs)
    }

    private mutating func apply(_ input: Input) {
        switch input {
        case .started: start()
        case .connected(let peer, let addresses): connected(peer, addresses)
        case .disconnected(let peer): disconnected(peer)
        case .received(let peer, let message): received(message, from: peer)
        case .fetched(let blob): fetched(blob)
        case .fetchFailed(let blob, _): fetchFailed(blob)
        case .blobMisnamed(let blob, let byteCount): blobMisnamed(blob, byteCount: byteCount)
        case .persisted(let token): persisted(token)
        case .persistFailed(let token, let reason): persistFailed(token, reason)
        case .computed(let token, let result): computed(token, result)
        case .snapshotTaken(let fragment, let round, let progress): snapshotTaken(fragment, round, progress)
        case .applied(let fragment, let round, let progress): applied(fragment, round, progress)
        case .trained(let progress): trained(progress)
        case .timerFired(let timer): fired(timer)
        case .clock(let seconds): wallClock = (seconds, now)
        case .linkReceived(let peer, let message): linkReceived(message, from: peer)
        case .transferred(let peer, let transfer): links.received(transfer, from: peer)
        case .roundTrip(let peer, let duration): links.measured(duration, to: peer)
        case .stopping: stop()
        }
    }

    private mutating func start() {
        guard !isStarted else { return }
        isStarted = true
        for index in fragments.indices { fragments[index].cycleStart = (progress.steps, now) }
        pace.note(progress, at: now)
        for peer in peers.known { dial(peer) }
        set(.status, after: limits.statusInterval)
        set(.links, after: limits.linkReportInterval)
        updateCommittedTokens()
        checkClosed()
        for index in fragments.indices {
            if fragments[index].head.value > 0, fragments[index].isAtTip { captureSnapshot(FragmentIndex(index)) }
            follow(FragmentIndex(index))
        }
        checkCaughtUp()
        checkFinished()
    }

    private mutating func stop() {
        isStopping = true
        tellMembers(.goodbye)
    }

    private mutating func fired(_ timer: Timer) {
        switch timer {
        case .status: tellStatus()
        case .due(let fragment): checkDue(fragment)
        case .phase(let fragment): phaseOverdue(fragment)
        case .nudge(let fragment): nudge(fragment)
        case .aggregate(let fragment): aggregateOverdue(fragment)
        case .catchUp(let fragment): catchUpAgain(fragment)
        case .retry: retry()
        case .links: reportLinks()
        }
    }

    mutating func trained(_ progress: TrainingProgress) {
        self.progress = progress
        pace.note(progress, at: now)
        for index in fragments.indices { checkDue(FragmentIndex(index)) }
    }

    // MARK: What every part uses

    mutating func event(_ event: Event) { out.append(.event(event)) }

    mutating func set(_ timer: Timer, after duration: Duration) { out.append(.setTimer(timer, at: now + duration)) }

    mutating func send(_ message: Message, to peer: PeerID) {
        guard peer != me else { return }
        out.append(.send(to: peer, message: message.bytes(in: context)))
    }

    /// For what concerns the connections of this node alone; gossip would pass it on to those who have none.
    mutating func tellMembers(_ message: Message) { for peer in peers.members { send(message, to: peer) } }

    mutating func publish(_ message: Message) { out.append(.publish(message: message.bytes(in: context))) }

    mutating func announce(_ message: Message) { out.append(.announce(message: message.bytes(in: context))) }

    /// Whether a fragment index from a peer exists.
    func has(_ fragment: FragmentIndex) -> Bool { fragments.indices.contains(fragment.value) }
}
