import Foundation
import Simulation
import Testing

/// Whole swarms in virtual time, one seed each. `SEED=n swift test --filter SeedTests` replays one of them.
@Suite struct SeedTests {
    #if DEBUG
        /// Unoptimised code takes ten times as long; all fifty run in the release tests of `make test`.
        static let seedCount: UInt64 = 4
    #else
        static let seedCount: UInt64 = 50
    #endif

    /// The seeds of this run: the one asked for, or the first ones.
    static let seeds: [UInt64] =
        ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) }.map { [$0] } ?? Array(1...seedCount)

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
