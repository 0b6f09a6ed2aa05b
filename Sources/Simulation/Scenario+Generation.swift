import Compression
import OuterSync
import PeerNet

extension Scenario {
    /// Draws a scenario from a seed: size, rates, network, churn and faults.
    ///
    /// Every tenth seed has more than thirty nodes. Every third seed ends by its token budget, with the closing rounds;
    /// the others run until every fragment has advanced again after the faults.
    package init(seed: UInt64) {
        var generator = SeededGenerator(seed: seed, stream: 1)
        let nodeCount: Int
        // A round costs every node work for every member: the bigger the swarm, the fewer rounds.
        let faultSeconds: Int
        switch seed % 10 {
        case 0: (nodeCount, faultSeconds) = (generator.draw(30...34), generator.draw(60...80))
        case 5: (nodeCount, faultSeconds) = (generator.draw(16...20), generator.draw(80...110))
        default: (nodeCount, faultSeconds) = (generator.draw(4...12), generator.draw(90...150))
        }
        let faultsEnd = Duration.seconds(faultSeconds)
        let fragmentCount = nodeCount >= 16 ? 3 : generator.draw(3...4)
        var model = ModelDescription(
            fragmentParameterCounts: (0..<fragmentCount).map { _ in generator.draw(300...1100) },
            innerStepsPerRound: generator.draw(nodeCount >= 16 ? 20...30 : 14...26),
            overlapSteps: generator.draw(1...4),
            tokensPerStep: 512, tokenBudget: 0)
        model.encoding = Self.encodings[Int(seed % UInt64(Self.encodings.count))]
        // Never, always, or only while few members are here: then rounds of both kinds follow each other.
        model.gatherMembersMax = [0, 18, 5][Int(seed / 4 % 3)]
        model.syncMode = [.windowed, .fullOverlap, .windowed, .eager, .fullOverlap, .windowed, .eager][Int(seed % 7)]
        if model.syncMode.isLate {
            model.overlapSteps = 0
            model.encoding.residualStaysLive = false
        }
        self.init(
            seed: seed, nodes: Self.nodes(count: nodeCount, faultsEnd: faultsEnd, using: &generator), model: model,
            faults: [], faultsEnd: faultsEnd, roundsAfterFaults: 2, recoveryTimeMax: .seconds(600))
        // Half of the small windowed swarms with error feedback have a ladder of codecs, and links of all kinds.
        if nodeCount < 16, model.encoding.feedback > 0, !model.syncMode.isLate, seed % 8 < 4 { negotiate() }
        // And every third swarm, whatever its codecs, has owners with error feedback.
        if seed % 3 == 1 { self.model.encoding.ownerFeedback = seed % 2 == 0 ? 1 : 0.9 }
        let stepsPerSecond = nodes.map { 1 / $0.stepDuration.inSeconds }.reduce(0, +)
        let activeSeconds = faultsEnd.inSeconds * (seed % 3 == 0 ? generator.draw(0.4...1.0) : 1000)
        self.model.tokenBudget = UInt64(stepsPerSecond * activeSeconds) * model.tokensPerStep
        faults = Self.faults(nodes: nodes, faultsEnd: faultsEnd, using: &generator)
    }

    /// Gives the scenario a ladder, tiles that are large enough for it, and links of which some are too slow for the
    /// charter's own codecs. Drawn apart, so that nothing else of the seed's scenario changes.
    package mutating func negotiate() {
        var generator = SeededGenerator(seed: seed, stream: 5)
        let coarser: [Codec] = [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)]
        let size = PayloadEncoding.fullTileByteCount(model.encoding.contribution)
        model.encoding.ladder = coarser.filter { PayloadEncoding.fullTileByteCount($0) < size }
        model.encoding.ownerFeedback = model.encoding.feedback
        model.tensorParameters = 1_100...2_500
        for index in model.fragmentParameterCounts.indices {
            model.fragmentParameterCounts[index] = generator.draw(4_000...9_000)
        }
        for index in nodes.indices {
            let isSlow = generator.chance(0.3)
            nodes[index].access.uplinkBytesPerSecond = isSlow ? generator.draw(4e3...1.2e4) : generator.draw(2e4...5e5)
            nodes[index].access.downlinkBytesPerSecond =
                isSlow ? generator.draw(4e3...1.2e4) : generator.draw(2e4...5e5)
        }
    }

    /// How payloads are encoded, by turns.
    private static let encodings = [
        PayloadEncoding(.e3m0), PayloadEncoding(contribution: .e3m0, result: .e3m0, feedback: 0.9),
        PayloadEncoding(contribution: .topK(kept: 256), result: .e3m0, feedback: 0.95),
        PayloadEncoding(contribution: .statistical(bits: 2), result: .uniform(bits: 4), feedback: 1),
        PayloadEncoding(
            contribution: .topK(kept: 64), result: .uniform(bits: 4), feedback: 1, residualStaysLive: true),
    ]

    private static func nodes(
        count: Int, faultsEnd: Duration, using generator: inout SeededGenerator
    ) -> [NodeDescription] {
        let loss = generator.chance(0.5) ? generator.draw(0.0...0.05) : 0
        let lateCount = max(1, count / 6)
        return (0..<count).map { number in
            let access = NetworkAccess(
                delay: generator.draw(.milliseconds(1)...(.milliseconds(80))),
                jitter: generator.draw(.zero...(.milliseconds(30))),
                uplinkBytesPerSecond: generator.draw(5e3...5e5), lossProbability: loss)
            let startsAt: Duration =
                number == 0
                ? .zero
                : number >= count - lateCount
                    ? generator.draw(.seconds(35)...faultsEnd) : generator.draw(.zero...(.seconds(10)))
            return NodeDescription(
                access: access, stepDuration: generator.draw(.milliseconds(250)...(.milliseconds(900))),
                syncLatencyMax: generator.draw(.milliseconds(1)...(.milliseconds(60))),
                jobBytesPerSecond: generator.draw(2e5...2e7), startsAt: startsAt,
                stepsPerLocalSnapshot: UInt64(generator.draw(3...15)))
        }
    }

    private static func faults(
        nodes: [NodeDescription], faultsEnd: Duration, using generator: inout SeededGenerator
    ) -> [TimedFault] {
        var drawing = FaultDrawing(nodeCount: nodes.count, faultsEnd: faultsEnd, generator: generator)
        if drawing.generator.chance(0.8) { drawing.crashes() }
        if drawing.generator.chance(0.8) { drawing.crashesWhileSending() }
        if drawing.generator.chance(0.6) { drawing.partitions() }
        if drawing.generator.chance(0.5) { drawing.resets() }
        if drawing.generator.chance(0.3) { drawing.fullDisks() }
        if drawing.generator.chance(0.3) { drawing.slowNodes() }
        if drawing.generator.chance(0.5) { drawing.deaths() }
        generator = drawing.generator
        return drawing.faults.sorted { $0.at < $1.at }
    }
}

