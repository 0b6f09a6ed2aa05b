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

/// `atoll lab` for a Branch-Train-Merge experiment: one run per seed, resumed where it was left.
package struct LocalBranchLab: Sendable {
    /// What came of it.
    package struct Report: CommandReport {
        var table: String
        var output: String
        var results: [BranchResult]
        var estimatedHours: Double

        package var text: String {
            results.isEmpty
                ? "some \(fixed(estimatedHours, 2)) hours"
                : "\(table)\nleft in \(output): results.jsonl, table.md, ensembles.svg, averages.svg"
        }
        package var json: JSONValue {
            ["estimated_hours": .number(estimatedHours), "results": .array(results.map(\.json))]
        }
    }

    private let request: LocalLab.Request
    private let say: @Sendable (String) -> Void

    /// - Parameter progress: takes lines for people.
    package init(_ request: LocalLab.Request, progress: @escaping @Sendable (String) -> Void) {
        self.request = request
        say = progress
    }

    /// Whether a laboratory file asks for this kind of experiment.
    package static func describes(_ path: String) throws(UserError) -> Bool {
        try reading(path) { text throws(YAMLProblem) in try BranchLabFile.describes(text, name: path) }
    }

    private static func reading<Value>(
        _ path: String, _ read: (String) throws(YAMLProblem) -> Value
    ) throws(UserError) -> Value {
        do {
            let bytes = try DurableFile.read(path, byteCountMax: 1 << 20)
            return try read(YAMLMapping.text(bytes, name: path))
        } catch let problem as YAMLProblem {
            throw UserError("\(problem)", cure: "Correct the file", exitCode: .badData)
        } catch { throw UserError(wrapping: error) }
    }

    /// Runs what is not finished yet; Ctrl-C keeps all finished parts.
    package func run() async throws(UserError) -> Report {
        let path = request.grid
        let file = try Self.reading(path) { text throws(YAMLProblem) in try BranchLabFile.parse(text, name: path) }
        let corpora = try load(file)
        let key = Self.key(file.settings, corpora)
        let parts = file.settings.parts
        let known = finished().filter { result in
            result.key == key && file.seeds.contains(result.seed) && parts.contains(result.part)
        }
        let open = file.seeds.filter { seed in known.count { $0.seed == seed } < parts.count }
        let jobs = max(1, min(request.jobs ?? WorkerPool.processorCount, max(1, open.count)))
        let hours = try secondsPerSeed(file.settings, corpora.count) * Double(open.count) / Double(jobs) / 3600
        say(
            "\(file.seeds.count) seeds of \(parts.count) parts, \(known.count) parts finished; some \(fixed(hours, 2)) hours on "
                + "\(jobs) threads")
        if request.estimatesOnly {
            return Report(table: "", output: request.output, results: [], estimatedHours: hours)
        }
        let journal = try Journal(results: known, folder: request.output)
        try await execute(open, file.settings, corpora, key: key, jobs: jobs, journal)
        let results = journal.results
        let table = BranchTable(results, settings: file.settings)
        try write(table)
        return Report(table: table.markdown, output: request.output, results: results, estimatedHours: hours)
    }

    /// A corpus per domain.
    private func load(_ file: BranchLabFile) throws(UserError) -> [Corpus] {
        let sources = try DataSelection.parseUnweighted(file.data, for: "this experiment", cure: "Write NAME=GLOB")
        guard sources.count >= 2, file.settings.globalBatch % sources.count == 0 else {
            throw UserError(
                "\(request.grid): 'global_batch' must be a multiple of the number of domains, which is \(sources.count)",
                cure: "Correct the file", exitCode: .badData)
        }
        var corpora: [Corpus] = []
        for source in sources {
            do {
                corpora.append(
                    try Corpus([source], tokenizer: .bytes, contextLength: file.settings.windowTokens))
            } catch { throw UserError(corpus: error) }
        }
        return corpora
    }

    /// What decides a run but its seed: settings and text.
    private static func key(_ settings: BranchSettings, _ corpora: [Corpus]) -> String {
        let text = corpora.flatMap(\.domains).map {
            "\($0.name) \($0.fileCount) \($0.byteCount) \($0.trainingTokenCount)"
        }
        return Digest(hashing: settings.json.line + Array("\(text)".utf8)).short
    }

    /// Results in the output folder; torn lines do not count.
    private func finished() -> [BranchResult] {
        guard let bytes = try? DurableFile.read(request.output + "/results.jsonl", byteCountMax: 1 << 30) else {
            return []
        }
        return bytes.split(separator: 0x0A).compactMap { BranchResult(line: Array($0)) }
    }

    /// From this machine's own steps: experts' batches are small, so all are counted as theirs.
    private func secondsPerSeed(_ settings: BranchSettings, _ domains: Int) throws(UserError) -> Double {
        var step = LabSettings()
        step.model = settings.model
        step.windowTokens = settings.windowTokens
        step.globalBatch = settings.globalBatch
        step.workers = domains
        step.method = .alone
        let clock = ContinuousClock()
        let start = clock.now
        do {
            let seconds = try LabSpeed.secondsPerStep(step, now: { (clock.now - start).inSeconds })
            return seconds * Double(domains * settings.workSteps)
        } catch { throw UserError(wrapping: error) }
    }

    private func execute(
        _ seeds: [UInt64], _ settings: BranchSettings, _ corpora: [Corpus], key: String, jobs: Int, _ journal: Journal
    ) async throws(UserError) {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                var waiting = seeds[...]
                func startNext() {
                    guard let seed = waiting.popFirst() else { return }
                    group.addTask { try perform(seed, settings, corpora, key: key, journal) }
                }
                for _ in 0..<jobs { startNext() }
                while try await group.next() != nil { startNext() }
            }
        } catch { throw UserError(wrapping: error) }
    }

    private func perform(
        _ seed: UInt64, _ settings: BranchSettings, _ corpora: [Corpus], key: String, _ journal: Journal
    ) throws {
        let clock = ContinuousClock()
        var last = clock.now
        let domains = corpora.flatMap(\.domains).map(\.name)
        let wanted = Set(settings.parts).subtracting(journal.parts(of: seed))
        do {
            try BranchRun(settings, seed: seed, corpora: corpora).run(
                wanted,
                progress: {
                    guard Interruption.isRequested else { return }
                    throw UserError(
                        "stopped", cure: "The same command goes on with the next unfinished part",
                        exitCode: .interrupted)
                },
                emit: { part, losses in
                    let now = clock.now
                    let result = BranchResult(
                        key: key, seed: seed, part: part, domains: domains, losses: losses,
                        seconds: (now - last).inSeconds)
                    last = now
                    try journal.add(result)
                    let method: BranchResult.Method = part.fraction == 1 ? .dense : .ensemble
                    say(
                        "seed \(seed), \(fixed(100 * part.fraction, 0)) %, \(part.split.rawValue): \(method.rawValue) "
                            + "\(fixed(result.meanLoss(method) ?? .nan, 4)), \(fixed(result.seconds, 0)) s")
                })
        } catch let error as LabError {
            throw UserError("seed \(seed): \(error)", cure: "Lower its rates", exitCode: .badData)
        }
    }

    private func write(_ table: BranchTable) throws(UserError) {
        do {
            try DurableFile.write(Array(table.markdown.utf8), to: request.output + "/table.md")
            for (curves, name) in [
                (BranchTable.Curve.ensembles, "ensembles"), (BranchTable.Curve.averages, "averages"),
            ] {
                try DurableFile.write(Array(table.plot(curves).svg.utf8), to: "\(request.output)/\(name).svg")
            }
        } catch { throw UserError(wrapping: error) }
    }

    /// The finished parts, on disk after every one.
    private final class Journal: Sendable {
        private let finished: Lock<[BranchResult]>
        private let path: String

        init(results: [BranchResult], folder: String) throws(UserError) {
            finished = Lock(results)
            path = folder + "/results.jsonl"
            guard mkdir(folder, 0o755) == 0 || errno == EEXIST else {
                throw .system("create \(folder)", errno: errno, otherwise: .cannotCreate)
            }
        }

        var results: [BranchResult] { finished.withLock { $0 } }

        func parts(of seed: UInt64) -> Set<BranchSettings.Part> {
            Set(results.filter { $0.seed == seed }.map(\.part))
        }

        func add(_ result: BranchResult) throws(FileError) {
            try finished.withLock { results throws(FileError) in
                results.append(result)
                try DurableFile.write(results.flatMap { $0.json.line + [0x0A] }, to: path)
            }
        }
    }
}
