import Checkpoint
import Compression
import JSONText
import PeerNet
import Transport

/// `atoll net listen`: a bare libp2p node that prints what happens until it is stopped, and publishes and subscribes for
/// others by its control socket.
package actor NetListener {
    private let host: PeerHost
    private let settings: NetSettings
    private let show: @Sendable (NetEvent) -> Void
    private var subscribers: [Int: (topics: Set<Topic>, lines: AsyncStream<[UInt8]>.Continuation)] = [:]
    private var subscriberCount = 0

    /// Messages that may wait for one subscriber.
    private static let waitingLinesMax = 256

    private init(host: PeerHost, settings: NetSettings, show: @escaping @Sendable (NetEvent) -> Void) {
        self.host = host
        self.settings = settings
        self.show = show
    }

    /// Runs until SIGINT or SIGTERM. `show` hears everything, first the addresses.
    package static func run(
        _ settings: NetSettings, show: @escaping @Sendable (NetEvent) -> Void
    ) async throws(UserError) {
        let topics = try settings.topics.map { (name) throws(UserError) in try NetHost.topic(name) }
        let bootstrap = try settings.bootstrap.map { (text) throws(UserError) in try NetHost.address(text) }
        let signals = SignalWaiter()
        await signals.start()
        let host = try await NetHost.make(settings)
        let listener = NetListener(host: host, settings: settings, show: show)
        let bound = try await NetHost.start(host)
        let control = ControlServer(path: settings.controlPath) { line, reply in
            await listener.answer(line, reply: reply)
        }
        do {
            try await control.start()
        } catch {
            await host.stop()
            throw UserError(
                "\(error)", cure: "Pass --control PATH to run a second listener, or stop the first",
                exitCode: .unavailable)
        }
        let addresses = bound.flatMap(InterfaceAddresses.advertised(for:))
        show(.listening(addresses.map { $0.encapsulating(p2p: host.peerID) }))
        do {
            for topic in topics { try await host.subscribe(topic) }
            if settings.discoversLocally { try await host.discoverLocally() }
        } catch {
            await control.stop()
            await host.stop()
            throw UserError(wrapping: error)
        }
        await withDiscardingTaskGroup { group in
            group.addTask {
                _ = await signals.next()
                await host.stop()
            }
            group.addTask { await listener.join(bootstrap) }
            await listener.pump()
        }
        await control.stop()
        await signals.stop()
    }

    /// Connects to the first peers; the table, if there is one, starts from those that name their id.
    private func join(_ bootstrap: [Multiaddr]) async {
        for address in bootstrap {
            do { _ = try await host.connect(to: [address]) } catch TransportError.stopped { return } catch {
                show(NetEvent("unreachable  \(address): \(error)", "dial_failed", [("reason", .text("\(error)"))]))
            }
        }
        guard settings.table != nil else { return }
        let contacts = bootstrap.compactMap { address in
            address.peerID.map { PeerContact(peer: $0, addresses: [address.withoutPeerID]) }
        }
        _ = await host.bootstrapTable(contacts, invited: Set(contacts.map(\.peer)))
    }

    private func pump() async {
        while let event = await host.next() {
            switch event {
            case .connected(let peer, _):
                let status = await host.peers().first { $0.peerID == peer }
                show(.connected(peer, status))
            case .identified(let peer, let record): show(.identified(peer, record))
            case .disconnected(let peer, let reason): show(.disconnected(peer, reason: reason))
            case .dialFailed(let peer, let reason): show(.dialFailed(peer, reason: reason))
            case .discovered(let contact):
                show(.discovered(contact))
                await host.dial(contact.peer, at: contact.addresses, mayBeLocal: true)
            case .gossip(let delivery):
                await host.judge(delivery.id, .accept)
                deliver(delivery)
            case .message: break  // No protocol of plain messages is accepted.
            }
        }
    }

    private func deliver(_ delivery: Gossipsub.Delivery) {
        let event = NetEvent.message(delivery)
        show(event)
        for subscriber in subscribers.values where subscriber.topics.contains(delivery.topic) {
            subscriber.lines.yield(event.json.line)
        }
    }

    // MARK: Control

    private func answer(_ line: [UInt8], reply: ControlReply) async {
        let question = (try? JSONValue(parsing: line))?.object
        do {
            switch question?["command"]?.string?.string {
            case "publish":
                let topic = try NetHost.topic(question?["topic"]?.string?.string ?? "")
                await reply.send(try await publish(question?["path"]?.string?.string ?? "", to: topic).json.line)
            case "subscribe": try await serve(question?["topics"]?.array ?? [], reply)
            case "find":
                let peer = question?["peer"]?.string?.string ?? ""
                await reply.send(try await find(peer).json.line)
            default: throw UserError("the listener does not know this command", cure: "", exitCode: .usage)
            }
        } catch {
            let error = UserError(wrapping: error)
            let answer: JSONValue = [
                "error": .text(error.message), "cure": .text(error.cure),
                "code": .integer(Int64(error.exitCode.rawValue)),
            ]
            await reply.send(answer.line)
        }
    }

    /// Publishes a file of this machine. The socket is its owner's alone, so no path is anybody else's to name.
    private func publish(_ path: String, to topic: Topic) async throws -> NetEvent {
        let bytes = try DurableFile.read(path, byteCountMax: NetPublication.byteCountMax + 1)
        let followers = await host.gossipPeers(of: topic).followers.count
        guard let id = try await host.publish(bytes, to: topic) else {
            throw UserError("the listener is stopping", cure: "Start it again", exitCode: .unavailable)
        }
        return NetEvent(
            "published \(bytes.count) bytes on \(topic) to \(followers) peers", "published",
            [
                ("topic", .text("\(topic)")), ("bytes", .integer(Int64(bytes.count))),
                ("blake2b", .text("\(Digest(hashing: bytes))")), ("sequence", .text("\(id.sequence)")),
                ("followers", .integer(Int64(followers))),
            ])
    }

    /// Sends what arrives on some topics until the client leaves.
    private func serve(_ names: [JSONValue], _ reply: ControlReply) async throws {
        let topics = try names.map { try NetHost.topic($0.string?.string ?? "") }
        for topic in topics { try await host.subscribe(topic) }
        subscriberCount += 1
        let id = subscriberCount
        // A reader that lags loses the oldest lines rather than hold everybody up.
        let (lines, continuation) = AsyncStream.makeStream(
            of: [UInt8].self, bufferingPolicy: .bufferingNewest(Self.waitingLinesMax))
        subscribers[id] = (Set(topics), continuation)
        let event = NetEvent("subscribed", "subscribed", [("topics", .array(topics.map { .text("\($0)") }))])
        await reply.send(event.json.line)
        // Ends with the client, which cancels the task.
        for await line in lines where await !reply.send(line) { break }
        subscribers[id] = nil
        for topic in topics where !isWanted(topic) { await host.unsubscribe(topic) }
    }

    private func isWanted(_ topic: Topic) -> Bool {
        settings.topics.contains("\(topic)") || subscribers.values.contains { $0.topics.contains(topic) }
    }

    private func find(_ text: String) async throws -> NetEvent {
        guard settings.table != nil else {
            throw UserError(
                "the listener takes part in no hash table", cure: "Start it with --dht /ipfs/kad/1.0.0",
                exitCode: .usage)
        }
        let peer: PeerID
        do { peer = try PeerID(text) } catch {
            throw UserError("'\(text)' is no peer id: \(error)", cure: "Pass an id like 12D3KooW…", exitCode: .usage)
        }
        let contact = await host.findPeer(peer)
        guard let contact, !contact.addresses.isEmpty else {
            throw UserError(
                "nobody in the table knows \(peer)", cure: "It may be offline, or the table's protocol another one",
                exitCode: .unavailable)
        }
        let addresses = contact.addresses.map { "\($0)" }
        return NetEvent(
            "\(peer) is at \(addresses.joined(separator: " "))", "found",
            [("peer_id", .text("\(peer)")), ("addresses", .array(addresses.map { .text($0) }))])
    }
}
