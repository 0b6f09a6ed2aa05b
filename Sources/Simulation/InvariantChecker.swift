import Compression
import OuterSync
import PeerNet
import Swarm

/// Watches every node from outside and knows everything; judges what nodes sign, send, store and compute.
///
/// It reads messages and records by their schema and heads by their floats. It shares no state with the cores, so a core
/// cannot fool it by being wrong in the same way.
package final class InvariantChecker {
    /// What a run went through, for judging scenarios.
    package struct Counters: Hashable, Sendable {
        /// Crashes of running nodes.
        package var crashes = 0
        /// Commits that carried a value of an earlier attempt.
        package var reproposals = 0
        /// Final commits of an attempt other than the first.
        package var laterAttempts = 0
        /// Tiles of final commits that no payload covered.
        package var absentTiles = 0
        /// Snapshots installed.
        package var installs = 0
        /// Contributions that a final commit counts.
        package var contributions = 0
        /// Members that a final commit lists without a contribution.
        package var leftOut = 0
        /// Rounds adopted by nodes, counted per node.
        package var adoptions = 0
        /// Times that a live fragment was overwritten by a head.
        package var overwrites = 0
        /// Payloads of contributions with a tile in a codec of the ladder.
        package var coarseContributions = 0
        /// Aggregates with a result codec of the ladder.
        package var coarseResults = 0
        /// Aggregates with what an owner's last result left over, and those whose owner has lost that.
        package var feedbackStates = 0
        package var feedbackLost = 0
        /// Times that a live fragment was overwritten at its snapshot.
        package var turns = 0
    }

    /// A round's one decision.
    struct FinalRecord {
        var valueDigest: Digest
        var head: Digest
        var isClosing: Bool
        /// The members, in order: the next round's voters.
        var members: [NodeNumber]
        /// Per contributor its tiles.
        var tiles: [NodeNumber: Set<TileIndex>]
        /// Tokens of the head.
        var tokens: UInt64
        var reference: ReferenceHead
    }

    /// A live copy that a node took for a round.
    struct CopyRecord {
        var node: NodeNumber
        var round: RoundIndex
        /// The physical steps behind the live value, by counter.
        var lineage: [UInt32]
        /// How many steps of the lineage were trained before the live value was last overwritten.
        var stepsBeforeOverwrite: Int
    }

    /// One slot of one signer.
    struct SignedSlot: Hashable {
        var node: NodeNumber
        var slot: ObservedMessage.Slot
    }

    /// What one voter promised and accepted in one round.
    struct Vote {
        /// The highest attempt that it joined.
        var highestJoin: UInt32?
        /// The attempt and value that this join shows as accepted.
        var shown: (attempt: UInt64, value: [UInt8])?
        /// The value that it acked, per attempt.
        var acks: [UInt32: Digest] = [:]
    }

    let world: SimulatedWorld
    let branch: SimulatedBranch
    let rule: OuterRule
    /// Per fragment the finals, by round from 1.
    var finals: [[FinalRecord]]
    /// Every commit value that was proposed, by digest.
    var values: [Digest: ObservedValue] = [:]
    /// Digests of signed bodies, per slot; the first one binds.
    var bodies: [SignedSlot: Digest] = [:]
    /// Slots whose record is known to be durable.
    var durableSlots: Set<SignedSlot> = []
    /// Per voter and round what it promised and accepted.
    var votes: [CopyKey: Vote] = [:]
    /// Per fragment and round the proposals: attempt and value.
    var proposals: [RoundKey: [UInt32: Digest]] = [:]
    /// Outer steps by the head that they gave.
    var steps: [HeadKey: OuterStepDescription] = [:]
    /// Reference results of proposed values that were checked.
    var references: [Digest: ReferenceHead] = [:]
    /// Per node, per fragment the finals that it asked to store, and those that are durable.
    var ledgersAsked: [[UInt64]]
    var ledgersDurable: [[UInt64]]
    /// Per node, counter to physical step.
    var lineages: [[UInt32]]
    var physicalSteps: [UInt32]
    /// Per node and fragment the steps behind each overwrite.
    var overwrittenAt: [[[Int]]]
    /// Per node and fragment which physical steps are committed.
    var committedSteps: [[Set<UInt32>]]
    /// The newest copies of each node by fragment and round.
    var copies: [CopyKey: CopyRecord] = [:]
    /// Contributions by blob.
    var contributions: [Digest: CopyRecord] = [:]
    /// Results by blob: what went in.
    var results: [Digest: [ContributionReference]] = [:]
    /// Per node and fragment the head that it holds.
    var headRounds: [[UInt64]]
    /// Per node, the number of finals that count a contribution of it.
    package private(set) var contributionCounts: [Int]
    /// Set whenever something happened that may complete the run's goal.
    var hasNews = false
    /// What the run went through.
    package internal(set) var counters = Counters()
    /// Tokens of all steps of all nodes.
    package private(set) var trainedTokens: UInt64 = 0

    struct RoundKey: Hashable {
        var fragment: FragmentIndex
        var round: RoundIndex
    }
    struct HeadKey: Hashable {
        var fragment: FragmentIndex
        var head: Digest
    }
    /// Names something that one node has once per round.
    struct CopyKey: Hashable {
        var node: NodeNumber
        var fragment: FragmentIndex
        var round: RoundIndex
    }

    init(world: SimulatedWorld, branch: SimulatedBranch) {
        self.world = world
        self.branch = branch
        rule = world.charter.outerRule
        let nodeCount = world.identities.count, fragmentCount = world.layout.fragments.count
        finals = Array(repeating: [], count: fragmentCount)
        ledgersAsked = Array(repeating: Array(repeating: 0, count: fragmentCount), count: nodeCount)
        ledgersDurable = ledgersAsked
        headRounds = ledgersAsked
        lineages = Array(repeating: [], count: nodeCount)
        physicalSteps = Array(repeating: 0, count: nodeCount)
        overwrittenAt = Array(repeating: Array(repeating: [], count: fragmentCount), count: nodeCount)
        committedSteps = Array(repeating: Array(repeating: [], count: fragmentCount), count: nodeCount)
        contributionCounts = Array(repeating: 0, count: nodeCount)
    }

    /// Final commits per fragment.
    package var finalCounts: [Int] { finals.map(\.count) }

    /// Per fragment the tokens behind the newest head.
    package var committedTokens: [UInt64] { finals.map { $0.last?.tokens ?? 0 } }

    /// The voters of the next round of a fragment.
    func voters(of fragment: FragmentIndex) -> [NodeNumber] {
        finals[fragment.value].last?.members ?? [branch.maker]
    }

    /// Whether some voters are a quorum: a majority, or half with the lowest peer id.
    func isQuorum(_ present: Set<NodeNumber>, of voters: [NodeNumber]) -> Bool {
        let count = voters.filter(present.contains).count
        if 2 * count != voters.count { return 2 * count > voters.count }
        let lowest = voters.min { world.identities[$0.value].peerID < world.identities[$1.value].peerID }
        return lowest.map(present.contains) ?? false
    }

    func reference(_ fragment: FragmentIndex, _ round: UInt64) -> ReferenceHead? {
        if round == 0 {
            let shape = world.layout.fragments[fragment.value]
            return ReferenceHead(genesis: branch.genesis[fragment.value], of: shape)
        }
        let records = finals[fragment.value]
        return round <= UInt64(records.count) ? records[Int(round) - 1].reference : nil
    }

    func head(_ fragment: FragmentIndex, _ round: UInt64) -> Digest? {
        if round == 0 { return branch.genesis[fragment.value].digest }
        let records = finals[fragment.value]
        return round <= UInt64(records.count) ? records[Int(round) - 1].head : nil
    }

    // MARK: Life and training

    func started(_ node: SimulatedNode, from progress: TrainingProgress) throws(InvariantViolation) {
        let number = node.number.value
        lineages[number].removeSubrange(min(Int(progress.steps), lineages[number].count)...)
        // A local snapshot is taken right after a step, before what happens at its boundary: later overwrites are undone.
        for fragment in finals.indices { overwrittenAt[number][fragment].removeAll { $0 >= Int(progress.steps) } }
        var counts = Array(repeating: UInt64(0), count: finals.count)
        for record in node.disk.journal {
            switch record {
            case .final(let fragment, _, _): counts[fragment.value] += 1
            case .slot(_, _, let bytes):
                // What a crash left of unsynced writes is durable without anybody having been told.
                if let message = ObservedMessage(bytes) { try slotIsDurable(message, node) }
            case .peer, .admission, .record: break
            }
        }
        for (fragment, count) in counts.enumerated() where count < ledgersDurable[number][fragment] {
            throw InvariantViolation(
                .ledgerIsWhole, node.number,
                "fragment \(fragment): \(count) finals on disk after \(ledgersDurable[number][fragment])")
        }
        ledgersDurable[number] = counts
        ledgersAsked[number] = counts
        guard let status = node.running?.core.status else { return }
        for (fragment, standing) in status.fragments.enumerated() {
            guard standing.ledgerRound.value >= counts[fragment], standing.headRound.value <= standing.ledgerRound.value
            else {
                throw InvariantViolation(
                    .ledgerIsWhole, node.number,
                    "fragment \(fragment): starts with round \(standing.ledgerRound.value) of \(counts[fragment]) on disk"
                )
            }
            headRounds[number][fragment] = standing.headRound.value
        }
        hasNews = true
    }

    func crashed(_ node: SimulatedNode) { counters.crashes += 1 }

    func trained(_ node: SimulatedNode, _ progress: TrainingProgress) {
        let number = node.number.value
        physicalSteps[number] += 1
        lineages[number].append(physicalSteps[number])
        trainedTokens += progress.tokens / progress.steps
    }

    func snapshotTaken(_ fragment: FragmentIndex, _ round: RoundIndex, _ node: SimulatedNode) {
        let number = node.number.value
        copies[CopyKey(node: node.number, fragment: fragment, round: round)] = CopyRecord(
            node: node.number, round: round, lineage: lineages[number],
            stepsBeforeOverwrite: overwrittenAt[number][fragment.value].last ?? 0)
    }

    func counted(_ node: NodeNumber) { contributionCounts[node.value] += 1 }
}
