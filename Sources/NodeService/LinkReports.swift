import Compression
package import JSONText
import OuterSync
import PeerNet
import Swarm

/// The links to the connected members: `atoll links`.
package struct LinkTableReport: CommandReport {
    /// One link.
    package struct Link: Sendable, Equatable {
        /// Who is at the other end.
        package var peerID: String
        /// What it receives from this node, and this node from it, in kbit/s; nil: not measured yet.
        package var upKilobits: Int64?
        package var downKilobits: Int64?
        /// A ping and its answer.
        package var roundTripMilliseconds: Double?
        /// How this node encodes what it sends there, such as `2 e3m0` or `5 mixed`: version and codecs; and the peer's
        /// table for this node.
        package var table: String?
        package var theirTable: String?
        /// The round of the last contribution that was sent, what it was to take at most, and what it took.
        package var round: Int64?
        package var predictedBytes: Int64?
        package var realBytes: Int64?
    }

    /// In order of the peers' ids.
    package var links: [Link]

    package var text: String {
        guard !links.isEmpty else { return "no member is connected" }
        let rows =
            [["PEER", "UP", "DOWN", "RTT", "TABLE", "THEIRS", "ROUND", "PREDICTED", "REAL"]]
            + links.map { link in
                [
                    link.peerID, Self.rate(link.upKilobits), Self.rate(link.downKilobits),
                    link.roundTripMilliseconds.map { "\(NodeReport.decimal($0, places: 1)) ms" } ?? "-",
                    link.table ?? "-", link.theirTable ?? "-", link.round.map { "\($0)" } ?? "-",
                    Self.bytes(link.predictedBytes), Self.bytes(link.realBytes),
                ]
            }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let padded = zip(row, widths).dropLast().map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return (padded + row.suffix(1)).joined(separator: "  ")
        }.joined(separator: "\n")
    }

    package var json: JSONValue { .array(links.map(\.json)) }

    /// Reads back what `json` gave; nil if it is something else.
    init?(json: JSONValue) {
        guard let values = json.array else { return nil }
        links = values.compactMap(Link.init)
        guard links.count == values.count else { return nil }
    }

    init(_ statuses: [LinkStatus]) {
        links = statuses.map { status in
            Link(
                peerID: status.peer.description,
                upKilobits: status.sentKilobits == 0 ? nil : Int64(status.sentKilobits),
                downKilobits: status.receivedKilobits == 0 ? nil : Int64(status.receivedKilobits),
                roundTripMilliseconds: status.roundTrip.map { $0.inSeconds * 1_000 },
                table: status.table.map(Self.name), theirTable: status.theirTable.map(Self.name),
                round: status.round.map { Int64(clamping: $0.value) },
                predictedBytes: status.predictedBytes.map { Int64($0) }, realBytes: status.realBytes.map { Int64($0) })
        }
    }

    /// Version and codec of a table; E3M0 is what small tiles get beside any other.
    private static func name(_ table: LinkStatus.Table) -> String {
        let codecs = table.codecs.count > 1 ? table.codecs.filter { $0 != .e3m0 } : table.codecs
        return "\(table.version) \(codecs.count == 1 ? CodecName.name(codecs[0]) : "mixed")"
    }

    private static func rate(_ kilobits: Int64?) -> String {
        guard let kilobits else { return "-" }
        return kilobits < 1_000
            ? "\(kilobits) kbit/s" : "\(NodeReport.decimal(Double(kilobits) / 1_000, places: 1)) Mbit/s"
    }

    private static func bytes(_ count: Int64?) -> String { count.map { NodeReport.bytes(UInt64($0)) } ?? "-" }
}

extension LinkTableReport.Link {
    var json: JSONValue {
        [
            "peer_id": .text(peerID), "up_kbits": upKilobits.map(JSONValue.integer) ?? .null,
            "down_kbits": downKilobits.map(JSONValue.integer) ?? .null,
            "rtt_ms": roundTripMilliseconds.map(JSONValue.number) ?? .null,
            "table": table.map(JSONValue.text) ?? .null, "their_table": theirTable.map(JSONValue.text) ?? .null,
            "round": round.map(JSONValue.integer) ?? .null,
            "predicted_bytes": predictedBytes.map(JSONValue.integer) ?? .null,
            "real_bytes": realBytes.map(JSONValue.integer) ?? .null,
        ]
    }

    init?(json: JSONValue) {
        guard let object = json.object, let peerID = object["peer_id"]?.string?.string else { return nil }
        func count(_ key: JSONString) -> Int64? { object[key]?.integer.flatMap { $0 >= 0 ? Int64($0) : nil } }
        self.peerID = peerID
        upKilobits = count("up_kbits")
        downKilobits = count("down_kbits")
        roundTripMilliseconds = object["rtt_ms"]?.double
        table = object["table"]?.string?.string
        theirTable = object["their_table"]?.string?.string
        round = count("round")
        predictedBytes = count("predicted_bytes")
        realBytes = count("real_bytes")
    }
}
