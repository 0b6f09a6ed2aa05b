import Compression
package import JSONText
import PeerNet
import Transport

/// What `atoll net` tells as it happens: a line for people and one of JSON for programs.
package struct NetEvent: CommandReport {
    package let text: String
    package let json: JSONValue

    init(_ text: String, _ name: JSONValue, _ members: [(JSONString, JSONValue)]) {
        self.text = text
        var object = JSONObject()
        object["event"] = name
        for (key, value) in members { object[key] = value }
        json = .object(object)
    }

    /// The addresses under which this host can be dialed.
    static func listening(_ addresses: [Multiaddr]) -> NetEvent {
        let texts = addresses.map { "\($0)" }
        return NetEvent(
            texts.joined(separator: "\n"), "listening", [("addresses", .array(texts.map { .text($0) }))])
    }

    /// A peer is authenticated.
    static func connected(_ peer: PeerID, _ status: PeerStatus?) -> NetEvent {
        let address = status.map { "\($0.remoteAddress)" } ?? ""
        let isOutbound = status?.isOutbound ?? false
        return NetEvent(
            "connected    \(peer) \(isOutbound ? "at" : "from") \(address)", "connected",
            [("peer_id", .text("\(peer)")), ("address", .text(address)), ("outbound", .bool(isOutbound))])
    }

    /// A peer said who it is.
    static func identified(_ peer: PeerID, _ record: IdentifyRecord) -> NetEvent {
        NetEvent(
            """
            identified   \(peer) \(record.agentVersion) (\(record.protocolVersion))
              listens on \(record.listenAddresses.map { "\($0)" }.joined(separator: " "))
              speaks     \(record.protocols.joined(separator: " "))
              sees us at \(record.observedAddress.map { "\($0)" } ?? "-")
            """, "identified",
            [
                ("peer_id", .text("\(peer)")), ("agent", .text(record.agentVersion)),
                ("protocol_version", .text(record.protocolVersion)),
                ("addresses", .array(record.listenAddresses.map { .text("\($0)") })),
                ("protocols", .array(record.protocols.map { .text($0) })),
                ("observed", record.observedAddress.map { .text("\($0)") } ?? .null),
            ])
    }

    /// The last connection to a peer is gone.
    static func disconnected(_ peer: PeerID, reason: String) -> NetEvent {
        NetEvent(
            "disconnected \(peer): \(UserError.oneLine(reason))", "disconnected",
            [("peer_id", .text("\(peer)")), ("reason", .text(reason))])
    }

    /// A dial came to nothing.
    static func dialFailed(_ peer: PeerID, reason: String) -> NetEvent {
        NetEvent(
            "unreachable  \(peer): \(UserError.oneLine(reason))", "dial_failed",
            [("peer_id", .text("\(peer)")), ("reason", .text(reason))])
    }

    /// A peer answers on the local network.
    static func discovered(_ contact: PeerContact) -> NetEvent {
        let addresses = contact.addresses.map { "\($0)" }
        return NetEvent(
            "discovered   \(contact.peer) at \(addresses.joined(separator: " "))", "discovered",
            [("peer_id", .text("\(contact.peer)")), ("addresses", .array(addresses.map { .text($0) }))])
    }

    /// Longest content that is shown as it is.
    private static let shownBytesMax = 512

    /// A gossip message. Short printable text is shown, anything else by size and BLAKE2b-256.
    static func message(_ delivery: Gossipsub.Delivery) -> NetEvent {
        let digest = "\(Digest(hashing: delivery.data))"
        let shown = delivery.data.count <= shownBytesMax ? String(validating: delivery.data, as: UTF8.self) : nil
        let content = shown.map { UserError.oneLine($0) } ?? "\(delivery.data.count) bytes, BLAKE2b-256 \(digest)"
        var members: [(JSONString, JSONValue)] = [
            ("topic", .text("\(delivery.topic)")), ("author", .text("\(delivery.id.author)")),
            ("sequence", .text("\(delivery.id.sequence)")), ("from", .text("\(delivery.source)")),
            ("bytes", .integer(Int64(delivery.data.count))), ("blake2b", .text(digest)),
        ]
        if let shown { members.append(("text", .text(shown))) }
        return NetEvent("\(delivery.topic)  \(delivery.id.author): \(content)", "message", members)
    }
}
