package import Compression
package import OuterSync
package import PeerNet

/// Names one asynchronous request of the core to its driver; never reused by one core.
package struct Token: Hashable, Sendable {
    /// The raw number.
    package let value: UInt64
    /// Wraps a raw number.
    package init(_ value: UInt64) { self.value = value }
}

/// A record that must be on disk before anything that depends on it leaves the node.
package enum DurableRecord: Hashable, Sendable {
    /// A signed message of this node (plan, join, roster, result, commit, ack) as sent, or a commit that it is about
    /// to ack, for a round of a fragment (the key for `.pruneSlots`): handed back byte for byte after a restart.
    case slot(FragmentIndex, RoundIndex, [UInt8])
    /// A final commit with its acks: the next link of its fragment's ledger.
    case final(FragmentIndex, RoundIndex, [UInt8])
    /// Addresses of a member, to dial after a restart.
    case peer(PeerID, [Multiaddr])
    /// A record of who may take part, and its key: a later one with the same key replaces it.
    case admission(Digest, [UInt8])
    /// A record of a branch or an expert, and its key.
    case record(Digest, [UInt8])
}

/// What the trainer must do with a new head, at a step boundary.
package struct HeadApplication: Hashable, Sendable {
    /// The fragment.
    package var fragment: FragmentIndex
    /// The round whose head is applied; the driver's current head of the fragment is that round's or a later one's.
    package var round: RoundIndex
    /// Tiles to blend: live = alpha * live + (1 - alpha) * Theta. Empty with `overwrite`.
    package var blendedTiles: [TileIndex]
    /// Weight that the live value keeps, in [0, 1).
    package var alpha: Float
    /// Replace the whole live fragment by Theta instead of blending.
    package var overwrite: Bool
    /// The earliest total step count at which to apply (the snapshot's step plus tau).
    package var notBeforeStep: UInt64
    /// Whether an overwrite leaves the residual, and takes along what commits have settled of it; else it becomes 0.
    package var keepsResidual = false

    /// Wraps the fields.
    package init(
        fragment: FragmentIndex, round: RoundIndex, blendedTiles: [TileIndex], alpha: Float, overwrite: Bool,
        notBeforeStep: UInt64
    ) {
        self.fragment = fragment
        self.round = round
        self.blendedTiles = blendedTiles
        self.alpha = alpha
        self.overwrite = overwrite
        self.notBeforeStep = notBeforeStep
    }
}

/// What becomes of a live fragment at the boundary at which it is copied, after the copy.
package enum SnapshotSequel: Hashable, Sendable {
    /// It trains on.
    case none
    /// The fragment's head, as it is when this is asked for, replaces it by the charter's late mode (`LateFragment.turn`);
    /// what commits have settled of the residual is put in place before the copy. `share`: this node's share of a mean.
    case turn(share: Float)
}

/// The trainer's counters at a step boundary; both only rise, across restarts too.
package struct TrainingProgress: Hashable, Sendable {
    /// Inner steps of this node in this swarm.
    package var steps: UInt64
    /// Tokens of this node in this swarm.
    package var tokens: UInt64

    /// Wraps the two.
    package init(steps: UInt64, tokens: UInt64) {
        self.steps = steps
        self.tokens = tokens
    }
}

extension NodeCore {
    /// What can happen to a node.
    package enum Input: Sendable {
        /// The driver is ready: always the first input, once.
        case started
        /// An authenticated connection to a peer is up (or one more is; the driver keeps one).
        case connected(PeerID, addresses: [Multiaddr])
        /// The last connection to a peer is gone.
        case disconnected(PeerID)
        /// A control message of at most `Limits.messageBytesMax` arrived on `/atoll/swarm/1.0.0`, or by gossip, which
        /// `judge` has accepted; then `from` is its author.
        case received(from: PeerID, message: [UInt8])
        /// A blob asked for with `.fetch` is on disk, durably, and its digest is right.
        case fetched(BlobReference)
        /// A `.fetch` failed: none of the peers named so far holds the blob, keeps its word and is there.
        case fetchFailed(BlobReference, reason: String)
        /// A `.fetch` failed for ever: the digest is that of a blob of `byteCount` bytes, as what was received proves.
        case blobMisnamed(BlobReference, byteCount: Int)
        /// A record is on disk.
        case persisted(Token)
        /// A record cannot be written: train on, sign nothing.
        case persistFailed(Token, reason: String)
        /// A job ended.
        case computed(Token, JobResult)
        /// The trainer copied its live fragment at a step boundary (`nil`: it could not).
        case snapshotTaken(FragmentIndex, RoundIndex, TrainingProgress?)
        /// The trainer applied a head.
        case applied(FragmentIndex, RoundIndex, TrainingProgress)
        /// The trainer finished a step.
        case trained(TrainingProgress)
        /// A timer set with `.setTimer` fired.
        case timerFired(Timer)
        /// The wall clock, in seconds of Unix time: before `.started`, and again at least every minute where the charter
        /// does not let everybody in.
        case clock(UInt64)
        /// A message arrived on `/atoll/link/1.0.0`, of at most `Limits.linkMessageBytesMax` bytes.
        case linkReceived(from: PeerID, message: [UInt8])
        /// A part of a blob has arrived whole from a peer.
        case transferred(from: PeerID, BlobTransferRecord)
        /// A ping to a peer was answered after this time.
        case roundTrip(PeerID, Duration)
        /// The driver is about to stop: say goodbye.
        case stopping
    }

