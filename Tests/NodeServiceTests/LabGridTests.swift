import Compression
import Lab
import OuterSync
import Testing

@testable import NodeService

@Suite struct LabGridTests {
    private static func parse(_ text: String) throws -> LabGridFile { try LabGridFile.parse(text, name: "grid") }

    private static let head = "data: c=/usr/include/*.h\n"

    @Test func listsStandForOneRunEachAndDefaultsFillIn() throws {
        let grid = try Self.parse(
            Self.head + """
                seeds: [4, 5]
                baseline: dp
                defaults: {steps: 90, inner_steps: 15, workers: 2}
                runs:
                  - {name: dp, method: data-parallel}
                  - {name: s, method: streaming, tau: [1, 5], outer_rate: [0.5, 0.7], workers: 4}
                """)
        #expect(grid.seeds == [4, 5] && grid.baseline == "dp")
        #expect(
            grid.configurations.map(\.name) == [
                "dp", "s outer_rate=0.5 tau=1", "s outer_rate=0.5 tau=5", "s outer_rate=0.7 tau=1",
                "s outer_rate=0.7 tau=5",
            ])
        let last = try #require(grid.configurations.last)
        guard case .rounds(let rounds) = last.method else { throw UnexpectedMethod() }
        #expect(last.workers == 4 && last.steps == 90 && rounds.innerSteps == 15)
        #expect(rounds.overlap == .steps(5, alpha: 0.25) && rounds.rule.learningRate == 0.7)
        #expect(rounds.codec == .e3m0 && rounds.fragments == .stridedThrees)
        #expect(grid.configurations[0].workers == 2 && grid.configurations[0].method == .dataParallel)
    }

    private struct UnexpectedMethod: Error {}

    @Test(arguments: [
        ("runs: [{name: a}]", "'data'"), ("data: x\nruns: []", "'runs'"),
        ("data: x\nruns: [{name: a, inner_step: 3}]", "'inner_step'"),
        ("data: x\nruns: [{name: a}, {name: a}]", "two runs"),
        ("data: x\nruns: [{name: a, method: fedavg}]", "'method'"),
        ("data: x\nbaseline: b\nruns: [{name: a}]", "baseline 'b'"),
        ("data: x\nruns: [{name: a, workers: 3, global_batch: 16}]", "multiple"),
        ("data: x\nruns: [{name: a, workers: 2, speeds: '1 2 3'}]", "'speeds'"),
        ("data: x\nruns: [{name: a, codec: mp3}]", "'codec'"),
        ("data: x\nruns: [{name: a, method: streaming, tau: 30}]", "'tau'"),
        ("data: x\nruns: [{name: a, codec: 'topk:63'}]", "'codec'"),
        ("data: x\nseeds: [1, 1]\nruns: [{name: a}]", "'seeds'"),
        ("data: x\nruns: [{name: a, model: tiny}]", "bytes"),
    ])
    func mistakesAreNamed(text: String, named: String) {
        do {
            _ = try Self.parse(text)
            Issue.record("\(text) was accepted")
        } catch { #expect("\(error)".contains(named), "\(error)") }
    }
}
