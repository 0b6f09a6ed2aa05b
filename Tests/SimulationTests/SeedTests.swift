import Foundation
import Simulation
import Testing

/// Whole swarms in virtual time, one seed each. `SEED=n swift test --filter SeedTests` replays one of them.
@Suite struct SeedTests {
    /// The seeds of this run: the one asked for, or the fifty.
    static let seeds: [UInt64] =
        ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) }.map { [$0] } ?? Array(1...50)

    @Test(arguments: seeds) func `Every invariant holds after every event, and the swarm recovers`(seed: UInt64) throws
    {
        print("seed \(seed)")
        let simulator = try Simulator(Scenario(seed: seed))
        let report = try simulator.run()
        print("\(report)")
    }

    @Test func `A seed replays exactly`() throws {
        for seed in Self.seeds.prefix(2) {
            print("seed \(seed), twice")
            let first = try Simulator(Scenario(seed: seed)).run()
            let second = try Simulator(Scenario(seed: seed)).run()
            #expect(first == second)
        }
    }
}
