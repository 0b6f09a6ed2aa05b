package import JSONText

/// The peers that a node is connected to: `atoll peers`.
package struct PeerTable: CommandReport {
    /// In order of their ids.
    package var peers: [NodeReport.Peer]

    package var text: String {
        guard !peers.isEmpty else { return "no peer is connected" }
        let rows =
            [["PEER", "ADDRESS", "DIALED", "RTT", "SENT", "RECEIVED", "AGENT"]]
            + peers.map { peer in
                [
                    peer.peerID, peer.address, peer.isOutbound ? "by us" : "by it",
                    peer.roundTripMilliseconds.map { "\(NodeReport.decimal($0, places: 1)) ms" } ?? "-",
                    NodeReport.bytes(peer.bytesSent), NodeReport.bytes(peer.bytesReceived), peer.agent,
                ]
            }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let padded = zip(row, widths).dropLast().map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return (padded + row.suffix(1)).joined(separator: "  ")
        }.joined(separator: "\n")
    }

    package var json: JSONValue {
        .array(peers.map(\.json))
    }
}

/// One answered ping.
package struct PingAnswer: Sendable {
    /// Whose answer it is.
    package var peerID: String
    /// The round trip.
    package var milliseconds: Double
    /// The line that is printed at once.
    package var line: String { "\(peerID): \(NodeReport.decimal(milliseconds, places: 2)) ms" }
}

/// Several pings of one peer: the end of `atoll ping`.
package struct PingSummary: CommandReport {
    /// The answers, in order; at least one.
    package var answers: [PingAnswer]

    private var sorted: [Double] { answers.map(\.milliseconds).sorted() }
    private var median: Double { sorted[sorted.count / 2] }

    package var text: String {
        let figures = [sorted[0], median, sorted[sorted.count - 1]].map { NodeReport.decimal($0, places: 2) }
        return "\(answers.count) round trips: least \(figures[0]), median \(figures[1]), greatest \(figures[2]) ms"
    }

    package var json: JSONValue {
        [
            "peer_id": .text(answers[0].peerID), "milliseconds": .array(answers.map { .number($0.milliseconds) }),
            "least": .number(sorted[0]), "median": .number(median), "greatest": .number(sorted[sorted.count - 1]),
        ]
    }
}
