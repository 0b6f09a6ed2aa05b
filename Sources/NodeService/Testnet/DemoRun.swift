import Checkpoint
import Corpus
import Glibc
import JSONText
import LanguageModel
import Numerics
import PeerNet
import Swarm
import Tokenizing

/// Forms a swarm of four node processes on loopback, disturbs it, and compares what it learnt with one process.
package struct DemoRun: Sendable {
    private let plan: DemoPlan
    private let show: @Sendable (String) -> Void
    private let clock = MonotonicClock()

    /// Prepares a demo; `show` takes lines of progress and the closing table.
    package init(plan: DemoPlan, show: @escaping @Sendable (String) -> Void) {
        self.plan = plan
        self.show = show
    }

    /// Runs the demo; nodes that are still running when it fails are stopped.
    package func run() async throws(UserError) {
        let nodes = try prepare()
        do {
            try await perform(nodes)
        } catch {
            for node in nodes { if let processID = try? HomeLock.holder(node.home) { kill(processID, SIGTERM) } }
            throw UserError(wrapping: error)
        }
    }

    private func path(_ name: String) -> String { "\(plan.outputPath)/\(name)" }
    private var markerPath: String { path(".demo") }

    // MARK: Before

    private func prepare() throws(UserError) -> [DemoNode] {
        try NodeHome.mapping {
            if access(plan.outputPath, F_OK) == 0 {
                let names = try SystemFiles().list(plan.outputPath)
                guard names.isEmpty || access(markerPath, F_OK) == 0 else {
                    throw UserError(
                        "\(plan.outputPath) is not empty and not a demo's folder", cure: "Choose another --out",
                        exitCode: .cannotCreate)
                }
                try removeTree(plan.outputPath)
            }
            try createFolders(path("nodes"))
            try DurableFile.write([], to: markerPath)
            let domains = NodeConfiguration.wellKnownDomains.filter {
                DomainSource(name: $0.name, patterns: $0.globs).matchesFiles
            }
            guard domains.count >= 2 else {
                throw UserError(
                    "this machine has fewer than two kinds of text for the demo",
                    cure:
                        "Install some: C headers under /usr/include, Perl, Python or documentation under /usr/share/doc",
                    exitCode: .noInput)
            }
            show("text: \(domains.map(\.name).joined(separator: ", "))")
            return try (0..<DemoPlan.nodeCount).map { index in
                let home = try NodeHome(path: path("nodes/\(index)"))
                // Every node sees all domains, and one of them three times as much as the others.
                var mix = domains
                mix[index % mix.count].weight = 3
                try home.initialize(NodeHome.Choices(listen: "/ip4/127.0.0.1/tcp/0", threads: 1, domains: mix))
                return DemoNode(index: index, home: home, domains: mix)
            }
        }
    }

    /// Tokens per second of one of four `atoll train` processes that run together, while all four do.
    private func measureSpeed(_ nodes: [DemoNode]) throws(UserError) -> Double {
        var commands: [DemoNode.Command] = []
        func logPath(_ node: DemoNode) -> String { path("nodes/\(node.index).train.jsonl") }
        for node in nodes {
            unlink(logPath(node))
            var arguments = ["train", "--size", "nano", "--batch", "8", "--threads", "1", "--json"]
            arguments += ["--steps", "\(plan.speedSteps)", "--seed", "\(node.index)", "--log", logPath(node)]
            for glob in node.domains.flatMap(\.globs) { arguments += ["--data", glob] }
            commands.append(try DemoNode.start(arguments, logPath: path("nodes/\(node.index).train.log")))
        }
        for command in commands { _ = try DemoNode.finish(command) }
        let logs = try nodes.map { (node) throws(UserError) in try DemoNode.readLog(logPath(node)) }
        // Some start earlier and end later than others, with the cores to themselves: that does not count.
        let interval = try Self.commonTime(of: logs)
        return logs.reduce(0) { $0 + TrainingRecord($1, in: interval).tokensPerSecond } / Double(logs.count)
    }

    /// From the latest first step to the earliest last one.
    private static func commonTime(of logs: [[DemoNode.LogLine]]) throws(UserError) -> ClosedRange<Double> {
        let steps = logs.map { log in log.filter { $0.event == "step" } }
        guard let start = steps.map({ $0.first?.time ?? .infinity }).max(),
            let end = steps.map({ $0.last?.time ?? 0 }).min(), end - start >= 1
        else {
            throw UserError(
                "four processes did not train at the same time",
                cure: "Run the demo again while the machine does nothing else", exitCode: .temporaryFailure)
        }
        return start...end
    }

    // MARK: The run

    private func perform(_ nodes: [DemoNode]) async throws {
        show("measuring the speed of four training processes without a network")
        let speedBefore = try measureSpeed(nodes)
        show("\(Int(speedBefore)) tokens/s each")
        let began = clock.now
        let swarm = try await DemoSwarm(plan: plan, nodes: nodes, show: show).run()
        let heads = swarm.heads
        _ = try nodes[0].run(["checkpoint", "--out", path("checkpoint")])
        for node in nodes { _ = try node.run(["node", "stop"]) }
        let speed = (speedBefore + (try measureSpeed(nodes))) / 2

        var report = DemoReport()
        report.bytesPerNode = swarm.bytesPerNode
        report.heads = heads
        report.joinSeconds = swarm.joinSeconds
        report.catchUpSeconds = swarm.catchUpSeconds
        report.roundsPerFragment = swarm.roundsPerFragment
        report.tokens = swarm.tokens
        let logs = try nodes.map { (node) throws(UserError) in try node.runLog() }
        let interval = try Self.commonTime(of: logs)
        for log in logs {
            let record = TrainingRecord(log)
            report.utilisation.append(record.tokensPerSecond / speed)
            report.stepShare.append(record.stepShare)
            report.utilisationTogether.append(TrainingRecord(log, in: interval).tokensPerSecond / speed)
        }
        try compare(nodes, into: &report)
        try makeExperts(nodes, into: &report)
        report.seconds = (clock.now - began).inSeconds
        try DurableFile.write(report.json.line + [UInt8(ascii: "\n")], to: path("report.json"))
        show("")
        for line in report.lines { show(line) }
        show("")
        show("left in \(plan.outputPath): checkpoint/, merged/, report.json")
        guard report.heads != nil else {
            throw UserError(
                "the nodes' heads differ", cure: "Keep \(plan.outputPath) and report it", exitCode: .internalBug)
        }
    }

    private func corpus(_ domains: [NodeConfiguration.Domain]) throws -> Corpus {
        try Corpus(
            domains.map { DomainSource(name: $0.name, patterns: $0.globs, weight: $0.weight) }, tokenizer: .bytes,
            contextLength: ModelConfiguration.nano.contextLength)
    }

    /// Trains the baseline with the nodes' text and measures everyone on the held-out text of all domains.
    private func compare(_ nodes: [DemoNode], into report: inout DemoReport) throws {
        let record = try SwarmRegistry(home: nodes[0].home).active()
        let model = try record.charter.model.configuration()
        let threads = WorkerPool.processorCount
        let corpora = try nodes.map { try corpus($0.domains) }
        let heldOut = try HeldOutLoss(
            corpus: corpora[0], configuration: model, windowsPerDomain: plan.heldOutWindows, threads: threads)
        let layout = ParameterLayout(model)
        report.parameters = model.parameterCount
        report.lossStart = try heldOut(layout.initialParameters(seed: record.charter.seed))
        report.lossSwarm = try heldOut(try ModelFolder(path("checkpoint")).readParameters())
        let cursors = try nodes.map {
            CorpusCursor(seedBytes: NodeSetup.cursorSeed(try $0.home.loadOrCreateIdentity().peerID, incarnation: 1))
        }
        var baseline = DataParallelBaseline(
            corpora: corpora, cursors: cursors, charter: record.charter, threads: threads)
        report.lossBaseline = try heldOut(try baseline.train(tokens: report.tokens, progress: progress("one process")))
        if plan.trainsAlone {
            var alone = DataParallelBaseline(
                corpora: [corpora[0]], cursors: [cursors[0]], charter: record.charter, threads: threads)
            alone.charter.tokenBudget /= UInt64(DemoPlan.nodeCount)
            alone.charter.inner.warmupTokens /= UInt64(DemoPlan.nodeCount)
            report.lossAlone = try heldOut(
                try alone.train(tokens: report.tokens / DemoPlan.nodeCount, progress: progress("one node alone")))
        }
    }

    private func progress(_ name: String) -> (Int, Double) -> Void {
        var last = clock.now
        return { tokens, loss in
            guard (clock.now - last).inSeconds >= 5 else { return }
            last = clock.now
            let share = NodeReport.decimal(Double(tokens) / Double(plan.tokens) * 100, places: 0)
            show("\(name): \(share) %  loss \(NodeReport.decimal(loss, places: 3))")
        }
    }

    /// Branches two short expert runs off the swarm's model, merges them and lets the swarm's model speak.
    private func makeExperts(_ nodes: [DemoNode], into report: inout DemoReport) throws {
        let domains = Array(nodes[0].domains.prefix(2))
        var folders: [String] = []
        for domain in domains {
            show("expert on \(domain.name)")
            let folder = path("experts/\(domain.name)")
            try createFolders(path("experts"))
            var arguments = ["train", "--from", path("checkpoint"), "--steps", "\(plan.expertSteps)", "--batch", "8"]
            arguments += ["--out", folder, "--json"]
            for glob in domain.globs { arguments += ["--data", glob] }
            _ = try DemoNode.run(arguments, logPath: path("experts/\(domain.name).log"))
            folders.append(folder)
        }
        _ = try DemoNode.run(["merge"] + folders + ["--out", path("merged")], logPath: path("merge.log"))
        let model = ModelConfiguration.nano
        let heldOut = try HeldOutLoss(
            corpus: try corpus(nodes[0].domains), configuration: model, windowsPerDomain: plan.heldOutWindows,
            threads: WorkerPool.processorCount)
        report.lossMerged = try heldOut(try ModelFolder(path("merged")).readParameters())
        let sample = try DemoNode.run(
            [
                "generate", path("checkpoint"), "--prompt", "The ", "--tokens", "200", "--temperature", "0.7", "--seed",
                "1",
            ],
            logPath: path("generate.log"))
        show("sample: \(sample.trimmingSuffix(while: \.isNewline))")
    }
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var text = self[...]
        while let last = text.last, predicate(last) { text.removeLast() }
        return String(text)
    }
}
