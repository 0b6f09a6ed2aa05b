import JSONText

/// The demo's closing table.
package struct DemoReport: Sendable {
    var parameters = 0
    var tokens = 0
    var seconds = 0.0
    var lossStart = 0.0
    var lossSwarm = 0.0
    var lossBaseline = 0.0
    /// One node alone for as many steps as each of the four took; nil if not asked for.
    var lossAlone: Double?
    var lossMerged = 0.0
    /// Bytes that each node's daemons wrote to sockets, joins included; the few kilobytes with which a command asks for the
    /// charter before there is a daemon are not.
    var bytesPerNode: [UInt64] = []
    /// Final commits per fragment, mean over fragments.
    var roundsPerFragment = 0.0
    /// Tokens per second from first to last step, over those of one of four `atoll train` processes.
    var utilisation: [Double] = []
    /// The same while all four nodes train: stricter where nodes share cores, for three of them get more each than four.
    var utilisationTogether: [Double] = []
    /// Share of wall time inside training steps.
    var stepShare: [Double] = []
    /// Fragment heads, hexadecimal, if all nodes hold the same.
    var heads: [String]?
    /// Seconds from `swarm join` to the first final commit with a contribution, per joiner.
    var joinSeconds: [Double] = []
    /// Seconds from the killed node's restart until it held the newest heads; nil if none was killed.
    var catchUpSeconds: Double?

    /// Bytes that each node would have sent for a float32 ring all-reduce at every step of all nodes' batches together.
    var bytesAllReduce: Double {
        let nodes = Double(DemoPlan.nodeCount)
        let steps = Double(tokens) / Double(DemoPlan.nodeCount * DemoPlan.stepTokens)
        return steps * 2 * (nodes - 1) / nodes * 4 * Double(parameters)
    }

    /// All nodes' all-reduce bytes over all bytes that all nodes wrote to sockets.
    var bytesRatio: Double {
        let sent = bytesPerNode.reduce(0) { $0 + Double($1) }
        return sent > 0 ? Double(DemoPlan.nodeCount) * bytesAllReduce / sent : 0
    }

    /// Bits that a node sent per parameter and outer round, everything included.
    var bitsPerParameterPerRound: Double {
        let sent = bytesPerNode.reduce(0) { $0 + Double($1) } / Double(max(1, bytesPerNode.count))
        let count = Double(parameters) * roundsPerFragment
        return count > 0 ? sent * 8 / count : 0
    }

    /// The report as JSON.
    var json: JSONValue {
        [
            "parameters": .integer(Int64(parameters)), "tokens": .integer(Int64(tokens)), "seconds": .number(seconds),
            "loss_start": .number(lossStart), "loss_swarm": .number(lossSwarm), "loss_baseline": .number(lossBaseline),
            "loss_alone": lossAlone.map(JSONValue.number) ?? .null, "loss_merged": .number(lossMerged),
            "bytes_per_node": .array(bytesPerNode.map { .integer(Int64(clamping: $0)) }),
            "bits_per_parameter_per_round": .number(bitsPerParameterPerRound),
            "bytes_allreduce_fp32": .number(bytesAllReduce), "bytes_ratio": .number(bytesRatio),
            "utilisation": .array(utilisation.map(JSONValue.number)),
            "utilisation_together": .array(utilisationTogether.map(JSONValue.number)),
            "step_share": .array(stepShare.map(JSONValue.number)),
            "heads_equal": .bool(heads != nil), "heads": .array((heads ?? []).map(JSONValue.text)),
            "join_seconds": .array(joinSeconds.map(JSONValue.number)),
            "catch_up_seconds": catchUpSeconds.map(JSONValue.number) ?? .null,
        ]
    }

    /// The table for people.
    var lines: [String] {
        func list(_ values: [Double], places: Int) -> String {
            values.map { NodeReport.decimal($0, places: places) }.joined(separator: "  ")
        }
        let gap = lossBaseline > 0 ? (lossSwarm / lossBaseline - 1) * 100 : 0
        var rows: [(String, String)] = [
            ("parameters", "\(parameters)"), ("tokens trained", "\(tokens)"),
            ("seconds", NodeReport.decimal(seconds, places: 1)),
            ("held-out loss, start", NodeReport.decimal(lossStart, places: 4)),
            ("held-out loss, swarm", NodeReport.decimal(lossSwarm, places: 4)),
            (
                "held-out loss, one process",
                NodeReport.decimal(lossBaseline, places: 4) + "  (swarm \(NodeReport.decimal(gap, places: 1)) % above)"
            ),
        ]
        if let lossAlone { rows.append(("held-out loss, one node", NodeReport.decimal(lossAlone, places: 4))) }
        rows += [
            ("held-out loss, merged", NodeReport.decimal(lossMerged, places: 4)),
            ("bytes sent per node", bytesPerNode.map { NodeReport.bytes($0) }.joined(separator: "  ")),
            ("bits/parameter/round", NodeReport.decimal(bitsPerParameterPerRound, places: 2)),
            ("float32 all-reduce", NodeReport.bytes(UInt64(bytesAllReduce)) + " per node"),
            ("ratio", NodeReport.decimal(bytesRatio, places: 0) + "x fewer bytes"),
            ("utilisation", list(utilisation, places: 3)),
            ("while all four train", list(utilisationTogether, places: 3)),
            ("time inside steps", list(stepShare, places: 3)),
            (
                "heads",
                heads.map { "equal on all nodes: " + $0.map { String($0.prefix(8)) }.joined(separator: " ") }
                    ?? "DIFFERENT"
            ),
            ("join to contribution, s", list(joinSeconds, places: 1)),
            ("killed node caught up, s", catchUpSeconds.map { NodeReport.decimal($0, places: 1) } ?? "-"),
        ]
        return rows.map { name, value in name + String(repeating: " ", count: max(1, 28 - name.count)) + value }
    }
}
