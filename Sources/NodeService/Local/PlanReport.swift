package import JSONText
import OuterSync
import PeerNet
import Swarm

/// What `atoll plan` has worked out, with what a running node has measured beside it.
package struct PlanReport: CommandReport {
    /// One fragment's packed payloads with all tiles, in bytes.
    struct Fragment: Sendable {
        var parameterCount: Int
        var contribution: Int
        var result: Int
    }

    /// What was measured on this machine.
    struct Measured: Sendable {
        /// Median time of an inner step.
        var stepSeconds: Double
        /// Time that snapshots and blends of all fragments take from training in one cycle.
        var boundarySeconds: Double
        var threads: Int
        var steps: Int
        var fragments: [Fragment]
    }

    /// The shares of time in training for which a least rate is given.
    private static let targets = [0.5, 0.9, 0.99]

    private let charter: Charter
    private let measured: Measured
    private let link: BitRate?
    private let roundTrip: Double
    private let node: NodeReport?
    private let plan: TrafficPlan
    private var parameterCount: Int { measured.fragments.reduce(0) { $0 + $1.parameterCount } }

    init(
        charter: Charter, measured: Measured, members: Int, link: BitRate?, roundTrip: Double, node: NodeReport?
    ) {
        self.charter = charter
        self.measured = measured
        self.link = link
        self.roundTrip = roundTrip
        self.node = node
        var plan = TrafficPlan(
            fragments: measured.fragments.map {
                TrafficPlan.FragmentPayload(contribution: Double($0.contribution), result: Double($0.result))
            }, members: members, innerSteps: charter.innerStepsPerRound,
            // A mean that is applied a whole round late has that long to come.
            overlapSteps: charter.syncMode.isLate ? charter.innerStepsPerRound : charter.overlapSteps,
            stepSeconds: measured.stepSeconds,
            tokensPerStep: charter.inner.batchSequences * charter.model.contextLength,
            tokenBudget: Double(charter.tokenBudget), controlBytesPerRound: Self.controlBytes(members: members))
        plan.gathers = members <= charter.gatherMembersMax
        self.plan = plan
    }

    /// Control messages, gossip and framing that a member sends in one round of one fragment.
    ///
    /// A line through what two and four nodes sent beside payloads, 7.5 and 11.3 kB (docs/benchmarks.md): joins, results, acks
    /// and holds, and their gossip.
    static func controlBytes(members: Int) -> Double { 3_700 + 1_900 * Double(members) }

    /// Bytes that a member sends in one round, on average over the fragments.
    private var bytesPerRound: Double { plan.bytesPerCycle / Double(measured.fragments.count) }

    /// The share of time in inner steps where no exchange is waited for: snapshots and blends take the rest.
    private var utilisation: Double { plan.cycleSeconds / (plan.cycleSeconds + measured.boundarySeconds) }

    /// What the running node has sent for each round since it started.
    private var measuredBytesPerRound: Double? {
        guard let node else { return nil }
        return node.roundsFollowed > 0 ? Double(node.bytesSent) / Double(node.roundsFollowed) : nil
    }

    package var text: String {
        let exchange = plan.gathers ? "gathered" : "mean \(CodecName.name(charter.encoding.result))"
        var lines = [
            "\(charter.name): \(parameterCount) parameters in \(measured.fragments.count) fragments, \(plan.members) nodes, "
                + "H \(plan.innerSteps), tau \(plan.overlapSteps), \(CodecName.name(charter.encoding.contribution)), "
                + exchange,
            "an inner step here        \(fixed(1000 * measured.stepSeconds, 1)) ms on \(measured.threads) threads, median of "
                + "\(measured.steps)",
            "a cycle of H steps        \(fixed(plan.cycleSeconds, 1)) s, of which \(fixed(1000 * measured.boundarySeconds, 1)) "
                + "ms go into snapshots and blends",
            "",
            "fragment   parameters   contribution         mean   a node sends",
        ]
        for (index, fragment) in measured.fragments.enumerated() {
            let sent = plan.bytes(ofRound: plan.fragments[index])
            lines.append(
                right("\(index)", 8) + right("\(fragment.parameterCount)", 13)
                    + right(NodeReport.bytes(UInt64(fragment.contribution)), 15)
                    + right(plan.gathers ? "-" : NodeReport.bytes(UInt64(fragment.result)), 13)
                    + right(NodeReport.bytes(UInt64(sent)), 15))
        }
        lines += [
            "",
            "in a cycle a node sends   \(NodeReport.bytes(UInt64(plan.bytesPerCycle))), and receives as much",
            "least rate of a link      "
                + Self.targets.map { target in
                    "\(fixed(plan.leastRate(forUtilization: target, roundTrip: roundTrip) * 8 / 1e6, 2)) Mbit/s for "
                        + "\(fixed(100 * target, 0)) %"
                }.joined(separator: ", "),
            "                          if every exchange had to end tau steps after its snapshot; nodes do not wait for it",
        ]
        if let link {
            let rate = Double(link.bytesPerSecond)
            lines.append(
                "at \(link)"
                    + String(repeating: " ", count: max(1, 23 - link.description.count))
                    + "\(fixed(100 * plan.utilization(bytesPerSecond: rate, roundTrip: roundTrip), 1)) % by that measure; a "
                    + "cycle's exchange takes \(fixed(plan.bytesPerCycle / rate, 1)) s of \(fixed(plan.cycleSeconds, 1))"
            )
        }
        let hours = plan.cycleCount * (plan.cycleSeconds + measured.boundarySeconds) / 3600
        let ratio = plan.totalBytes > 0 ? plan.dataParallelBytes(parameterCount: parameterCount) / plan.totalBytes : 0
        lines += [
            "time inside steps         \(fixed(100 * utilisation, 1)) %",
            "the whole run             \(fixed(plan.cycleCount, 0)) cycles, \(fixed(hours, 2)) hours, "
                + "\(NodeReport.bytes(UInt64(plan.totalBytes))) sent by each node, \(fixed(ratio, 0))x fewer than float32 "
                + "all-reduce",
        ]
        if !charter.encoding.ladder.isEmpty, !plan.gathers {
            lines.append(
                "                          at most: links that are slow, and layers that bear it, get coarser codecs")
        }
        if let node, let bytes = measuredBytesPerRound {
            lines += [
                "",
                "measured by this node since it started (\(node.roundsFollowed) rounds):",
                "sent for each round       \(NodeReport.bytes(UInt64(bytes))), planned "
                    + "\(NodeReport.bytes(UInt64(bytesPerRound))) on average over nodes: \(signed(bytes / bytesPerRound - 1))",
                "time inside steps         \(fixed(100 * node.utilisation, 1)) %, planned \(fixed(100 * utilisation, 1)) %",
            ]
        }
        return lines.joined(separator: "\n")
    }

    package var json: JSONValue {
        [
            "name": .text(charter.name), "members": .integer(Int64(plan.members)),
            "parameters": .integer(Int64(parameterCount)), "inner_steps": .integer(Int64(plan.innerSteps)),
            "step_seconds": .number(measured.stepSeconds), "cycle_seconds": .number(plan.cycleSeconds),
            "gathers": .bool(plan.gathers),
            "fragments": .array(
                zip(measured.fragments, plan.fragments).map { fragment, payload in
                    [
                        "parameters": .integer(Int64(fragment.parameterCount)),
                        "contribution_bytes": .integer(Int64(fragment.contribution)),
                        "result_bytes": .integer(Int64(fragment.result)),
                        "sent_bytes": .number(plan.bytes(ofRound: payload)),
                    ]
                }),
            "bytes_per_cycle": .number(plan.bytesPerCycle), "bytes_per_round": .number(bytesPerRound),
            "least_bits_per_second": .array(
                Self.targets.map { target in
                    [
                        "utilisation": .number(target),
                        "rate": .number(8 * plan.leastRate(forUtilization: target, roundTrip: roundTrip)),
                    ]
                }),
            "link_utilisation": link.map {
                .number(plan.utilization(bytesPerSecond: Double($0.bytesPerSecond), roundTrip: roundTrip))
            } ?? .null,
            "utilisation": .number(utilisation), "cycles": .number(plan.cycleCount),
            "hours": .number(plan.cycleCount * (plan.cycleSeconds + measured.boundarySeconds) / 3600),
            "total_bytes": .number(plan.totalBytes),
            "allreduce_bytes": .number(plan.dataParallelBytes(parameterCount: parameterCount)),
            "measured_bytes_per_round": measuredBytesPerRound.map(JSONValue.number) ?? .null,
            "measured_utilisation": node.map { .number($0.utilisation) } ?? .null,
        ]
    }

    private func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }

    private func signed(_ share: Double) -> String { (share < 0 ? "" : "+") + fixed(100 * share, 1) + " %" }
}
