import Compression
import OuterSync
import PeerNet
import Simulation
import Testing

/// A swarm whose links differ a hundredfold, on a quiet network.
@Suite struct NegotiationTests {
    /// Four nodes of the same speed with these rates both ways, in bytes per second. A contribution in the charter's codec
    /// has 31,000 bytes, a slot 4 s; messages are small beside that, as with real models.
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
            fragmentParameterCounts: [60_000, 60_000, 60_000], innerStepsPerRound: 24, overlapSteps: 2,
            tokensPerStep: 512, tokenBudget: .max >> 16)
        model.encoding = PayloadEncoding(
            contribution: .e3m0, result: .e3m0, feedback: 1, ladder: ladder, ownerFeedback: 1)
        model.tensorParameters = 6_000...12_000
        return Scenario(
            seed: 77, nodes: nodes, model: model, faults: [], faultsEnd: .seconds(100), roundsAfterFaults: 3,
            recoveryTimeMax: .seconds(90))
    }

    private static let ladder: [Codec] = [.statistical(bits: 2), .topK(kept: 256), .topK(kept: 64)]

    private static func run(_ rates: [Double], ladder: [Codec]) throws -> SimulationReport {
        try Simulator(scenario(rates: rates, ladder: ladder)).run()
    }

    #if !DEBUG  // Unoptimised code takes ten times as long.
        @Test func slowMembersTakePartAndNobodyWaits() throws {
            let mixed = try Self.run([4e4, 4e3, 1e5, 4e5], ladder: Self.ladder)
            let fast = try Self.run([4e5, 4e5, 4e5, 4e5], ladder: Self.ladder)
            print("mixed \(mixed)\nfast \(fast)")
            #expect(mixed.counters.coarseContributions > 0)
            #expect(mixed.counters.coarseResults > 0)
            // Owners go on from what their last results left over, and nobody loses it without a crash.
            #expect(mixed.counters.feedbackStates > 0 && mixed.counters.feedbackLost == 0)
            #expect(fast.counters.coarseResults == 0)
            func rounds(_ report: SimulationReport) -> Double { Double(report.rounds.reduce(0, +)) / report.seconds }
            #expect(rounds(mixed) >= rounds(fast) / 1.2)
            // Nobody is left out for long.
            #expect(mixed.counters.leftOut * 5 < mixed.counters.contributions)
        }

        /// Heads in the charter's codecs are more than the slowest link carries: its node falls behind for good.
        @Test func withoutNegotiationTheSlowestIsLost() {
            #expect(throws: SimulationFailure.self) { try Self.run([4e4, 4e3, 1e5, 4e5], ladder: []) }
        }
    #endif
}
