import Checkpoint
import JSONText
import PeerNet

/// The part of the demo in which the nodes run: three from the start, one later, one killed and started again.
struct DemoSwarm {
    /// What the run left behind.
    struct Outcome {
        var tokens = 0
        var bytesPerNode: [UInt64] = []
        var roundsPerFragment = 0.0
        var heads: [String]?
        var joinSeconds: [Double] = []
        var catchUpSeconds: Double?
    }

    private static let pollInterval: Duration = .milliseconds(500)
    private static let showSeconds = 5.0
    /// Which node joins late, and which is killed.
    private static let lateNode = 3
    private static let killedNode = 1

    private let plan: DemoPlan
    private let nodes: [DemoNode]
    private let show: @Sendable (String) -> Void
    private let clock = MonotonicClock()

    private var reports: [Int: NodeReport] = [:]
    /// Bytes of processes that are gone.
    private var earlierBytes: [Int: UInt64] = [:]
    private var joinTimes: [Int: Double] = [:]
    private var commands: [DemoNode.Command] = []
    private var killedAt: Moment?
    private var restartTime: Double?
    private var invite = ""

    init(plan: DemoPlan, nodes: [DemoNode], show: @escaping @Sendable (String) -> Void) {
        self.plan = plan
        self.nodes = nodes
        self.show = show
    }

    /// Runs until every node is finished.
    consuming func run() async throws -> Outcome {
        try form()
        let began = clock.now
        var shownAt = began
        while true {
            try? await Task.sleep(for: Self.pollInterval)
            for node in nodes where isUp(node.index) {
                if let report = try? await NodeControl(home: node.home).status() { reports[node.index] = report }
            }
            try act()
            if (clock.now - shownAt).inSeconds >= Self.showSeconds {
                shownAt = clock.now
                showProgress()
            }
            if nodes.allSatisfy({ reports[$0.index]?.phase == "finished" }) { break }
            guard (clock.now - began).inSeconds < plan.swarmSecondsMax else {
                throw UserError(
                    "the swarm did not finish in \(Int(plan.swarmSecondsMax)) seconds",
                    cure: "See the logs in \(plan.outputPath)/nodes", exitCode: .temporaryFailure)
            }
        }
        showProgress()
        return try outcome()
    }

    private mutating func form() throws {
        let specificationPath = "\(plan.outputPath)/spec.yaml"
        try DurableFile.write(Array(plan.specification.yaml(modelName: "nano").utf8), to: specificationPath)
        let formed = try nodes[0].run(["swarm", "new", specificationPath, "--detach", "--json"])
        guard let text = (try? JSONValue(parsing: Array(formed.utf8)))?.object?["invite"]?.string?.string else {
            throw UserError("swarm new gave no invite", cure: "See \(nodes[0].home.path).log", exitCode: .internalBug)
        }
        invite = text
        show("swarm formed; invite \(invite)")
        // At the same time, as two people with an invite would.
        for index in [1, 2] { try join(index) }
        show("nodes 1 and 2 join")
    }

    /// Starts a join without waiting for it: the swarm goes on meanwhile.
    private mutating func join(_ index: Int) throws {
        joinTimes[index] = RunLog.wallSeconds
        commands.append(
            try DemoNode.start(
                ["swarm", "join", invite, "--detach", "--json", "--home", nodes[index].home.path],
                logPath: nodes[index].home.path + ".log"))
    }

    private func isUp(_ index: Int) -> Bool {
        if index == Self.lateNode { return joinTimes[index] != nil }
        if index == Self.killedNode, killedAt != nil { return restartTime != nil }
        return true
    }

    /// Joins, kills and restarts when it is time.
    private mutating func act() throws {
        let share = Double(reports[0]?.committedTokens ?? 0) / Double(plan.tokens)
        if share >= plan.lateJoinShare, joinTimes[Self.lateNode] == nil {
            try join(Self.lateNode)
            show("node \(Self.lateNode) joins")
        }
        if plan.kills, share >= plan.killShare, killedAt == nil {
            earlierBytes[Self.killedNode] = reports[Self.killedNode]?.bytesSent ?? 0
            try nodes[Self.killedNode].kill()
            killedAt = clock.now
            reports[Self.killedNode] = nil
            show("node \(Self.killedNode) killed (SIGKILL)")
        }
        if let killedAt, restartTime == nil, (clock.now - killedAt).inSeconds >= plan.awaySeconds {
            restartTime = RunLog.wallSeconds
            commands.append(
                try DemoNode.start(
                    ["node", "start", "--home", nodes[Self.killedNode].home.path],
                    logPath: nodes[Self.killedNode].home.path + ".restart.log"))
            show("node \(Self.killedNode) starts again")
        }
    }

    private func showProgress() {
        let share = Double(reports[0]?.committedTokens ?? 0) / Double(plan.tokens) * 100
        let losses = nodes.map { node in
            reports[node.index]?.loss.map { NodeReport.decimal($0, places: 2) } ?? "-"
        }
        let rounds = reports[0]?.fragments.map { String($0.round) }.joined(separator: "/") ?? "-"
        let sent = reports.values.reduce(0) { $0 + $1.bytesSent }
        show(
            "\(NodeReport.decimal(share, places: 0)) % of the tokens  loss \(losses.joined(separator: " "))  "
                + "rounds \(rounds)  sent \(NodeReport.bytes(sent))")
    }

    private func outcome() throws -> Outcome {
        var outcome = Outcome()
        for command in commands { _ = try DemoNode.finish(command) }
        let all = nodes.compactMap { reports[$0.index] }
        outcome.bytesPerNode = nodes.map { (reports[$0.index]?.bytesSent ?? 0) + (earlierBytes[$0.index] ?? 0) }
        if let first = all.first {
            // What the nodes count at the end, also what no commit lists: the baseline gets as much. What the killed node
            // had trained since its last snapshot is in nobody's count.
            outcome.tokens = all.reduce(0) { $0 + Int($1.tokens) }
            outcome.roundsPerFragment =
                Double(first.fragments.reduce(0) { $0 + $1.round }) / Double(max(1, first.fragments.count))
            if all.allSatisfy({ $0.fragments.map(\.head) == first.fragments.map(\.head) }) {
                outcome.heads = first.fragments.map(\.head)
            }
        }
        for index in joinTimes.keys.sorted() {
            guard let began = joinTimes[index] else { continue }
            let line = try nodes[index].runLog().first { $0.event == "first_contribution" }
            outcome.joinSeconds.append((line?.time ?? .nan) - began)
        }
        if let restartTime {
            let line = try nodes[Self.killedNode].runLog().first { $0.event == "caught_up" && $0.time >= restartTime }
            outcome.catchUpSeconds = line.map { $0.time - restartTime }
        }
        return outcome
    }
}
