import Checkpoint
import Corpus
import Glibc
import JSONText
import LanguageModel
import PeerNet

/// Trains three swarms of four node processes: on links that differ a hundredfold, on fast ones, and on the first ones without
/// negotiation; compares their rounds.
package struct LinksRun: Sendable {
    private let plan: LinksPlan
    private let show: @Sendable (String) -> Void

    /// Prepares a run; `show` takes lines of progress and the closing table.
    package init(plan: LinksPlan, show: @escaping @Sendable (String) -> Void) {
        self.plan = plan
        self.show = show
    }

    /// What was measured of one swarm.
    struct Outcome {
        var name: String
        /// Mean seconds between two final commits of one fragment, over all fragments.
        var roundSeconds = 0.0
        /// Share of time inside inner steps, per node.
        var stepShare: [Double] = []
        /// Bytes that each node's sockets carried during the measurement, sent and received.
        var sent: [UInt64] = []
        var received: [UInt64] = []
        /// Contributors per round, mean.
        var contributors = 0.0
        /// Mean seconds until a fragment has a round that every node contributes to; nil where it had none.
        var wholeRoundSeconds: Double?
        /// Mean bytes of a round's payloads.
        var payloadBytes = 0.0
        var rounds = 0
        /// Seconds from step to step at the mean pace of the nodes, by which rounds become due.
        var stepSeconds = 0.0
        var links: [LinkTableReport] = []

        var json: JSONValue {
            [
                "name": .text(name), "round_seconds": .number(roundSeconds),
                "step_share": .array(stepShare.map(JSONValue.number)), "step_seconds": .number(stepSeconds),
                "sent": .array(sent.map { .integer(Int64(clamping: $0)) }),
                "received": .array(received.map { .integer(Int64(clamping: $0)) }),
                "contributors": .number(contributors),
                "whole_round_seconds": wholeRoundSeconds.map(JSONValue.number) ?? .null,
                "payload_bytes": .number(payloadBytes),
                "rounds": .integer(Int64(rounds)), "links": .array(links.map(\.json)),
            ]
        }
    }

    /// Runs the three swarms one after the other.
    package func run() async throws(UserError) {
        do {
            guard let configuration = ModelConfiguration.preset(named: plan.model) else {
                throw UserError("there is no model '\(plan.model)'", cure: "Choose nano or micro", exitCode: .usage)
            }
            guard (1...86_400).contains(plan.seconds) else {
                throw UserError("--seconds \(plan.seconds) is out of range", cure: "Give 1 to 86400", exitCode: .usage)
            }
            let domains = try prepare()
            let stepSeconds = try measureStep(domains)
            let transfer = try plan.bytesPerCycle(configuration) / 25_000
            let innerSteps = max(10, Int(transfer / (LinksPlan.slowness * stepSeconds)))
            show(
                "a step takes \(text(stepSeconds, 3)) s beside three others; uniform four bits take the slowest link "
                    + "\(text(transfer, 1)) s of every H: with H = \(innerSteps) that is "
                    + "\(text(transfer / (Double(innerSteps) * stepSeconds), 2)) times H steps")
            var outcomes: [Outcome] = []
            for swarm in LinksPlan.trials {
                outcomes.append(
                    try await measure(
                        swarm, plan.specification(swarm, configuration, innerSteps: innerSteps), domains))
                if let last = outcomes.last { describe(last) }
            }
            let report: JSONValue = [
                "inner_steps": .integer(Int64(innerSteps)), "uniform_seconds": .number(transfer),
                "swarms": .array(outcomes.map(\.json)),
            ]
            try DurableFile.write(report.line + [UInt8(ascii: "\n")], to: path("report.json"))
            conclude(outcomes, transfer: transfer, innerSteps: innerSteps)
        } catch {
            throw UserError(wrapping: error)
        }
    }

    private func path(_ name: String) -> String { "\(plan.outputPath)/\(name)" }
    private func text(_ value: Double, _ places: Int) -> String { NodeReport.decimal(value, places: places) }

    // MARK: Before

    private func prepare() throws -> [NodeConfiguration.Domain] {
        if access(plan.outputPath, F_OK) == 0 {
            let names = try SystemFiles().list(plan.outputPath)
            guard names.isEmpty || access(path(".links"), F_OK) == 0 else {
                throw UserError(
                    "\(plan.outputPath) is not empty and not a comparison's folder", cure: "Choose another --out",
                    exitCode: .cannotCreate)
            }
            try removeTree(plan.outputPath)
        }
        try createFolders(plan.outputPath)
        try DurableFile.write([], to: path(".links"))
        let domains = NodeConfiguration.wellKnownDomains.filter {
            DomainSource(name: $0.name, patterns: $0.globs).matchesFiles
        }
        guard !domains.isEmpty else {
            throw UserError(
                "this machine has no text for the comparison",
                cure: "Install some: C headers under /usr/include, Perl, Python", exitCode: .noInput)
        }
        return domains
    }

    /// Seconds of an inner step while four processes train.
    private func measureStep(_ domains: [NodeConfiguration.Domain]) throws -> Double {
        show("measuring the speed of four training processes without a network")
        var commands: [DemoNode.Command] = []
        for index in 0..<LinksPlan.nodeCount {
            var arguments = ["train", "--size", plan.model, "--batch", "8", "--threads", "1", "--json"]
            arguments += ["--steps", "\(LinksPlan.speedSteps)", "--seed", "\(index)"]
            arguments += ["--log", path("train\(index).jsonl")]
            for glob in domains.flatMap(\.globs) { arguments += ["--data", glob] }
            commands.append(try DemoNode.start(arguments, logPath: path("train\(index).log")))
        }
        for command in commands { _ = try DemoNode.finish(command) }
        var seconds: [Double] = []
        for index in 0..<LinksPlan.nodeCount {
            let steps = try DemoNode.readLog(path("train\(index).jsonl")).filter { $0.event == "step" }
            seconds += steps.dropFirst().compactMap { $0.members["step_seconds"]?.double }
        }
        guard !seconds.isEmpty else {
            throw UserError(
                "the training processes logged no steps", cure: "See \(path("train0.log"))",
                exitCode: .temporaryFailure)
        }
        return seconds.reduce(0, +) / Double(seconds.count)
    }

    // MARK: One swarm

    private func measure(
        _ swarm: LinksPlan.Trial, _ specification: SwarmSpecification, _ domains: [NodeConfiguration.Domain]
    ) async throws -> Outcome {
        try createFolders(path(swarm.name))
        let nodes = try (0..<LinksPlan.nodeCount).map { index in
            let home = try NodeHome(path: path("\(swarm.name)/\(index)"))
            try home.initialize(NodeHome.Choices(listen: "/ip4/127.0.0.1/tcp/0", threads: 1, domains: domains))
            return DemoNode(index: index, home: home, domains: domains)
        }
        do {
            return try await measure(swarm, specification, nodes)
        } catch {
            for node in nodes { if let processID = try? HomeLock.holder(node.home) { kill(processID, SIGTERM) } }
            throw error
        }
    }

    private func measure(
        _ swarm: LinksPlan.Trial, _ specification: SwarmSpecification, _ nodes: [DemoNode]
    ) async throws -> Outcome {
        try await form(swarm, specification, nodes)
        // Formed on free links, so that nobody begins with a snapshot to fetch; then every node gets its own.
        for node in nodes { _ = try node.run(["node", "stop"]) }
        for (node, rate) in zip(nodes, swarm.rates) {
            var configuration = try node.home.loadConfiguration()
            configuration.upload = BitRate(rate)
            configuration.download = BitRate(rate)
            try DurableFile.write(Array(configuration.yaml().utf8), to: node.home.configurationPath)
        }
        let starts = try nodes.map { node in
            try DemoNode.start(["node", "start", "--home", node.home.path], logPath: node.home.path + ".start.log")
        }
        for start in starts { _ = try DemoNode.finish(start) }
        show("\(swarm.name): links of \(swarm.rates.joined(separator: ", "))")
        try await Task.sleep(for: .seconds(LinksPlan.settlingSeconds))
        let before = try await reports(nodes)
        let began = RunLog.wallSeconds
        try await Task.sleep(for: .seconds(plan.seconds))
        let ended = RunLog.wallSeconds
        let after = try await reports(nodes)
        var outcome = Outcome(name: swarm.name)
        for node in nodes { outcome.links.append(try await NodeControl(home: node.home).links()) }
        for node in nodes { _ = try node.run(["node", "stop"]) }
        outcome.sent = zip(before, after).map { $1.bytesSent &- min($0.bytesSent, $1.bytesSent) }
        outcome.received = zip(before, after).map { $1.bytesReceived &- min($0.bytesReceived, $1.bytesReceived) }
        try evaluate(nodes, began...ended, into: &outcome)
        return outcome
    }

    private func form(
        _ swarm: LinksPlan.Trial, _ specification: SwarmSpecification, _ nodes: [DemoNode]
    ) async throws {
        let specificationPath = path("\(swarm.name)/spec.yaml")
        try DurableFile.write(Array(specification.yaml(modelName: plan.model).utf8), to: specificationPath)
        let formed = try nodes[0].run(["swarm", "new", specificationPath, "--detach", "--json"])
        guard let invite = (try? JSONValue(parsing: Array(formed.utf8)))?.object?["invite"]?.string?.string else {
            throw UserError("swarm new gave no invite", cure: "See \(nodes[0].home.path).log", exitCode: .internalBug)
        }
        let joins = try nodes.dropFirst().map { node in
            try DemoNode.start(
                ["swarm", "join", invite, "--detach", "--json", "--home", node.home.path],
                logPath: node.home.path + ".log")
        }
        for join in joins { _ = try DemoNode.finish(join) }
        let clock = MonotonicClock()
        let start = clock.now
        while true {
            try await Task.sleep(for: .milliseconds(500))
            let ready = try nodes.allSatisfy { try $0.runLog().contains { $0.event == "first_contribution" } }
            if ready { return }
            guard (clock.now - start).inSeconds < 180 else {
                throw UserError(
                    "the swarm '\(swarm.name)' did not form in three minutes",
                    cure: "See the logs in \(plan.outputPath)",
                    exitCode: .temporaryFailure)
            }
        }
    }

    private func reports(_ nodes: [DemoNode]) async throws -> [NodeReport] {
        var reports: [NodeReport] = []
        for node in nodes { reports.append(try await NodeControl(home: node.home).status()) }
        return reports
    }

    private func evaluate(
        _ nodes: [DemoNode], _ interval: ClosedRange<Double>, into outcome: inout Outcome
    ) throws {
        var stepsPerSecond = 0.0
        for node in nodes {
            let log = try node.runLog()
            let steps = log.filter { $0.event == "step" && interval.contains($0.time) }
            if let first = steps.first, let last = steps.last, last.time > first.time,
                let begin = first.members["step"]?.double, let end = last.members["step"]?.double
            {
                stepsPerSecond += (end - begin) / (last.time - first.time) / Double(nodes.count)
            }
            outcome.stepShare.append(TrainingRecord(log, in: interval).stepShare)
            guard node.index == 0 else { continue }
            let finals = log.filter { $0.event == "round_final" && interval.contains($0.time) }
            var gaps: [Double] = []
            var last: [Int: Double] = [:]
            for final in finals {
                guard let fragment = final.members["fragment"]?.integer else { continue }
                if let earlier = last[fragment] { gaps.append(final.time - earlier) }
                last[fragment] = final.time
            }
            func mean(_ key: JSONString) -> Double {
                let values = finals.compactMap { $0.members[key]?.double }
                return values.reduce(0, +) / Double(max(1, values.count))
            }
            outcome.rounds = finals.count
            let whole = finals.filter { $0.members["contributors"]?.integer == nodes.count }
            let fragments = Set(finals.compactMap { $0.members["fragment"]?.integer }).count
            outcome.wholeRoundSeconds =
                whole.isEmpty
                ? nil : (interval.upperBound - interval.lowerBound) * Double(fragments) / Double(whole.count)
            outcome.roundSeconds = gaps.reduce(0, +) / Double(max(1, gaps.count))
            outcome.contributors = mean("contributors")
            outcome.payloadBytes = mean("payload_bytes")
        }
        outcome.stepSeconds = stepsPerSecond > 0 ? 1 / stepsPerSecond : 0
    }

    // MARK: What came of it

    private func describe(_ outcome: Outcome) {
        show(
            "\(outcome.name): \(outcome.rounds) rounds, one of a fragment every \(text(outcome.roundSeconds, 2)) s, "
                + "\(text(outcome.contributors, 2)) contributors, \(NodeReport.bytes(UInt64(outcome.payloadBytes))) a round"
        )
        show("  time inside steps  \(outcome.stepShare.map { text($0, 3) }.joined(separator: "  "))")
        show("  sent               \(outcome.sent.map { NodeReport.bytes($0) }.joined(separator: "  "))")
        show("  received           \(outcome.received.map { NodeReport.bytes($0) }.joined(separator: "  "))")
        for (index, links) in outcome.links.enumerated() {
            show("  links of node \(index):")
            for line in links.text.split(separator: "\n") { show("    \(line)") }
        }
    }

    private func conclude(_ outcomes: [Outcome], transfer: Double, innerSteps: Int) {
        guard outcomes.count == 3 else { return }
        let (mixed, fast, off) = (outcomes[0], outcomes[1], outcomes[2])
        let needed = transfer / (Double(innerSteps) * mixed.stepSeconds)
        show("")
        show("uniform four bits on the slowest link  \(text(needed, 2)) times H steps (steps as measured in 'mixed')")
        show("round time, mixed over all-fast        \(text(mixed.roundSeconds / fast.roundSeconds, 2))")
        show("round time, off over mixed             \(text(off.roundSeconds / mixed.roundSeconds, 2))")
        // What else the machine does makes steps slower or faster from swarm to swarm.
        let inSteps = outcomes.map { $0.roundSeconds / ($0.stepSeconds * Double(innerSteps)) }
        show(
            "round time in H steps of its own swarm mixed \(text(inSteps[0], 2))  all-fast \(text(inSteps[1], 2))  "
                + "off \(text(inSteps[2], 2))")
        show(
            "contributors of 4                      mixed \(text(mixed.contributors, 2))  all-fast "
                + "\(text(fast.contributors, 2))  off \(text(off.contributors, 2))")
        func whole(_ outcome: Outcome) -> String { outcome.wholeRoundSeconds.map { text($0, 2) + " s" } ?? "never" }
        show(
            "a round with all four every            mixed \(whole(mixed))  all-fast \(whole(fast))  off \(whole(off))")
        show(
            "fast nodes' time inside steps, mixed   "
                + mixed.stepShare.dropLast().map { text($0, 3) }.joined(separator: "  "))
        show("left in \(plan.outputPath): report.json")
    }
}