    /// What the driver must now do, in order.
    package enum Output: Hashable, Sendable {
        /// Send a control message to one peer, if connected; silently dropped if not.
        case send(to: PeerID, message: [UInt8])
        /// Send a message on `/atoll/link/1.0.0` to one peer, if it is connected and speaks that.
        case sendLink(to: PeerID, message: [UInt8])
        /// Gossip a signed message to all members of this node's branch; those without a connection to this node get it too.
        case publish(message: [UInt8])
        /// Gossip a signed message to all members, whatever branch they train.
        case announce(message: [UInt8])
        /// Connect to a peer, unless connected; try the addresses in order, with back-off across calls.
        case dial(PeerID, [Multiaddr])
        /// Drop a peer that broke a rule.
        case disconnect(PeerID, reason: String)
        /// Fetch a blob of exactly the size that is named from any of some peers, the likeliest first; store it durably;
        /// answer `.fetched`, `.fetchFailed` or `.blobMisnamed`, once. While no answer was given, the same blob may come
        /// again with more peers. If the blob is already here, answer `.fetched` at once, whoever is named; that may be
        /// this node alone.
        case fetch(BlobReference, from: [PeerID])
        /// A blob is no longer needed.
        case dropBlob(Digest)
        /// Once per start, when the node has caught up: these are all the blobs that it needs of those that
        /// earlier starts left. Delete the others; whatever this start stored or was asked to fetch stays.
        case keepBlobs([Digest])
        /// Write durably, then answer `.persisted(token)`. Records are kept in the order given.
        case persist(DurableRecord, then: Token)
        /// Forget slot records of this fragment up to and including this round: its commit is final and durable.
        case pruneSlots(FragmentIndex, through: RoundIndex)
        /// Forget the admission record with this key.
        case forgetAdmission(Digest)
        /// Do some arithmetic beside training, in the order given per fragment, then answer `.computed(token, …)`.
        /// Blobs that the result names are stored durably before the answer.
        case compute(Job, then: Token)
        /// At the next step boundary (at once, after `.stopTraining`), and after any earlier `.apply` of the fragment,
        /// copy the live fragment, keep it under (fragment, round), do with it what the sequel says, answer `.snapshotTaken`.
        case takeSnapshot(FragmentIndex, RoundIndex, SnapshotSequel)
        /// Forget the copy.
        /// `committed` are this node's contributions that the final commit counts: what their encoding left over is settled.
        case releaseSnapshot(FragmentIndex, RoundIndex, committed: [Digest])
        /// Apply a head to the live model at a step boundary, answer `.applied`. A later application of the same
        /// fragment replaces one that has not happened yet. After `.stopTraining` it happens at once, whatever
        /// `notBeforeStep` says.
        case apply(HeadApplication)
        /// The branch's committed tokens, on which learning rate and weight decay depend.
        case setCommittedTokens(UInt64)
        /// The token budget is reached: finish the running step and train no more.
        case stopTraining
        /// The last round of every fragment is final and adopted: the heads are the model.
        case finished
        /// Fire `.timerFired(timer)` at `at`; replaces an earlier setting of the same timer.
        case setTimer(Timer, at: Moment)
        /// Forget a timer.
        case cancelTimer(Timer)
        /// Something worth a log line, metric or status field.
        case event(Event)
    }
}
