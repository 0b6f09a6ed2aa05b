import Checkpoint
import Compression
import Corpus
import Glibc
package import JSONText
import Lab
import LanguageModel
import Numerics
import PeerNet
import Tokenizing

/// `atoll lab`: a grid of learning experiments, in as many threads as there are cores, resumed where it was left.
package struct LocalLab: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The grid's YAML file.
        package var grid: String
        /// Where results, table and plots go.
        package var output: String
        /// Runs at once; nil: one per core.
        package var jobs: Int?
        /// Whether only the estimate is wanted.
        package var estimatesOnly: Bool

        /// Wraps the fields.
        package init(grid: String, output: String, jobs: Int?, estimatesOnly: Bool) {
            self.grid = grid
            self.output = output
            self.jobs = jobs
            self.estimatesOnly = estimatesOnly
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        var table: String
        var output: String
        var results: [LabResult]
        var estimatedHours: Double

        package var text: String {
            results.isEmpty
                ? "some \(fixed(estimatedHours, 2)) hours"
                : "\(table)\nleft in \(output): results.jsonl, table.md, loss-tokens.svg, loss-bytes.svg"
        }
        package var json: JSONValue {
            ["estimated_hours": .number(estimatedHours), "results": .array(results.map(\.json))]
        }
    }

    /// One run of the grid.
    private struct Run: Sendable {
        var settings: LabSettings
        var seed: UInt64
        var key: String
        var seconds: Double
    }

    private let request: Request
    private let say: @Sendable (String) -> Void

    /// - Parameter progress: takes lines for people.
    package init(_ request: Request, progress: @escaping @Sendable (String) -> Void) {
        self.request = request
        say = progress
    }

    /// Runs what is not finished yet; Ctrl-C keeps all finished runs.
    package func run() async throws(UserError) -> Report {
        let grid = try readGrid()
        let jobs = max(1, request.jobs ?? WorkerPool.processorCount)
        let corpora = try load(grid)
        let runs = try plan(grid, corpora)
        let known = finished(runs)
        let open = runs.filter { run in !known.contains { $0.key == run.key && $0.seed == run.seed } }
        let hours = open.reduce(0) { $0 + $1.seconds } / Double(jobs) / 3600
        say(
            "\(runs.count) runs, \(runs.count - open.count) of them finished; some \(fixed(hours, 2)) hours on \(jobs) threads"
        )
        if request.estimatesOnly {
            return Report(table: "", output: request.output, results: [], estimatedHours: hours)
        }
        let journal = try Journal(results: known, path: request.output + "/results.jsonl")
        try await execute(open, corpora, jobs: jobs, journal)
        let results = await journal.results
        let table = LabTable(
            results, names: grid.configurations.map(\.name), baseline: grid.baseline,
            dataParallelBytes: Self.dataParallelBytes(grid.configurations))
        try write(table)
        return Report(table: table.markdown, output: request.output, results: results, estimatedHours: hours)
    }

    private func readGrid() throws(UserError) -> LabGridFile {
        do {
            let bytes = try DurableFile.read(request.grid, byteCountMax: 1 << 20)
            return try LabGridFile.parse(YAMLMapping.text(bytes, name: request.grid), name: request.grid)
        } catch let problem as YAMLProblem {
            throw UserError("\(problem)", cure: "Correct the grid", exitCode: .badData)
        } catch { throw UserError(wrapping: error) }
    }

    /// All runs of a grid, one seed of every configuration after the other, so that an unfinished grid can be read too.
    private func plan(_ grid: LabGridFile, _ corpora: [Int: Corpus]) throws(UserError) -> [Run] {
        var seconds: [Double] = []
        let clock = ContinuousClock()
        let start = clock.now
        do {
            for settings in grid.configurations {
                seconds.append(
                    try LabSpeed.secondsPerStep(settings, now: { (clock.now - start).inSeconds })
                        * Double(LabSpeed.stepCount(settings)))
            }
        } catch { throw UserError(wrapping: error) }
        return grid.seeds.flatMap { seed in
            zip(grid.configurations, seconds).map { settings, seconds in
                Run(
                    settings: settings, seed: seed,
                    key: Self.key(settings, corpora[settings.windowTokens]), seconds: seconds)
            }
        }
    }

    /// What decides a run but its seed. The text counts too: a package installed meanwhile can change it under the same glob.
    private static func key(_ settings: LabSettings, _ corpus: Corpus?) -> String {
        let text = corpus?.domains.map { "\($0.name) \($0.fileCount) \($0.byteCount) \($0.trainingTokenCount)" } ?? []
        return Digest(hashing: settings.json.line + Array("\(text)".utf8)).short
    }

    /// Finished runs of this grid; lines of other grids and torn ones do not count.
    private func finished(_ runs: [Run]) -> [LabResult] {
        let path = request.output + "/results.jsonl"
        guard let bytes = try? DurableFile.read(path, byteCountMax: 1 << 30) else { return [] }
        return bytes.split(separator: 0x0A).compactMap { LabResult(line: Array($0)) }.filter { result in
            runs.contains { $0.key == result.key && $0.seed == result.seed }
        }
    }

    /// The text, cut once for every length of window.
    private func load(_ grid: LabGridFile) throws(UserError) -> [Int: Corpus] {
        let sources = try DataSelection.parse(grid.data)
        var corpora: [Int: Corpus] = [:]
        do {
            for length in Set(grid.configurations.map(\.windowTokens)) {
                corpora[length] = try Corpus(sources, tokenizer: .bytes, contextLength: length)
            }
        } catch { throw UserError(wrapping: error) }
        return corpora
    }

    private func execute(
        _ runs: [Run], _ corpora: [Int: Corpus], jobs: Int, _ journal: Journal
    ) async throws(UserError) {
        let total = runs.count
        do {
            try await withThrowingTaskGroup(of: LabResult.self) { group in
                var waiting = runs[...]
                func startNext() {
                    guard let run = waiting.popFirst(), let corpus = corpora[run.settings.windowTokens] else { return }
                    group.addTask { try Self.perform(run, corpus) }
                }
                for _ in 0..<jobs { startNext() }
                var done = 0
                while let result = try await group.next() {
                    done += 1
                    try await journal.add(result)
                    say(
                        "\(done) of \(total): \(result.name), seed \(result.seed): loss \(fixed(result.finalLoss, 4)), "
                            + "\(fixed(result.finalBytes / 1e6, 3)) MB per worker, \(fixed(result.seconds, 0)) s")
                    startNext()
                }
            }
        } catch { throw UserError(wrapping: error) }
    }

    private static func perform(_ run: Run, _ corpus: Corpus) throws -> LabResult {
        let clock = ContinuousClock()
        let start = clock.now
        do {
            let points = try LabRun(run.settings, seed: run.seed, corpus: corpus).run { _ in
                if Interruption.isRequested {
                    throw UserError(
                        "stopped", cure: "The same command goes on with the next unfinished run",
                        exitCode: .interrupted)
                }
            }
            return LabResult(
                name: run.settings.name, key: run.key, seed: run.seed, points: points,
                seconds: (clock.now - start).inSeconds)
        } catch let error as LabError {
            throw UserError(
                "\(run.settings.name), seed \(run.seed): \(error)", cure: "Lower its rates", exitCode: .badData)
        }
    }

    private func write(_ table: LabTable) throws(UserError) {
        do {
            try DurableFile.write(Array(table.markdown.utf8), to: request.output + "/table.md")
            for (axis, name) in [(LabPlot.Axis.tokens, "loss-tokens"), (.bytes, "loss-bytes")] {
                try DurableFile.write(
                    Array(LabPlot(table, axis: axis).svg.utf8), to: "\(request.output)/\(name).svg")
            }
        } catch { throw UserError(wrapping: error) }
    }

    /// What a worker would upload with float32 all-reduce at every step, for the grid's first configuration of several workers.
    private static func dataParallelBytes(_ configurations: [LabSettings]) -> Double {
        guard let settings = configurations.first(where: { $0.workers > 1 }) else { return 0 }
        let workers = Double(settings.workers)
        return 2 * (workers - 1) / workers * 4 * Double(settings.model.parameterCount) * Double(settings.steps)
    }

    /// The finished runs, on disk after every one.
    private actor Journal {
        private(set) var results: [LabResult]
        private let path: String

        init(results: [LabResult], path: String) throws(UserError) {
            self.results = results
            self.path = path
            let folder = String(path.dropLast("/results.jsonl".count))
            guard mkdir(folder, 0o755) == 0 || errno == EEXIST else {
                throw .system("create \(folder)", errno: errno, otherwise: .cannotCreate)
            }
        }

        func add(_ result: LabResult) throws {
            results.append(result)
            try DurableFile.write(results.flatMap { $0.json.line + [0x0A] }, to: path)
        }
    }
}
