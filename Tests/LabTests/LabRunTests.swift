import Compression
import Corpus
import JSONText
import LanguageModel
import OuterSync
import Testing
import Tokenizing

@testable import Lab

/// A model that learns in a blink, and a text of one repeated sentence per domain.
private func tinySettings(_ method: LabSettings.Method, workers: Int = 2) -> LabSettings {
    var settings = LabSettings()
    settings.model = ModelConfiguration(
        vocabularySize: 256, width: 16, layerCount: 2, headCount: 2, feedForwardWidth: 32, contextLength: 16)
    settings.windowTokens = 16
    settings.globalBatch = 4
    settings.workers = workers
    settings.steps = 24
    settings.evaluations = 3
    settings.heldOutWindows = 4
    settings.method = method
    return settings
}

private func rounds(_ change: (inout LabSettings.Rounds) -> Void = { _ in }) -> LabSettings.Method {
    var rounds = LabSettings.Rounds()
    rounds.innerSteps = 6
    change(&rounds)
    return .rounds(rounds)
}

@Suite struct LabRunTests {
    private static func corpus() throws -> Corpus {
        let file = #filePath
        let folder = file.split(separator: "/").dropLast().joined(separator: "/")
        return try Corpus(
            [DomainSource(name: "tests", patterns: ["/\(folder)/*.swift"])], tokenizer: .bytes, contextLength: 16)
    }

    private static func run(_ settings: LabSettings, seed: UInt64 = 1) throws -> [LabPoint] {
        try LabRun(settings, seed: seed, corpus: corpus()).run { _ in }
    }

    @Test func everyMethodLearnsAndIsRepeatable() throws {
        let heavyBall = OuterRule(
            learningRate: 0.5, momentum: 0.2, method: .staleHeavyBall(.gap, clip: .rootMeanSquares(5)))
        let methods: [LabSettings.Method] = [
            .dataParallel, .alone, rounds(),
            rounds {
                $0.fragments = .stridedThrees
                $0.overlap = .steps(2, alpha: 0.25)
                $0.codec = .e3m0
                $0.exchange = .scatter(result: .e3m0, ownerFeedback: 1)
                $0.feedback = 1
            },
            rounds {
                $0.overlap = .wholeRound
                $0.rule = heavyBall
            },
            rounds { $0.overlap = .eager },
            rounds {
                $0.exchange = .gather
                $0.rule = OuterRule(learningRate: 1, momentum: 0)
            },
        ]
        for method in methods {
            let points = try Self.run(tinySettings(method))
            #expect(points.count == 3 && points[2].tokens == 24 * 4 * 16)
            #expect(points[2].loss < points[0].loss && points[2].loss < 5.4, "\(method)")
            #expect(try Self.run(tinySettings(method)) == points)
        }
    }

    /// One worker whose outer step is plain is that worker alone: the exchange changes nothing.
    @Test func oneWorkerWithAPlainOuterStepIsPlainTraining() throws {
        var (plain, synced) = (
            tinySettings(.dataParallel, workers: 1),
            tinySettings(rounds { $0.rule = OuterRule(learningRate: 1, momentum: 0) }, workers: 1)
        )
        // A head is as new as its last round: evaluations come at their ends.
        plain.evaluations = 4
        synced.evaluations = 4
        let points = try Self.run(synced)
        for (left, right) in zip(try Self.run(plain), points) { #expect(abs(left.loss - right.loss) < 1e-4) }
        #expect(points[3].bytesPerWorker == 0)
    }

    /// With two workers and raw float32 both exchanges are exact, so they give one curve and differ in bytes alone.
    @Test func gatherAndScatterAverageAlike() throws {
        let scattered = try Self.run(tinySettings(rounds()))
        let gathered = try Self.run(tinySettings(rounds { $0.exchange = .gather }))
        #expect(scattered.map(\.loss) == gathered.map(\.loss))
        let parameters = Double(tinySettings(rounds()).model.parameterCount)
        // Four rounds: everything to the one other worker, or half of it there and half of the mean back.
        #expect(gathered[2].bytesPerWorker > 4 * 3.5 * parameters && gathered[2].bytesPerWorker < 4 * 4.2 * parameters)
        #expect(
            scattered[2].bytesPerWorker > 4 * 3.5 * parameters && scattered[2].bytesPerWorker < 4 * 4.2 * parameters)
    }

    @Test func aFastWorkerTrainsInProportionToItsSpeed() throws {
        var settings = tinySettings(rounds())
        settings.speeds = [1, 3]
        let points = try Self.run(settings)
        #expect(points[2].loss < points[0].loss)
        #expect(points != (try Self.run(tinySettings(rounds()))))
    }
}

@Suite struct LabResultTests {
    private static func result(_ name: String, _ seed: UInt64, _ loss: Double, bytes: Double) -> LabResult {
        LabResult(
            name: name, key: "abc", seed: seed,
            points: [
                LabPoint(tokens: 100, loss: loss + 1, bytesPerWorker: bytes / 2),
                LabPoint(tokens: 200, loss: loss, bytesPerWorker: bytes),
            ], seconds: 1.5)
    }

    @Test func linesReadBackAndTornOnesAreNoResult() throws {
        let result = Self.result("a <b>", .max, 1.25, bytes: 3e9)
        let line = result.json.line
        #expect(LabResult(line: line) == result)
        for count in 0..<line.count { #expect(LabResult(line: Array(line[..<count])) == nil) }
    }

    @Test func theTableComparesBySeedWithTheBaseline() {
        let results = [
            Self.result("base", 1, 2, bytes: 0), Self.result("base", 2, 2.2, bytes: 0),
            Self.result("small", 2, 2.2 * 1.02, bytes: 1e6), Self.result("small", 1, 2 * 1.01, bytes: 1e6),
        ]
        let table = LabTable(results, names: ["base", "none", "small"], baseline: "base", dataParallelBytes: 4e9)
        #expect(table.rows.map(\.name) == ["base", "small"])
        #expect(
            table.markdown.contains("| small | 2.0200, 2.2440 | 2.1320 | 0.1584 | +1.50 ± 0.71 % | 1.000 | 4000x |"))
        #expect(table.markdown.contains("| base | 2.0000, 2.2000 | 2.1000 | 0.1414 | – | 0 | – |"))
    }

    @Test func plotsDrawEveryConfigurationThatHasBytes() {
        let results = [Self.result("base", 1, 2, bytes: 0), Self.result("a <b>", 1, 2.5, bytes: 1e6)]
        let table = LabTable(results, names: ["base", "a <b>"], baseline: nil, dataParallelBytes: 0)
        let tokens = LabPlot(table, axis: .tokens).svg
        let bytes = LabPlot(table, axis: .bytes).svg
        #expect(tokens.contains("base") && tokens.contains("a &lt;b&gt;"))
        #expect(!bytes.contains(">base<") && bytes.contains("a &lt;b&gt;"))
        #expect(!tokens.contains("nan") && !tokens.contains("inf"))
        let empty = LabTable([], names: [], baseline: nil, dataParallelBytes: 0)
        #expect(LabPlot(empty, axis: .bytes).svg.hasPrefix("<svg"))
    }
}
