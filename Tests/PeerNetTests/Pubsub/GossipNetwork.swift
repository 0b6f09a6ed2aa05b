@testable import PeerNet

/// Many nodes of the shipped state machine on links with latency, some of them played by attackers. One seed, one run.
struct GossipNetwork {
    /// What an attacker does, ten times a second, to all its neighbours.
    enum Attack: CaseIterable {
        /// Well signed messages that every application rejects.
        case invalidMessages
        /// The same ids again and again.
        case wantFlood
        /// Ids of messages that do not exist.
        case haveNothing
        /// PRUNE, then GRAFT within the backoff.
        case graftInBackoff
        /// Copies of messages, before and after they are published, with other content under the same id.
        case forgery
    }

    enum Event {
        case arrive(from: Int, to: Int, bytes: [UInt8])
        case verdict(Int, MessageID, Gossipsub.Verdict)
        case timer(Int)
        case attack(Int)
        case publish(Int)
    }

    static let invalidMark: UInt8 = 0xbd

    let identities: [Identity]
    let numbers: [PeerID: Int]
    let attacks: [Int: Attack]
    var nodes: [Gossipsub] = []
    var links: [Set<Int>]
    private var latencies: [[Int]] = []
    /// What happens at each millisecond.
    private var agenda: [Int: [Event]] = [:]
    private(set) var millisecond = 1000
    private var random: TestRandom
    private var attackSequence: UInt64 = 1 << 40
    /// Ids that attackers heard of from honest nodes.
    private var known: [MessageID] = []

    private(set) var published: [MessageID] = []
    /// How often each node was given each message.
    private(set) var deliveries: [[MessageID: Int]]
    /// Neighbours that each node gave up.
    private(set) var condemned: [Set<Int>]
    private(set) var bytesSent = 0

    var now: Moment { Moment(nanoseconds: UInt64(millisecond) * 1_000_000) }

    init(honest: Int, attacks list: [Attack], dialsPerNode: Int, seed: UInt64) {
        random = TestRandom(state: seed)
        let count = honest + list.count
        identities = (0..<count).map { testIdentity(1000 + $0) }
        numbers = Dictionary(uniqueKeysWithValues: identities.enumerated().map { ($0.element.peerID, $0.offset) })
        attacks = Dictionary(uniqueKeysWithValues: list.enumerated().map { (honest + $0.offset, $0.element) })
        links = Array(repeating: [], count: count)
        deliveries = Array(repeating: [:], count: count)
        condemned = Array(repeating: [], count: count)
        latencies = (0..<count).map { _ in (0..<count).map { _ in Int.random(in: 5...150, using: &random) } }
        let start = now
        for number in 0..<count {
            let configuration = Gossipsub.Configuration(
                identity: identities[number], firstSequence: 1, seed: random.next())
            nodes.append(Gossipsub(configuration: configuration, at: start))
            if attacks[number] == nil {
                try! nodes[number].subscribe(trainingTopic, at: start)
                schedule(.timer(number), after: 1 + Int.random(in: 0..<100, using: &random))
            } else {
                schedule(.attack(number), after: 2000)
            }
        }
        for number in 0..<count {
            while links[number].count < dialsPerNode {
                let other = Int.random(in: 0..<count, using: &random)
                if other != number, !links[number].contains(other) { connect(number, other) }
            }
        }
    }

    mutating func schedule(_ event: Event, after milliseconds: Int) {
        agenda[millisecond + milliseconds, default: []].append(event)
    }

    /// Breaks the link of two honest nodes; what was on the way is lost.
    mutating func cut(_ one: Int, _ other: Int) {
        links[one].remove(other)
        links[other].remove(one)
        nodes[one].peerDisconnected(identities[other].peerID, at: now)
        nodes[other].peerDisconnected(identities[one].peerID, at: now)
        perform(one)
        perform(other)
    }

