import Compression
import OuterSync
import PeerNet
import Simulation
import Testing

/// A swarm whose links differ a hundredfold, on a quiet network.
@Suite struct NegotiationTests {
    /// Four nodes of the same speed: 0.2, 1, 5 and 20 Mbit/s both ways, scaled to a model of 36,000 parameters so that a
    /// contribution in the charter's codec takes the slowest link several slots.
    private static func scenario(rates: [Double], ladder: [Codec]) -> Scenario {
        let nodes = rates.map { rate in
            NodeDescription(
                access: NetworkAccess(
                    delay: .milliseconds(10), jitter: .milliseconds(2), uplinkBytesPerSecond: rate, lossProbability: 0,
                    downlinkBytesPerSecond: rate),
                stepDuration: .milliseconds(500), syncLatencyMax: .milliseconds(5), jobBytesPerSecond: 2e7,
                startsAt: .zero, stepsPerLocalSnapshot: 10)
        }
        var model = ModelDescription(
            fragmentParameterCounts: [12_000, 12_000, 12_000], innerStepsPerRound: 18, overlapSteps: 2,
            tokensPerStep: 512, tokenBudget: .max >> 16)
        model.encoding = PayloadEncoding(contribution: .e3m0, result: .e3m0, feedback: 1, ladder: ladder)
        model.tensorParameters = 1_500...3_000
        return Scenario(
            seed: 77, nodes: nodes, model: model, faults: [], faultsEnd: .seconds(300), roundsAfterFaults: 4,
            recoveryTimeMax: .seconds(120))
    }

    private static let ladder: [Codec] = [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)]

    /// The most a fragment's slot of 3 s carries on the slowest link is 900 bytes; the charter's codec needs 6,200.
    private static func run(_ rates: [Double], ladder: [Codec]) throws -> SimulationReport {
        try Simulator(scenario(rates: rates, ladder: ladder)).run()
    }

    @Test func slowMembersTakePartAndNobodyWaits() throws {
        let mixed = try Self.run([1e4, 2e3, 1e5, 1e6], ladder: Self.ladder)
        let fast = try Self.run([1e6, 1e6, 1e6, 1e6], ladder: Self.ladder)
        let off = try Self.run([1e4, 2e3, 1e5, 1e6], ladder: [])
        print("mixed \(mixed)\nfast \(fast)\noff \(off)")
        #expect(mixed.counters.coarseContributions > 0)
        #expect(mixed.counters.coarseResults > 0)
        #expect(off.counters.coarseContributions == 0 && off.counters.coarseResults == 0)
        #expect(fast.counters.coarseResults == 0)
        func rounds(_ report: SimulationReport) -> Double { Double(report.rounds.reduce(0, +)) / report.seconds }
        #expect(rounds(mixed) >= rounds(fast) / 1.1)
        #expect(rounds(off) < rounds(mixed))
        // Nobody is left out for long.
        #expect(mixed.counters.leftOut * 5 < mixed.counters.contributions)
    }
}
