import Compression
import Glibc
import Logging
import OuterSync
import PeerNet
import Swarm
import Transport

/// Messages that are too long for gossip, kept for those who ask for them by digest; the oldest go first.
actor GossipBodies {
    /// Bodies kept, and what they may weigh together.
    private static let countMax = 256
    private static let bytesMax = 4 << 20

    private var bodies: [Digest: [UInt8]] = [:]
    private var order: [Digest] = []
    private var byteCount = 0

    /// The body of a digest.
    subscript(_ digest: Digest) -> [UInt8]? { bodies[digest] }

    /// Keeps a body.
    func keep(_ body: [UInt8], as digest: Digest) {
        guard bodies[digest] == nil else { return }
        bodies[digest] = body
        order.append(digest)
        byteCount += body.count
        while order.count > Self.countMax || byteCount > Self.bytesMax {
            byteCount -= bodies.removeValue(forKey: order.removeFirst())?.count ?? 0
        }
    }
}

/// What travels by gossip: a message of the swarm itself if it is short, else where to get it.
///
/// A kind byte, then: 1, the message; 2, its BLAKE2b-256 (32 bytes) and its length (4 bytes, little-endian).
enum GossipEnvelope: Hashable, Sendable {
    /// The longest envelope: every member gets it several times over.
    static let byteCountMax = 1024

    case message([UInt8])
    case announcement(Digest, byteCount: Int)

    /// Reads an envelope; nil if it is none.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.byteCountMax else { return nil }
        switch bytes.first {
        case 1 where bytes.count > 1: self = .message(Array(bytes.dropFirst()))
        case 2 where bytes.count == 1 + Digest.byteCount + 4:
            let count = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            guard let digest = Digest(bytes: bytes[1...Digest.byteCount]),
                (Self.byteCountMax...Limits.messageBytesMax).contains(count)
            else { return nil }
            self = .announcement(digest, byteCount: count)
        default: return nil
        }
    }

    /// What is published for a message.
    init(for message: [UInt8]) {
        self =
            message.count < Self.byteCountMax
            ? .message(message) : .announcement(Digest(hashing: message), byteCount: message.count)
    }

    /// The bytes on the wire.
    var encoded: [UInt8] {
        switch self {
        case .message(let message): [1] + message
        case .announcement(let digest, let byteCount):
            [2] + digest.bytes + withUnsafeBytes(of: UInt32(byteCount).littleEndian) { Array($0) }
        }
    }
}

extension NodeDaemon {
    /// Bodies of announced messages: a digest of 32 bytes is answered by the body, or by nothing.
    static let gossipBodyProtocol = "/atoll/gossip-body/1.0.0"

    /// The topic of a branch's rounds; that of the first branch is also where a swarm's members look for each other.
    static func topic(of swarm: Digest, branch: Branch? = nil) throws -> Topic {
        try topic("atoll/\(swarm)/1\(branch.map { "/\($0.id)" } ?? "")")
    }

    /// The topic for what concerns members of all branches.
    static func membersTopic(of swarm: Digest) throws -> Topic { try topic("atoll/\(swarm)/members/1") }

    private static func topic(_ text: String) throws -> Topic {
        guard let topic = Topic(text) else { throw TopicProblem() }
        return topic
    }

    /// A digest in hexadecimal, with a branch's id, is always a topic.
    private struct TopicProblem: Error {}

    /// A number above all that an earlier start used.
    static func wallClockNanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return UInt64(max(0, now.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, now.tv_nsec))
    }

    func publish(_ message: [UInt8], to topic: Topic) async {
        let envelope = GossipEnvelope(for: message)
        if case .announcement(let digest, _) = envelope { await bodies.keep(message, as: digest) }
        do { _ = try await host.publish(envelope.encoded, to: topic) } catch {
            logger.error("a message cannot be published: \(error)")
        }
    }

    /// Takes a gossip message: judged, handled, and only then passed on.
    func received(_ delivery: Gossipsub.Delivery) async {
        guard delivery.topic == topic || delivery.topic == membersTopic else {
            return await host.judge(delivery.id, .ignore)
        }
        switch GossipEnvelope(delivery.data) {
        case .message(let message)?: await judge(message, delivery)
        case .announcement(let digest, let byteCount)?:
            if let body = await bodies[digest] { return await judge(body, delivery) }
            // Aside, so that other events need not wait. Ends when the host stops, which fails its requests; how many
            // there are is bounded by the messages that wait for a verdict.
            Task { await self.fetchBody(digest, byteCount: byteCount, delivery) }
        case nil: await host.judge(delivery.id, .reject)
        }
    }

    /// When another peer is asked for a body that has not come.
    private static let bodyPatience: Duration = .seconds(1)

    private func fetchBody(_ digest: Digest, byteCount: Int, _ delivery: Gossipsub.Delivery) async {
        let (host, bodies, inputs) = (host, bodies, announced)
        let search = BodySearch(
            ask: { await Self.body(digest, byteCount: byteCount, of: $0, over: host) },
            wait: { await host.wait(Self.bodyPatience) })
        // The author has it, and whoever is in the mesh gets it now. Each message begins with another of them.
        let (followers, mesh) = await host.gossipPeers(of: delivery.topic)
        let near = mesh + followers.filter { !mesh.contains($0) }
        let shift = near.isEmpty ? 0 : Int(digest.bytes[0]) % near.count
        var others = near.dropFirst(shift) + near.prefix(shift)
        others.removeAll { $0 == delivery.id.author }
        let keptWord = await search.run(delivery.source, others: [delivery.id.author] + others) { body in
            guard let body else { return await host.judge(delivery.id, .ignore) }
            await bodies.keep(body, as: digest)
            inputs.add((delivery, body))
        }
        guard let keptWord else { return }
        for (peer, score) in bodyFaults.note(delivery.source, keptWord: keptWord, at: clock.now) {
            await host.setApplicationScore(peer, score)
        }
    }

    private static func body(
        _ digest: Digest, byteCount: Int, of peer: PeerID, over host: PeerHost
    ) async -> BodySearch.Answer {
        do throws(RequestError) {
            let body = try await host.request(
                digest.bytes, to: peer, on: gossipBodyProtocol, responseBytesMax: byteCount)
            return body.count == byteCount && Digest(hashing: body) == digest ? .body(body) : .nothing
        } catch {
            switch error {
            case .notConnected, .disconnected, .cancelled, .tooManyWaiting: return .unreachable
            case .protocolRefused, .reset, .responseTooLarge, .stalled, .tooLate: return .nothing
            }
        }
    }

    /// Bodies that were fetched, in the order in which they came.
    func pumpAnnounced() async {
        for await (delivery, body) in announced.stream { await judge(body, delivery) }
    }

    private func judge(_ message: [UInt8], _ delivery: Gossipsub.Delivery) async {
        switch core.judge(message, by: delivery.id.author) {
        case .accept:
            handle(.received(from: delivery.id.author, message: message))
            await host.judge(delivery.id, .accept)
        case .ignore: await host.judge(delivery.id, .ignore)
        case .reject(let reason):
            logger.debug("gossip of \(delivery.id.author.short) refused: \(reason)")
            await host.judge(delivery.id, .reject)
        }
    }
}