    mutating func connect(_ dialer: Int, _ listener: Int) {
        links[dialer].insert(listener)
        links[listener].insert(dialer)
        for (one, other) in [(dialer, listener), (listener, dialer)] {
            if attacks[one] == nil {
                let description = GossipPeerDescription(
                    version: .gossipsub12, isOutbound: one == dialer, scoredAddress: "192.0.2.\(other)")
                nodes[one].peerConnected(identities[other].peerID, description, at: now)
                perform(one)
            } else {
                send(PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: true), from: one, to: other)
            }
        }
    }

    private mutating func send(_ rpc: [UInt8], from: Int, to: Int) {
        deliver(Uvarint.encode(rpc.count) + rpc, from: from, to: to)
    }

    private mutating func deliver(_ bytes: [UInt8], from: Int, to: Int) {
        bytesSent += bytes.count
        schedule(.arrive(from: from, to: to, bytes: bytes), after: latencies[min(from, to)][max(from, to)])
    }

    /// Runs for a time; `check` sees the network every second.
    mutating func run(milliseconds: Int, check: (GossipNetwork) -> Void) {
        let end = millisecond + milliseconds
        while millisecond < end {
            for event in agenda.removeValue(forKey: millisecond) ?? [] { handle(event) }
            if millisecond % 1000 == 0 { check(self) }
            millisecond += 1
        }
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .arrive(let from, let to, let bytes):
            guard links[to].contains(from) else { return }
            if attacks[from] == nil { nodes[from].written(bytes.count, to: identities[to].peerID) }
            var reader = PubsubStreamReader()
            reader.append(bytes)
            while let rpc = try! reader.next() {
                if attacks[to] == nil {
                    nodes[to].receive(rpc, from: identities[from].peerID, at: now)
                } else if attacks[from] == nil {
                    learn(rpc)
                }
            }
            perform(from)
            perform(to)
        case .verdict(let number, let id, let verdict):
            nodes[number].validated(id, verdict, at: now)
            perform(number)
        case .timer(let number):
            nodes[number].advance(to: now)
            perform(number)
            let wait = (nodes[number].nextDeadline - now).inSeconds * 1000
            schedule(.timer(number), after: max(1, Int(wait.rounded(.up))))
        case .attack(let number):
            attack(number)
            schedule(.attack(number), after: 100)
        case .publish(let number):
            let data = random.bytes(Int.random(in: 100...2000, using: &random)).map { $0 & 0x7f }
            published.append(try! nodes[number].publish(data, to: trainingTopic, at: now))
            perform(number)
        }
    }

    private mutating func perform(_ number: Int) {
        guard attacks[number] == nil else { return }
        for output in nodes[number].takeOutputs() {
            switch output {
            case .send(let peer, let bytes): deliver(bytes, from: number, to: numbers[peer]!)
            case .deliver(let delivery):
                deliveries[number][delivery.id, default: 0] += 1
                let isValid = delivery.data.first != Self.invalidMark
                schedule(
                    .verdict(number, delivery.id, isValid ? .accept : .reject),
                    after: Int.random(in: 1...20, using: &random))
            case .disconnect(let peer, _):
                let other = numbers[peer]!
                condemned[number].insert(other)
                links[number].remove(other)
                links[other].remove(number)
                nodes[number].peerDisconnected(peer, at: now)
                if attacks[other] == nil {
                    nodes[other].peerDisconnected(identities[number].peerID, at: now)
                    perform(other)
                }
            case .suggestPeers, .connect, .resetStream: break
            }
        }
    }

    // MARK: Attackers

    private mutating func learn(_ bytes: [UInt8]) {
        guard let rpc = try? PubsubRPC(bytes: bytes, dataBytesMax: 1 << 20) else { return }
        for id in rpc.messages.map(\.id) + rpc.have.flatMap(\.ids) where !known.suffix(50).contains(id) {
            known.append(id)
        }
    }

    private mutating func attack(_ number: Int) {
        guard let kind = attacks[number] else { return }
        let identity = identities[number]
        for neighbour in links[number].sorted() {
            switch kind {
            case .invalidMessages:
                attackSequence += 1
                let message = PubsubMessage(
                    signedBy: identity, sequence: attackSequence, topic: trainingTopic, data: [Self.invalidMark])
                send(message.publishField, from: number, to: neighbour)
            case .wantFlood:
                let ids = Array(known.suffix(20))
                if !ids.isEmpty { send(controlRPC(PubsubRPC.Entry.want(ids + ids)), from: number, to: neighbour) }
            case .haveNothing:
                let ids = (0..<20).map { _ in MessageID(author: identity.peerID, sequence: random.next()) }
                send(controlRPC(PubsubRPC.Entry.have(trainingTopic, ids)), from: number, to: neighbour)
            case .graftInBackoff:
                let prune = PubsubRPC.Entry.prune(trainingTopic, peers: [], backoffSeconds: 3600)
                send(controlRPC(prune), from: number, to: neighbour)
                send(controlRPC(PubsubRPC.Entry.graft(trainingTopic)), from: number, to: neighbour)
            case .forgery:
                for author in 0..<4 {
                    // Sequences are foreseeable: the next message of some authors is forged before it exists.
                    let next = published.count { $0.author == identities[author].peerID } + 1
                    let forged = PubsubMessage(
                        author: identities[author].peerID, sequence: UInt64(next), topic: trainingTopic, data: [1],
                        signature: random.bytes(64))
                    send(forged.publishField, from: number, to: neighbour)
                }
            }
        }
    }
}
