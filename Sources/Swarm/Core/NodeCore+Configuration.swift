package import Compression
package import OuterSync
package import PeerNet

/// A peer and where it may be reached.
package struct PeerAddresses: Hashable, Sendable {
    /// The peer.
    package var peer: PeerID
    /// Its addresses, best first.
    package var addresses: [Multiaddr]

    /// Wraps the two.
    package init(peer: PeerID, addresses: [Multiaddr]) {
        self.peer = peer
        self.addresses = addresses
    }
}

/// The sizes of one fragment that the core needs; they follow from the charter.
package struct FragmentShape: Hashable, Sendable {
    /// Tiles, 1 to `Limits.fragmentTilesMax`.
    package var tileCount: Int
    /// The most bytes that a contribution or a result for all tiles can have; nothing bigger is fetched.
    package var payloadBytesMax: Int
    /// The most bytes that one tile of a snapshot can have; nothing bigger is fetched.
    package var snapshotTileBytesMax: Int
    /// The charter's; the core sets it.
    var gatherMembersMax = 0
    /// Whether the charter has owners keep what encoding leaves over; the core sets it.
    var keepsFeedback = false
    /// The most tokens that a commit counts of one contribution; the core sets it.
    var countedTokensMax = Limits.shareMax
    /// Per result codec of the charter, the finest first, what a result for all tiles takes; empty where it has but one.
    package var resultBytes: [Int]

    /// Wraps the fields.
    package init(tileCount: Int, payloadBytesMax: Int, snapshotTileBytesMax: Int, resultBytes: [Int] = []) {
        self.resultBytes = resultBytes
        self.tileCount = tileCount
        self.payloadBytesMax = payloadBytesMax
        self.snapshotTileBytesMax = snapshotTileBytesMax
    }
}

extension NodeCore {
    /// What a node is told once, at its start.
    package struct Configuration: Sendable {
        /// Who signs.
        package var identity: Identity
        /// The swarm.
        package var charter: Charter
        /// The digest of the signed charter.
        package var swarmID: Digest
        /// Counts the node's starts; peers see a restart by it.
        package var incarnation: UInt64
        /// Where this node listens.
        package var listenAddresses: [Multiaddr]
        /// Whom to dial first.
        package var bootstrap: [PeerAddresses]
        /// The fragments, in index order.
        package var fragments: [FragmentShape]
        /// The rate class until one has been measured, and for good where the charter has no ladder.
        package var rateClass: UInt32
        /// What the node's owner lets it send and receive at most: known before anything is measured.
        package var rateLimits: LinkRates
        /// Seeds the core's only random choices: whom to ask or tell.
        package var seed: UInt64
        /// What this node is let in by, if it came by an invite that holds it.
        package var credential: Credential?
        /// The protocol's bounds.
        package var limits: Limits
        /// The id of the branch that the node trains.
        package var branch = Branch.main
        /// Who made that branch; nil: the swarm's founder.
        package var branchMaker: PeerID?

        /// Who alone decides the first round of the branch.
        var firstVoter: PeerID { branchMaker ?? charter.founder }

        /// Wraps the fields.
        package init(
            identity: Identity, charter: Charter, swarmID: Digest, incarnation: UInt64, listenAddresses: [Multiaddr],
            bootstrap: [PeerAddresses], fragments: [FragmentShape], rateClass: UInt32 = 4,
            rateLimits: LinkRates = LinkRates(), seed: UInt64, credential: Credential? = nil, limits: Limits = Limits()
        ) {
            self.identity = identity
            self.charter = charter
            self.swarmID = swarmID
            self.incarnation = incarnation
            self.listenAddresses = listenAddresses
            self.bootstrap = bootstrap
            self.fragments = fragments
            self.rateClass = rateClass
            self.rateLimits = rateLimits
            self.seed = seed
            self.credential = credential
            self.limits = limits
        }
    }

    /// A head that the driver holds durably.
    package struct RecoveredHead: Hashable, Sendable {
        /// The final commits behind it; 0 for genesis.
        package var round: RoundIndex
        /// Its digest.
        package var digest: Digest

        /// Wraps the two.
        package init(round: RoundIndex, digest: Digest) {
            self.round = round
            self.digest = digest
        }
    }

    /// What was found on disk. A fresh node has genesis heads, computed from the charter's seed, and nothing else.
    package struct Recovered: Sendable {
        /// Slot records not yet pruned, in the order in which they were written.
        package var slots: [[UInt8]]
        /// Per fragment its final commits, from round 1 on without a gap, as persisted.
        package var finals: [[[UInt8]]]
        /// Per fragment the head held durably.
        package var heads: [RecoveredHead]
        /// Per fragment the digest of the head that the saved live state is based on: what the last `.apply` that
        /// the state contains put there; nil without a saved state (the live values are the heads of `heads`
        /// exactly when those are genesis).
        package var liveBases: [Digest?]
        /// The trainer's counters.
        package var progress: TrainingProgress
        /// Peers to dial.
        package var peers: [PeerAddresses]
        /// Admission records, the last one of each key.
        package var admissions: [[UInt8]]
        /// Records of branches and experts.
        package var records: [[UInt8]] = []

        /// Wraps the fields.
        package init(
            slots: [[UInt8]], finals: [[[UInt8]]], heads: [RecoveredHead], liveBases: [Digest?],
            progress: TrainingProgress, peers: [PeerAddresses], admissions: [[UInt8]] = []
        ) {
            self.slots = slots
            self.finals = finals
            self.heads = heads
            self.liveBases = liveBases
            self.progress = progress
            self.peers = peers
            self.admissions = admissions
        }

        /// What a node that starts at genesis knows: the genesis heads' digests, in fragment order.
        package static func genesis(_ digests: [Digest]) -> Recovered {
            Recovered(
                slots: [], finals: digests.map { _ in [] },
                heads: digests.map { RecoveredHead(round: RoundIndex(0), digest: $0) },
                liveBases: digests.map { _ in nil }, progress: TrainingProgress(steps: 0, tokens: 0), peers: [])
        }
    }

    /// Why a core cannot start from what it was given.
    package enum StartError: Error, Hashable, Sendable, CustomStringConvertible {
        /// The configuration contradicts itself or the protocol's limits.
        case configuration(String)
        /// The records on disk contradict each other.
        case recovered(String)

        /// The cause in words.
        package var description: String {
            switch self {
            case .configuration(let reason): "the swarm's configuration cannot be used: \(reason)"
            case .recovered(let reason): "the swarm's records on disk cannot be used: \(reason)"
            }
        }
    }
}
