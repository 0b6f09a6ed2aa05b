@testable import PeerNet

/// Many tables in one process on a virtual clock: connections with latency, nodes that die, and nodes that lie.
struct KademliaNetwork {
    /// What a lying node puts into its answers.
    enum Lie: Int, CaseIterable {
        /// Invented peers, the closest to the key out of many.
        case inventedClose
        /// Invented peers whose addresses are of one IP group.
        case inventedInOneGroup
        /// The asker, again and again.
        case asker
        /// The right peers at wrong addresses.
        case wrongAddresses
    }

    struct Node {
        var kademlia: Kademlia
        let contact: PeerContact
        var lie: Lie?
        var isAlive = true
        /// Indices of connected nodes, the oldest connection first.
        var connected: [Int] = []
        var wakeAt: Moment?
        var requestCount = 0
        /// Outcomes not looked at yet.
        var outcomes: [Kademlia.LookupID: Kademlia.Outcome] = [:]
    }

    private enum Event {
        case request(Kademlia.Request, from: Int, to: Int)
        case answer([UInt8], Kademlia.RequestToken, to: Int)
        case delivered(Kademlia.RequestToken, to: Int)
        case failure(Kademlia.RequestToken, to: Int)
        case wake(Int)
    }

    var nodes: [Node] = []
    var now = Moment(nanoseconds: 1_000_000_000)
    var random: TestRandom
    private var indices: [PeerID: Int] = [:]
    private var queue = EventHeap<Event>()
    /// Connections that a node keeps; beyond, the oldest is closed.
    let connectionsMax = 60

    init(seed: UInt64) { random = TestRandom(state: seed) }

    var live: [Int] { nodes.indices.filter { nodes[$0].isAlive } }

    /// A peer id that nobody holds the key of; enough here, where nothing is signed.
    static func peer(_ random: inout TestRandom) -> PeerID { PeerID(publicKey: random.bytes(32))! }

    /// Adds a node that joins by `contact`; one in ten shares its IP group with the one before.
    mutating func join(
        by contact: Int?, lie: Lie? = nil, mode: Kademlia.Mode = .server,
        validator: any RecordValidator = PublicKeyValidator()
    ) -> Int {
        let index = nodes.count
        let group = index % 10 == 9 ? index - 1 : index
        let address = Multiaddr(
            ipBytes: [UInt8(20 + group >> 8), UInt8(group & 255), 7, UInt8(index % 200 + 1)], tcpPort: 4001)!
        let peer = Self.peer(&random)
        let kademlia = Kademlia(
            configuration: .init(
                peer: peer, addresses: [address], mode: mode, validator: validator, seed: random.next()), at: now)
        nodes.append(Node(kademlia: kademlia, contact: PeerContact(peer: peer, addresses: [address]), lie: lie))
        indices[peer] = index
        if let contact { _ = nodes[index].kademlia.bootstrap([nodes[contact].contact], at: now) }
        perform(index)
        return index
    }

    mutating func kill(_ index: Int) {
        nodes[index].isAlive = false
        for other in nodes[index].connected { disconnect(other, index) }
        nodes[index].connected = []
    }

    /// Runs a command on a node; nil if it was refused.
    mutating func command(
        _ index: Int, _ body: (inout Kademlia, Moment) -> Kademlia.LookupID?
    ) -> Kademlia.LookupID? {
        let id = body(&nodes[index].kademlia, now)
        perform(index)
        return id
    }

    /// Runs a command on a node until its outcome is there.
    mutating func outcome(
        _ index: Int, _ body: (inout Kademlia, Moment) -> Kademlia.LookupID?
    ) -> Kademlia.Outcome? {
        guard let id = command(index, body) else { return nil }
        return wait(for: id, of: index)
    }

    /// The outcome of a command, once it is there.
    mutating func wait(for id: Kademlia.LookupID, of index: Int) -> Kademlia.Outcome? {
        let end = now + .seconds(300)
        while now < end, nodes[index].outcomes[id] == nil { run(for: .milliseconds(50)) }
        return nodes[index].outcomes.removeValue(forKey: id)
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let (at, event) = queue.pop(until: end) {
            now = at
            handle(event)
        }
        now = end
    }

    /// The live servers closest to a key, without `asker`.
    func closest(to key: [UInt8], without asker: Int) -> [PeerID] {
        let target = KademliaKey(hashing: key)
        return live.filter { $0 != asker && nodes[$0].kademlia.configuration.mode == .server }
            .map { ($0, KademliaKey(nodes[$0].contact.peer).distance(to: target)) }
            .sorted { $0.1 < $1.1 }.prefix(KademliaLimits.bucketSize).map { nodes[$0.0].contact.peer }
    }

