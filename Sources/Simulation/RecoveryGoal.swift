import OuterSync
import PeerNet

/// What the swarm must reach once nothing goes wrong any more.
struct RecoveryGoal {
    /// Whether the token budget is within reach: then everyone must finish, else the rounds must go on.
    let finishes: Bool
    /// Fragments whose voters have no quorum among the nodes that are up: nothing can be asked of them.
    let waived: Set<Int>
    /// Per fragment the round that must be reached.
    private let rounds: [UInt64]
    /// Per node the contributions counted when the faults ended.
    private let contributions: [Int]

    /// Takes stock when the faults end.
    init(scenario: Scenario, world: SimulatedWorld, nodes: [SimulatedNode], checker: InvariantChecker) {
        let up = Set(nodes.filter { !$0.isDead && !$0.isOutside }.map(\.number))
        waived = Set(
            world.layout.fragments.map(\.index)
                .filter { !checker.isQuorum(up, of: checker.voters(of: $0)) }.map(\.value))
        let steps = scenario.nodes.map { 1 / $0.stepDuration.inSeconds }.reduce(0, +)
        let tokens = steps * scenario.faultsEnd.inSeconds * Double(scenario.model.tokensPerStep)
        finishes = Double(scenario.model.tokenBudget) <= tokens
        rounds = checker.finalCounts.map { UInt64($0) + scenario.roundsAfterFaults }
        contributions = checker.contributionCounts
    }

    /// The first thing that is missing; nil when the goal is reached.
    func missing(nodes: [SimulatedNode], checker: InvariantChecker) -> InvariantViolation? {
        if finishes, waived.isEmpty {
            for node in nodes where !node.isDead && !node.isOutside && node.running?.isFinished != true {
                return InvariantViolation(
                    .progress, node.number,
                    "has not finished; rounds \(checker.finalCounts), its own \(checker.headRounds[node.number.value])")
            }
            return nil
        }
        for (fragment, round) in rounds.enumerated() where !waived.contains(fragment) {
            let records = checker.finals[fragment]
            // Where some fragment cannot finish, the others still must, and no more rounds come after.
            let isClosed = records.last?.isClosing == true
            if finishes, !isClosed {
                return InvariantViolation(.progress, nil, "fragment \(fragment) is not closed")
            }
            let round = isClosed ? UInt64(records.count) : round
            guard records.count >= round else {
                return InvariantViolation(
                    .progress, nil, "fragment \(fragment) is at round \(records.count) of \(round)")
            }
            for node in nodes
            where !node.isDead && !node.isOutside && checker.headRounds[node.number.value][fragment] < round {
                return InvariantViolation(
                    .everyoneArrives, node.number,
                    "fragment \(fragment): holds round \(checker.headRounds[node.number.value][fragment]) of \(round)")
            }
        }
        guard !finishes, waived.count < rounds.count else { return nil }
        for node in nodes
        where !node.isDead && !node.isOutside
            && checker.contributionCounts[node.number.value] <= contributions[node.number.value]
        {
            return InvariantViolation(.everyoneArrives, node.number, "has contributed nothing since the faults ended")
        }
        return nil
    }
}
