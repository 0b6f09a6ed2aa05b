import Simulation
import Testing

@Suite struct ScenarioTests {
    @Test func `A seed gives one scenario`() {
        #expect(Scenario(seed: 3).nodes == Scenario(seed: 3).nodes)
        #expect(Scenario(seed: 3).faults == Scenario(seed: 3).faults)
        #expect(Scenario(seed: 3).faults != Scenario(seed: 4).faults)
    }

    @Test func `Faults end in time and whoever crashes without dying starts again`() {
        for seed in UInt64(1)...200 {
            let scenario = Scenario(seed: seed)
            #expect(scenario.faults.allSatisfy { $0.at <= scenario.faultsEnd })
            #expect(zip(scenario.faults, scenario.faults.dropFirst()).allSatisfy { $0.at <= $1.at })
            for crash in scenario.faults {
                guard case .crash(let node) = crash.fault else { continue }
                #expect(scenario.faults.contains { $0.fault == .restart(node) && $0.at >= crash.at })
            }
            let dead = scenario.faults.filter { if case .die = $0.fault { true } else { false } }.count
            #expect(dead <= max(1, scenario.nodes.count / 4))
        }
    }

    @Test func `Fifty seeds hold every kind of fault, a few big swarms and a newcomer each`() {
        let scenarios = (UInt64(1)...50).map { Scenario(seed: $0) }
        func count(_ isKind: (Fault) -> Bool) -> Int {
            scenarios.filter { $0.faults.contains { isKind($0.fault) } }.count
        }
        #expect(count { if case .crash = $0 { true } else { false } } >= 25)
        #expect(count { if case .die = $0 { true } else { false } } >= 10)
        #expect(count { if case .die(NodeNumber(0)) = $0 { true } else { false } } >= 5)
        #expect(count { if case .cut = $0 { true } else { false } } >= 15)
        #expect(count { if case .crashWhileSending = $0 { true } else { false } } >= 25)
        #expect(count { if case .fillDisk = $0 { true } else { false } } >= 5)
        #expect(count { if case .reset = $0 { true } else { false } } >= 10)
        #expect(scenarios.filter { $0.nodes.count >= 30 }.count >= 4)
        for scenario in scenarios { #expect(scenario.nodes.contains { $0.startsAt > .seconds(30) }) }
    }
}