/// Draws faults of each kind between the first rounds and the end of faults.
private struct FaultDrawing {
    let nodeCount: Int
    let faultsEnd: Duration
    var generator: SeededGenerator
    var faults: [TimedFault] = []

    /// A moment with at least `margin` left before the faults end.
    mutating func moment(margin: Duration = .zero) -> Duration {
        generator.draw(.seconds(5)...(faultsEnd - margin))
    }

    mutating func anyNode() -> NodeNumber { NodeNumber(generator.draw(0...(nodeCount - 1))) }

    mutating func add(_ fault: Fault, at moment: Duration) { faults.append(TimedFault(at: moment, fault: fault)) }

    /// Crashes of a third of the nodes' number, the founder as likely as any; each restarts.
    mutating func crashes() {
        for _ in 0..<generator.draw(1...(1 + nodeCount / 3)) {
            let node = anyNode(), at = moment()
            add(.crash(node), at: at)
            add(.restart(node), at: min(faultsEnd, at + generator.draw(.milliseconds(50)...(.seconds(40)))))
        }
    }

    /// Crashes at the worst moments of a round.
    mutating func crashesWhileSending() {
        for _ in 0..<generator.draw(2...8) {
            let kind = MessageKind.allCases[generator.draw(0...(MessageKind.allCases.count - 1))]
            let downtime: Duration = generator.draw(.milliseconds(50)...(.seconds(30)))
            add(.crashWhileSending(kind, downtime: downtime), at: moment(margin: .seconds(30)))
        }
    }

    /// Partitions of the nodes into two sides, both ways or one way, or of one node from all.
    mutating func partitions() {
        for _ in 0..<generator.draw(1...3) {
            let share = generator.chance(0.3) ? 1 / Double(nodeCount) : generator.draw(0.2...0.5)
            let inside = (0..<nodeCount).map { _ in generator.chance(share) }
            let isOneWay = generator.chance(0.3)
            var paths: [Path] = []
            for from in 0..<nodeCount {
                for to in 0..<nodeCount where inside[from] && !inside[to] {
                    let path = Path(from: NodeNumber(from), to: NodeNumber(to))
                    paths += isOneWay ? [path] : [path, path.reversed]
                }
            }
            let at = moment(margin: .seconds(10))
            add(.cut(paths), at: at)
            add(.heal, at: min(faultsEnd, at + generator.draw(.seconds(1)...(.seconds(45)))))
        }
    }

    mutating func resets() {
        for _ in 0..<generator.draw(1...(2 * nodeCount)) {
            let path = Path(from: anyNode(), to: anyNode())
            if path.from != path.to { add(.reset(path), at: moment()) }
        }
    }

    mutating func fullDisks() {
        let node = anyNode(), at = moment()
        add(.fillDisk(node), at: at)
        add(.freeDisk(node), at: min(faultsEnd, at + generator.draw(.seconds(1)...(.seconds(40)))))
    }

    mutating func slowNodes() {
        let node = anyNode(), at = moment()
        add(.slowSteps(node, factor: generator.draw(2...10)), at: at)
        add(.slowSteps(node, factor: 1), at: min(faultsEnd, at + generator.draw(.seconds(5)...(.seconds(60)))))
    }

    /// Up to a quarter of the nodes, the founder first in half of the cases, die and never come back. Not before the
    /// first rounds are through: until then the founder is the only voter.
    mutating func deaths() {
        let first = generator.chance(0.5) ? [NodeNumber(0)] : []
        let count = generator.draw(1...max(1, nodeCount / 4))
        let victims = first + (0..<count).map { _ in anyNode() }
        for victim in Set(victims.prefix(count)).sorted() {
            let at = generator.draw(faultsEnd * 3 / 4...faultsEnd)
            add(.die(victim), at: at)
        }
    }
}
