import OuterSync
import Testing

@Suite struct TrafficPlanTests {
    private static func plan(members: Int = 4, overlap: Int = 2) -> TrafficPlan {
        TrafficPlan(
            fragments: [.init(contribution: 1000, result: 1000), .init(contribution: 3000, result: 1000)],
            members: members, innerSteps: 100, overlapSteps: overlap, stepSeconds: 0.1, tokensPerStep: 512,
            tokenBudget: 4 * 100 * 512 * 7, controlBytesPerRound: 50)
    }

    @Test func bytesAreTheFormulas() {
        let plan = Self.plan()
        #expect(plan.bytesPerCycle == 0.75 * 6000 + 100)
        #expect(plan.cycleCount == 7 && plan.totalBytes == 7 * 4600)
        #expect(plan.dataParallelBytes(parameterCount: 1000) == 4_200_000)
        #expect(Self.plan(members: 1).bytesPerCycle == 0)
        #expect(Self.plan(members: 1).leastRate(forUtilization: 0.99) == 0)
    }

    @Test func aGatheredContributionGoesToEverybodyElse() {
        var plan = Self.plan()
        plan.gathers = true
        #expect(plan.bytesPerCycle == 3 * 4000 + 100)
    }

    @Test func theLeastRateIsWhereUtilizationReachesItsTarget() {
        for overlap in [0, 2, 10] {
            let plan = Self.plan(overlap: overlap)
            var last = 0.0
            for target in [0.5, 0.9, 0.99] {
                let rate = plan.leastRate(forUtilization: target)
                #expect(plan.utilization(bytesPerSecond: rate) >= target)
                #expect(plan.utilization(bytesPerSecond: rate * 0.999) < target)
                #expect(rate > last)
                last = rate
            }
        }
        // Everything is hidden at 10 steps of 0.1 s from the rate on that carries the larger fragment in a second.
        #expect(Self.plan(overlap: 10).utilization(bytesPerSecond: 3050) == 1)
        #expect(Self.plan(overlap: 10).utilization(bytesPerSecond: 3000) < 1)
        // A round trip longer than the overlap costs time at any rate.
        #expect(Self.plan(overlap: 0).utilization(bytesPerSecond: 1e15, roundTrip: 0.5) < 0.92)
    }
}
