@testable import PeerNet

/// The identity number `index` of the tests.
func testIdentity(_ index: Int) -> Identity {
    var seed = [UInt8](repeating: 7, count: 32)
    for byte in 0..<8 { seed[byte] = UInt8(truncatingIfNeeded: index >> (8 * byte)) }
    return Identity(seed: seed)!
}

let trainingTopic = Topic("training")!

/// An RPC with these control entries.
func controlRPC(_ entries: [UInt8]...) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.append(entries.flatMap { $0 }, field: 3)
    return writer.bytes
}

/// One node under test; its peers are played by the test, and time moves by hand.
struct GossipHarness {
    /// What the node did: RPCs merged per peer, and the rest.
    struct Actions {
        var rpcs: [PeerID: PubsubRPC] = [:]
        var sentBytes: [PeerID: [Int]] = [:]
        var deliveries: [Gossipsub.Delivery] = []
        var others: [Gossipsub.Output] = []

        /// Peers that got a GRAFT of the topic.
        var grafted: [PeerID] {
            rpcs.filter { $0.value.graft.contains(trainingTopic) }.keys.sorted()
        }
        var pruned: [PeerID] {
            rpcs.filter { $0.value.prune.contains { $0.topic == trainingTopic } }.keys.sorted()
        }
        /// Peers that got a message.
        func receivers(of id: MessageID) -> [PeerID] {
            rpcs.filter { $0.value.messages.contains { $0.id == id } }.keys.sorted()
        }
        /// Peers that were to be disconnected.
        var disconnected: [PeerID] {
            others.compactMap { if case .disconnect(let peer, _) = $0 { peer } else { nil } }
        }
    }

    let identity = testIdentity(0)
    var node: Gossipsub
    var now = Moment(nanoseconds: 1_000_000_000)
    var sequence: UInt64 = 0
    /// Whether bytes are reported as written at once.
    var writes = true

    init(_ change: (inout Gossipsub.Configuration) -> Void = { _ in }) {
        var configuration = Gossipsub.Configuration(identity: identity, firstSequence: 1, seed: 1)
        change(&configuration)
        node = Gossipsub(configuration: configuration, at: now)
    }

    /// Connects peer number `index`, which follows the topic.
    @discardableResult mutating func connect(
        _ index: Int, version: PubsubProtocol = .gossipsub12, isOutbound: Bool = false, group: String? = nil,
        follows: Bool = true
    ) -> PeerID {
        let peer = testIdentity(index).peerID
        node.peerConnected(
            peer, GossipPeerDescription(version: version, isOutbound: isOutbound, scoredAddress: group), at: now)
        if follows {
            node.receive(PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: true), from: peer, at: now)
        }
        return peer
    }

    mutating func receive(_ rpc: [UInt8], from peer: PeerID) { node.receive(rpc, from: peer, at: now) }

    /// A fresh message of peer number `author`.
    mutating func message(by author: Int, topic: Topic = trainingTopic, bytes: Int = 5) -> PubsubMessage {
        sequence += 1
        return PubsubMessage(
            signedBy: testIdentity(author), sequence: sequence, topic: topic,
            data: [UInt8](repeating: UInt8(truncatingIfNeeded: sequence), count: bytes))
    }

    /// Takes what the node did.
    mutating func take() -> Actions {
        var actions = Actions()
        var outputs = node.takeOutputs()
        while !outputs.isEmpty {
            for output in outputs {
                switch output {
                case .send(let peer, let bytes):
                    actions.sentBytes[peer, default: []].append(bytes.count)
                    var reader = PubsubStreamReader()
                    reader.append(bytes)
                    while let rpc = try! reader.next() {
                        actions.rpcs[peer, default: PubsubRPC()].merge(
                            try! PubsubRPC(bytes: rpc, dataBytesMax: 1 << 20))
                    }
                    if writes { node.written(bytes.count, to: peer) }
                case .deliver(let delivery): actions.deliveries.append(delivery)
                case .suggestPeers, .connect, .resetStream, .disconnect: actions.others.append(output)
                }
            }
            outputs = node.takeOutputs()
        }
        return actions
    }

    /// Lets time pass to the next heartbeat and takes what the node did.
    @discardableResult mutating func heartbeat() -> Actions {
        now = node.nextDeadline
        node.advance(to: now)
        return take()
    }

    /// Lets heartbeats pass for at least a time.
    mutating func pass(_ duration: Duration) {
        let end = now + duration
        while now < end { heartbeat() }
    }
}

extension PubsubRPC {
    var messages: [PubsubMessage] {
        published.compactMap { if case .message(let message) = $0 { message } else { nil } }
    }

    mutating func merge(_ other: PubsubRPC) {
        subscriptions += other.subscriptions
        published += other.published
        have += other.have
        want += other.want
        graft += other.graft
        prune += other.prune
        dontWant += other.dontWant
    }
}
