package import JSONText
import PeerNet
import Transport

/// `atoll net dial`: connects to one peer and says what was negotiated.
package struct NetDial: Sendable {
    /// Whom to dial.
    package var address: String
    /// Round trips to measure.
    package var pings: Int
    /// Streams of the echo protocol to open at once.
    package var echoes: Int
    /// A peer to look up in the dialed peer's hash table, and the table's protocol.
    package var sought: String?
    package var table: String

    /// Wraps the fields.
    package init(
        address: String, pings: Int = 3, echoes: Int = 0, sought: String? = nil, table: String = "/ipfs/kad/1.0.0"
    ) {
        self.address = address
        self.pings = pings
        self.echoes = echoes
        self.sought = sought
        self.table = table
    }

    /// Dials, asks and disconnects.
    package func run() async throws(UserError) -> NetDialReport {
        try checkFlag("--ping", pings, in: 0...1000)
        try checkFlag("--echo", echoes, in: 0...200)
        let target = try NetHost.address(address)
        var soughtPeer: PeerID?
        if let sought {
            do { soughtPeer = try PeerID(sought) } catch {
                throw UserError("'\(sought)' is no peer id: \(error)", cure: "Pass 12D3KooW…", exitCode: .usage)
            }
        }
        let host = try await NetHost.make(NetSettings(table: sought == nil ? nil : table))
        _ = try await NetHost.start(host)
        do {
            let report = try await ask(host, target, soughtPeer)
            await host.stop()
            return report
        } catch {
            await host.stop()
            throw UserError(wrapping: error)
        }
    }

    private func ask(_ host: PeerHost, _ target: Multiaddr, _ soughtPeer: PeerID?) async throws -> NetDialReport {
        let clock = ContinuousClock()
        let start = clock.now
        let peer = try await host.connect(to: [target])
        let connectTime = clock.now - start
        var record: IdentifyRecord?
        identifying: while let event = await host.next() {
            switch event {
            case .identified(peer, let found):
                record = found
                break identifying
            case .disconnected(peer, let reason):
                throw UserError(
                    "\(peer) closed the connection: \(UserError.oneLine(reason))",
                    cure: "It may be full, or refuse strangers", exitCode: .unavailable)
            default: continue
            }
        }
        var report = NetDialReport(
            peer: peer, address: target, connectTime: connectTime, record: record ?? IdentifyRecord())
        for _ in 0..<pings { report.roundTrips.append(try await host.ping(peer)) }
        if echoes > 0 { report.echoes = try await echo(host, peer) }
        if let soughtPeer {
            _ = await host.bootstrapTable([PeerContact(peer: peer, addresses: [target.withoutPeerID])])
            guard let contact = await host.findPeer(soughtPeer), !contact.addresses.isEmpty else {
                throw UserError(
                    "nobody in the table knows \(soughtPeer)",
                    cure: "It may be offline, or the table's protocol another than \(table)", exitCode: .unavailable)
            }
            report.found = contact
        }
        await host.disconnect(peer, reason: "done")
        return report
    }

    /// Streams that are all open at once: each is opened and tried, kept, and tried again together with all others. How
    /// many came back as they were.
    private func echo(_ host: PeerHost, _ peer: PeerID) async throws(UserError) -> Int {
        let (opened, openings) = AsyncStream.makeStream(of: Void.self)
        let (gate, opener) = AsyncStream.makeStream(of: Never.self)
        let results = await withTaskGroup(of: Result<Bool, RequestError>.self) { group in
            var opening = opened.makeAsyncIterator()
            for index in 0..<echoes {
                group.addTask {
                    let body = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 1024)
                    do throws(RequestError) {
                        return .success(
                            try await host.withSession(
                                NetHost.echoProtocol, to: peer, messageBytesMax: body.count, within: .seconds(30)
                            ) { (session) throws(RequestError) in
                                try await session.send(body)
                                let first = try await session.receive()
                                openings.yield()
                                for await _ in gate {}
                                try await session.send(body)
                                return try await session.receive() == body && first == body
                            })
                    } catch {
                        openings.yield()
                        return .failure(error)
                    }
                }
                await opening.next()
            }
            opener.finish()
            return await group.reduce(into: []) { $0.append($1) }
        }
        let returned = results.count { (try? $0.get()) == true }
        guard returned == echoes else {
            let reasons = Set(results.map { if case .failure(let error) = $0 { "\(error)" } else { "changed" } })
            throw UserError(
                "\(returned) of \(echoes) streams echoed what they were sent: "
                    + reasons.sorted().joined(separator: ", "),
                cure: "The peer must serve \(NetHost.echoProtocol), as atoll net listen does, on so many streams",
                exitCode: .unavailable)
        }
        return returned
    }
}

/// What a dial found.
package struct NetDialReport: CommandReport {
    let peer: PeerID
    let address: Multiaddr
    let connectTime: Duration
    let record: IdentifyRecord
    var roundTrips: [Duration] = []
    /// Echoes that came back unchanged; nil if none were asked for.
    var echoes: Int?
    var found: PeerContact?

    private var lines: [(String, String)] {
        var lines = [
            ("peer", "\(peer)"), ("address", "\(address)"),
            ("connected in", "\(NodeReport.decimal(connectTime.inSeconds * 1000, places: 1)) ms"),
            // The only ones that this node offers, so what was agreed.
            ("security", "\(NetDialReport.security)"), ("muxer", "\(NetDialReport.muxer)"),
            ("agent", record.agentVersion), ("protocol", record.protocolVersion),
            ("speaks", record.protocols.sorted().joined(separator: " ")),
            ("listens on", record.listenAddresses.map { "\($0)" }.joined(separator: " ")),
            ("sees us at", record.observedAddress.map { "\($0)" } ?? "-"),
        ]
        if !roundTrips.isEmpty {
            let times = roundTrips.map { NodeReport.decimal($0.inSeconds * 1000, places: 2) }
            lines.append(("ping", times.joined(separator: ", ") + " ms"))
        }
        if let echoes { lines.append(("echoes", "\(echoes)")) }
        if let found {
            lines.append(("found", "\(found.peer) at \(found.addresses.map { "\($0)" }.joined(separator: " "))"))
        }
        return lines
    }

    private static let security = "/noise"
    private static let muxer = "/yamux/1.0.0"

    package var text: String {
        lines.map { name, value in
            name + String(repeating: " ", count: max(1, 14 - name.count)) + UserError.oneLine(value)
        }.joined(separator: "\n")
    }

    package var json: JSONValue {
        var json = JSONObject()
        for (key, value) in members { json[key] = value }
        return .object(json)
    }

    private var members: [(JSONString, JSONValue)] {
        var json: [(JSONString, JSONValue)] = [
            ("peer_id", .text("\(peer)")), ("address", .text("\(address)")),
            ("connect_milliseconds", .number(connectTime.inSeconds * 1000)), ("security", .text(Self.security)),
            ("muxer", .text(Self.muxer)), ("agent", .text(record.agentVersion)),
            ("protocol_version", .text(record.protocolVersion)),
            ("protocols", .array(record.protocols.sorted().map { .text($0) })),
            ("addresses", .array(record.listenAddresses.map { .text("\($0)") })),
            ("observed", record.observedAddress.map { .text("\($0)") } ?? .null),
            ("ping_milliseconds", .array(roundTrips.map { .number($0.inSeconds * 1000) })),
        ]
        if let echoes { json.append(("echoes", .integer(Int64(echoes)))) }
        if let found {
            json.append(("found", .text("\(found.peer)")))
            json.append(("found_addresses", .array(found.addresses.map { .text("\($0)") })))
        }
        return json
    }
}
