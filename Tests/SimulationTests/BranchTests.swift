import OuterSync
import Simulation
import Testing

/// Two branches in one swarm under faults: each keeps every invariant by itself.
@Suite struct BranchTests {
    /// The seed's own scenario of churn and faults, with every other node in a second branch.
    private static func scenario(_ seed: UInt64) -> Scenario {
        var scenario = Scenario(seed: seed)
        scenario.model.tokenBudget = .max >> 16
        scenario.secondBranch = Set(scenario.nodes.indices.filter { !$0.isMultiple(of: 2) }.map { NodeNumber($0) })
        return scenario
    }

    #if !DEBUG  // Unoptimised code takes ten times as long.
        @Test(arguments: [UInt64(1), 2, 4, 7])
        func `Two branches advance side by side and neither touches the other`(_ seed: UInt64) throws {
            let simulator = try Simulator(Self.scenario(seed))
            _ = try simulator.run()
            #expect(simulator.checkers.count == 2)
            for checker in simulator.checkers { #expect(checker.finalCounts.contains { $0 > 0 }) }
        }
    #endif
}
