import Testing

@testable import Experts

/// CMA-ES finds what it is told to look for.
@Suite struct EvolutionStrategyTests {
    /// Searches for a few hundred generations and gives the last mean.
    private func search(
        from start: [Double], seed: UInt64, generations: Int = 150, cost: ([Double]) -> Double
    ) -> [Double] {
        var strategy = EvolutionStrategy(start: start, seed: seed)
        for _ in 0..<generations {
            let points = strategy.ask()
            strategy.tell(points, costs: points.map(cost))
        }
        return strategy.mean
    }

    @Test(arguments: 0..<5) func `A narrow, turned valley`(seed: UInt64) {
        let target = [0.3, 0.7, 0.55, 0.4]
        let found = search(from: [0.9, 0.1, 0.5, 0.5], seed: seed) { point in
            let x = zip(point, target).map { $0 - $1 }
            // A thousand times steeper across than along.
            return (x[0] + x[1]) * (x[0] + x[1]) + 1e-3 * (x[0] - x[1]) * (x[0] - x[1])
                + 0.1 * (x[2] - 2 * x[3]) * (x[2] - 2 * x[3]) + 1e-2 * x[3] * x[3]
        }
        #expect(zip(found, target).allSatisfy { abs($0 - $1) < 1e-3 }, "\(found)")
    }

    @Test func `Points stay in the box, and the border can be the best`() {
        var strategy = EvolutionStrategy(start: [0.5, 0.5], seed: 1)
        for _ in 0..<60 {
            let points = strategy.ask()
            #expect(points.joined().allSatisfy { (0...1).contains($0) })
            strategy.tell(points, costs: points.map { $0[0] - $0[1] })
        }
        #expect(strategy.mean[0] < 0.01 && strategy.mean[1] > 0.99)
    }

    @Test func `One number, infinite costs, and the same path for the same seed`() {
        func cost(_ point: [Double]) -> Double { point[0] > 0.8 ? .infinity : (point[0] - 0.75) * (point[0] - 0.75) }
        let found = search(from: [0], seed: 3, generations: 60, cost: cost)
        #expect(abs(found[0] - 0.75) < 1e-3)
        #expect(found == search(from: [0], seed: 3, generations: 60, cost: cost))
        #expect(found != search(from: [0], seed: 4, generations: 60, cost: cost))
    }
}
