import Corpus
import JSONText
import LanguageModel
import Testing
import Tokenizing

@testable import Lab

@Suite struct BranchRunTests {
    /// A model that learns in a blink.
    private static func settings() -> BranchSettings {
        var settings = BranchSettings()
        settings.model = ModelConfiguration(
            vocabularySize: 256, width: 16, layerCount: 2, headCount: 2, feedForwardWidth: 32, contextLength: 16)
        settings.windowTokens = 16
        settings.globalBatch = 4
        settings.steps = 20
        settings.seedFractions = [0, 0.5]
        settings.randomFractions = [0.5]
        settings.heldOutWindows = 4
        return settings
    }

    /// Two domains of this package's own text.
    private static func corpora() throws -> [Corpus] {
        let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        return try [("tests", "/\(folder)/*.swift"), ("sources", "/\(folder)/../../Sources/CVector/**")].map {
            try Corpus(
                [DomainSource(name: $0.0, patterns: [$0.1])], tokenizer: .bytes, contextLength: 16)
        }
    }

    private typealias Outcome = [BranchSettings.Part: [BranchResult.Method: [Double]]]

    private static func run(
        _ settings: BranchSettings = settings(), seed: UInt64 = 1, wanted: [BranchSettings.Part]? = nil
    ) throws -> Outcome {
        var outcome: Outcome = [:]
        try BranchRun(settings, seed: seed, corpora: corpora()).run(
            Set(wanted ?? settings.parts), progress: {}, emit: { outcome[$0] = $1 })
        return outcome
    }

    @Test func everyPartIsScoredAndRepeatable() throws {
        let outcome = try Self.run()
        #expect(Set(outcome.keys) == Set(Self.settings().parts) && outcome.count == 4)
        for (part, losses) in outcome {
            #expect(
                Set(losses.keys)
                    == (part.fraction == 1 ? [.dense] : Set(BranchResult.Method.allCases).subtracting([.dense])))
            #expect(losses.values.allSatisfy { $0.count == 2 && $0.allSatisfy { $0 > 0 && $0 < 7 } })
        }
        #expect(try Self.run() == outcome)
        #expect(try Self.run(seed: 2) != outcome)
        // What was finished before is left out without changing the rest.
        let last = BranchSettings.Part(fraction: 0.5, split: .random)
        #expect(try Self.run(wanted: [last]) == [last: #require(outcome[last])])
    }

    /// Where experts have no step of their own left, all ways to use them are the dense model.
    @Test func expertsThatNeverLeftTheSeedModelAreTheDenseModel() throws {
        var settings = Self.settings()
        settings.seedFractions = [0.99]
        settings.randomFractions = [0.99]
        let outcome = try Self.run(settings)
        let dense = try #require(outcome[BranchSettings.Part(fraction: 1, split: .domains)]?[.dense])
        for split in [BranchSettings.Split.domains, .random] {
            let losses = try #require(outcome[BranchSettings.Part(fraction: 0.99, split: split)])
            for (method, row) in losses {
                for (loss, expected) in zip(row, dense) { #expect(abs(loss - expected) < 1e-9, "\(method)") }
            }
        }
    }

    @Test func expertsOfDomainsAreBetterOnTheirs() throws {
        var settings = Self.settings()
        settings.steps = 150
        settings.inner.learningRate = 1e-2
        let outcome = try Self.run(settings)
        let domains = try #require(outcome[BranchSettings.Part(fraction: 0.5, split: .domains)])
        let random = try #require(outcome[BranchSettings.Part(fraction: 0.5, split: .random)])
        func mean(_ row: [Double]?) -> Double { row.map { $0.reduce(0, +) / Double($0.count) } ?? .nan }
        #expect(mean(domains[.expert]) < mean(random[.expert]))
        #expect(mean(domains[.ensemble]) < mean(domains[.uniformAverage]) + 0.5)
    }

    @Test func resultsSurviveTheirLine() throws {
        let result = BranchResult(
            key: "k", seed: .max, part: BranchSettings.Part(fraction: 0.25, split: .random), domains: ["a", "b"],
            losses: [.ensemble: [1.5, 2.25], .uniformAverage: [3, 4]], seconds: 1.5)
        #expect(BranchResult(line: result.json.line) == result)
        #expect(BranchResult(line: Array(result.json.line.dropLast())) == nil)
        #expect(BranchResult(line: Array("{}".utf8)) == nil)
        #expect(result.meanLoss(.ensemble) == 1.875 && result.meanLoss(.dense) == nil)
    }

    @Test func tableAndPlotsShowWhatIsThere() throws {
        let settings = Self.settings()
        func result(_ seed: UInt64, _ fraction: Double, _ losses: [BranchResult.Method: [Double]]) -> BranchResult {
            BranchResult(
                key: "", seed: seed, part: BranchSettings.Part(fraction: fraction, split: .domains),
                domains: ["a", "b"], losses: losses, seconds: 1)
        }
        let table = BranchTable(
            [
                result(1, 0, [.ensemble: [1, 2]]), result(2, 0, [.ensemble: [2, 3]]), result(1, 1, [.dense: [0, 1]]),
                result(2, 1, [.dense: [0, 1]]),
            ], settings: settings)
        #expect(table.markdown.contains("| 0 % | domains | 2 | – | 2.0000 ± 0.7071 |"))
        #expect(table.markdown.contains("| 100 % | – | 2 | 0.5000 ± 0.0000 | – |"))
        #expect(table.markdown.contains("| 100 % | – | dense | 1.000 | 2.718 |"))
        let svg = table.plot(BranchTable.Curve.ensembles).svg
        #expect(svg.contains(">ensemble<") && svg.contains(">dense<") && svg.contains("before experts branch off"))
        #expect(!svg.contains("random split"))
    }

    @Test func workIsTheSumOfItsParts() {
        // 20 steps of the seed model, 20 + 10 of domain experts, 10 of the control.
        #expect(Self.settings().workSteps == 60)
    }
}