    /// Peers in tables that no node is.
    var inventedPeersInTables: Int {
        nodes.reduce(0) { $0 + $1.kademlia.contacts.count { indices[$0.peer] == nil } }
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .request(let request, let from, let to):
            guard nodes[from].isAlive, nodes[to].isAlive else { return }
            connect(from, to)
            if let bytes = answer(to, request.bytes, from: from) {
                queue.push(.answer(bytes, request.token, to: from), at: now + latency(from, to))
            } else if request.awaitsAnswer {
                queue.push(.failure(request.token, to: from), at: now + latency(from, to))
            } else {
                queue.push(.delivered(request.token, to: from), at: now + latency(from, to))
            }
            perform(to)
            perform(from)
        case .answer(let bytes, let token, let to):
            guard nodes[to].isAlive else { return }
            nodes[to].kademlia.receive(bytes, for: token, at: now)
            perform(to)
        case .delivered(let token, let to):
            nodes[to].kademlia.delivered(token, at: now)
            perform(to)
        case .failure(let token, let to):
            nodes[to].kademlia.failed(token, at: now)
            perform(to)
        case .wake(let index):
            guard nodes[index].isAlive, nodes[index].wakeAt == now else { return }
            nodes[index].wakeAt = nil
            nodes[index].kademlia.advance(at: now)
            perform(index)
        }
    }

    private mutating func answer(_ index: Int, _ bytes: [UInt8], from asker: Int) -> [UInt8]? {
        let contact = nodes[asker].contact
        if let lie = nodes[index].lie, let request = try? KademliaMessage(decoding: bytes),
            [.findNode, .getProviders, .getValue].contains(request.kind)
        {
            var message = KademliaMessage(request.kind)
            message.closerPeers = lies(lie, about: request.key, to: asker)
            if request.kind == .getProviders {
                message.providerPeers = (0..<64).map { _ in invented(Self.peer(&random)) }
            }
            return message.encoded()
        }
        let answer = nodes[index].kademlia.answer(
            bytes, from: contact.peer, remoteAddress: contact.addresses.first, at: now)
        if case .message(let bytes) = answer { return bytes }
        return nil
    }

    private mutating func lies(_ lie: Lie, about key: [UInt8], to asker: Int) -> [KademliaMessage.Peer] {
        let target = KademliaKey(hashing: key)
        switch lie {
        case .asker: return Array(repeating: .init(contact: nodes[asker].contact), count: 20)
        case .wrongAddresses: return closest(to: key, without: asker).map { invented($0) }
        case .inventedClose, .inventedInOneGroup:
            let peers = (0..<100).map { _ in Self.peer(&random) }.map { ($0, KademliaKey($0).distance(to: target)) }
            return peers.sorted { $0.1 < $1.1 }.prefix(20).map {
                invented($0.0, group: lie == .inventedInOneGroup ? [9, 9, 9] : nil)
            }
        }
    }

    /// A peer at an address where nobody is.
    private mutating func invented(_ peer: PeerID, group: [UInt8]? = nil) -> KademliaMessage.Peer {
        let group = group ?? [UInt8(60 + random.next() % 60)] + random.bytes(2)
        let address = Multiaddr(ipBytes: group + random.bytes(1), tcpPort: 4001)!
        return .init(contact: PeerContact(peer: peer, addresses: [address]))
    }

    private mutating func connect(_ from: Int, _ to: Int) {
        guard !nodes[from].connected.contains(to) else { return }
        for (index, other) in [(from, to), (to, from)] {
            nodes[index].connected.append(other)
            var record = IdentifyRecord()
            record.listenAddresses = nodes[other].contact.addresses
            if nodes[other].kademlia.configuration.mode == .server { record.protocols = [Kademlia.atollProtocol] }
            nodes[index].kademlia.identified(
                nodes[other].contact.peer, record: record, remoteAddress: nodes[other].contact.addresses.first, at: now)
        }
        for index in [from, to] where nodes[index].connected.count > connectionsMax {
            let oldest = nodes[index].connected[0]
            disconnect(index, oldest)
            disconnect(oldest, index)
        }
    }

    private mutating func disconnect(_ index: Int, _ other: Int) {
        nodes[index].connected.removeAll { $0 == other }
        nodes[index].kademlia.disconnected(nodes[other].contact.peer)
    }

    /// Performs a node's outputs and sets its timer.
    private mutating func perform(_ index: Int) {
        guard nodes[index].isAlive else { return }
        for output in nodes[index].kademlia.takeOutputs() {
            switch output {
            case .send(let request):
                nodes[index].requestCount += 1
                send(request, from: index)
            case .abandon, .providersFound: break
            case .finished(let id, let outcome): nodes[index].outcomes[id] = outcome
            }
        }
        let deadline = max(nodes[index].kademlia.nextDeadline, now)
        if nodes[index].wakeAt.map({ deadline < $0 }) ?? true {
            nodes[index].wakeAt = deadline
            queue.push(.wake(index), at: deadline)
        }
    }

    private mutating func send(_ request: Kademlia.Request, from index: Int) {
        if let to = indices[request.contact.peer], nodes[to].isAlive,
            nodes[index].connected.contains(to) || request.contact.addresses.contains(nodes[to].contact.addresses[0])
        {
            queue.push(.request(request, from: index, to: to), at: now + latency(index, to))
        } else if random.next() % 2 == 0 {
            // Refused at once; otherwise nothing ever comes back.
            queue.push(.failure(request.token, to: index), at: now + .milliseconds(300))
        }
    }

    /// From 10 to 150 ms, the same in both directions.
    private func latency(_ a: Int, _ b: Int) -> Duration {
        var mixed = TestRandom(state: UInt64(min(a, b)) << 32 | UInt64(max(a, b)))
        return .milliseconds(10 + Int(mixed.next() % 140))
    }
}

/// Events by time, those of one time in the order of their arrival.
struct EventHeap<Event> {
    private var items: [(at: Moment, number: Int, event: Event)] = []
    private var count = 0

    mutating func push(_ event: Event, at moment: Moment) {
        count += 1
        items.append((moment, count, event))
        var child = items.count - 1
        while child > 0, precedes(child, (child - 1) / 2) {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop(until end: Moment) -> (at: Moment, event: Event)? {
        guard let first = items.first, first.at <= end else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && precedes(child, least) {
                least = child
            }
            if least == parent { return (first.at, first.event) }
            items.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        (items[a].at, items[a].number) < (items[b].at, items[b].number)
    }
}
