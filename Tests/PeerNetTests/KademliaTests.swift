import Testing

@testable import PeerNet

/// The output or answer that a test goes on with did not come.
struct Missing: Error {}

/// One table: what it sends, lists, answers and refuses.
@Suite struct KademliaTests {
    static let start = Moment(nanoseconds: 1_000_000_000)
    static let own = PeerContact(peer: peer(0), addresses: [address(0)])

    static func peer(_ number: Int) -> PeerID {
        var random = TestRandom(state: UInt64(number))
        return KademliaNetwork.peer(&random)
    }

    static func address(_ number: Int) -> Multiaddr {
        Multiaddr(ipBytes: [20, UInt8(number >> 8), UInt8(number & 255), 1], tcpPort: 4001)!
    }

    static func contact(_ number: Int) -> PeerContact { PeerContact(peer: peer(number), addresses: [address(number)]) }

    static func kademlia(_ mode: Kademlia.Mode = .server, isLocalNetwork: Bool = false) -> Kademlia {
        Kademlia(
            configuration: .init(
                peer: own.peer, addresses: own.addresses, mode: mode, isLocalNetwork: isLocalNetwork,
                validator: VersionValidator(), seed: 1), at: start)
    }

    static func identify(
        _ kademlia: inout Kademlia, _ contact: PeerContact, serves: Bool = true, at now: Moment = start
    ) {
        var record = IdentifyRecord()
        record.listenAddresses = contact.addresses
        record.protocols = serves ? [Kademlia.atollProtocol] : []
        kademlia.identified(contact.peer, record: record, remoteAddress: contact.addresses.first, at: now)
    }

    static func requests(_ kademlia: inout Kademlia) -> [Kademlia.Request] {
        kademlia.takeOutputs().compactMap { if case .send(let request) = $0 { request } else { nil } }
    }

    /// A table with these peers in it.
    static func filled(_ numbers: Range<Int>, isLocalNetwork: Bool = false) -> Kademlia {
        var kademlia = kademlia(isLocalNetwork: isLocalNetwork)
        for number in numbers {
            identify(&kademlia, contact(number))
            for request in requests(&kademlia) {
                kademlia.receive(KademliaMessage(.findNode).encoded(), for: request.token, at: start)
            }
        }
        return kademlia
    }

    @Test func aPeerIsListedOnceItServesAndAnswered() throws {
        var kademlia = Self.kademlia()
        Self.identify(&kademlia, Self.contact(1), serves: false)
        #expect(kademlia.takeOutputs().isEmpty)
        Self.identify(&kademlia, Self.contact(1))
        let sent = Self.requests(&kademlia)
        let check = try #require(sent.first)
        #expect(check.contact == Self.contact(1) && check.awaitsAnswer)
        #expect(check.bytes == KademliaMessage(.findNode, key: Self.own.peer.bytes).encoded())
        #expect(kademlia.peerCount == 0)
        kademlia.receive(KademliaMessage(.findNode).encoded(), for: check.token, at: Self.start)
        #expect(kademlia.contacts == [Self.contact(1)])
        // It becomes a client.
        Self.identify(&kademlia, Self.contact(1), serves: false)
        #expect(kademlia.peerCount == 0)
    }

    @Test(arguments: [[0xff], KademliaMessage(.getValue).encoded()]) func nonsenseIsNoAnswer(bytes: [UInt8]) throws {
        var kademlia = Self.kademlia()
        Self.identify(&kademlia, Self.contact(1))
        let sent = Self.requests(&kademlia)
        let check = try #require(sent.first)
        kademlia.receive(bytes, for: check.token, at: Self.start)
        #expect(kademlia.peerCount == 0)
        // The token is spent.
        kademlia.receive(KademliaMessage(.findNode).encoded(), for: check.token, at: Self.start)
        #expect(kademlia.peerCount == 0)
    }

    @Test func anUnansweredRequestEndsByItself() throws {
        var kademlia = Self.kademlia()
        let started = kademlia.bootstrap([Self.contact(1)], at: Self.start)
        let id = try #require(started)
        let sent = Self.requests(&kademlia)
        let request = try #require(sent.first)
        let deadline = Self.start + KademliaLimits.requestTimeout
        #expect(kademlia.nextDeadline == deadline)
        kademlia.advance(at: deadline)
        let outputs = kademlia.takeOutputs()
        #expect(outputs == [.abandon(request.token), .finished(id, .closest([]))])
        // With an empty table the next try comes soon, and asks the same contact.
        kademlia.advance(at: deadline + .seconds(34))
        #expect(Self.requests(&kademlia).map(\.contact) == [Self.contact(1)])
    }

    @Test func aDialThatThisNodeCouldNotMakeCostsThePeerNothing() {
        var kademlia = Self.filled(1..<6)
        for blamesPeer in [false, true] {
            for _ in 0..<2 {
                // Somebody answers, so the uplink is up.
                _ = kademlia.findClosest(to: [1], at: Self.start)
                for (index, request) in Self.requests(&kademlia).enumerated() {
                    if index == 0 {
                        kademlia.receive(KademliaMessage(.findNode).encoded(), for: request.token, at: Self.start)
                    } else {
                        kademlia.failed(request.token, blamesPeer: blamesPeer, at: Self.start)
                    }
                }
            }
            // Failed once, a peer is told to nobody, and connected servers are asked all the same; failed twice, it
            // goes.
            #expect(kademlia.peerCount == (blamesPeer ? 1 : 5))
        }
    }

    @Test func answersHoldTheClosestPeersButNotTheAsker() throws {
        var kademlia = Self.filled(1..<60)
        let key = Self.peer(500).bytes
        let target = KademliaKey(hashing: key)
        let listed = kademlia.contacts.sorted {
            KademliaKey($0.peer).distance(to: target) < KademliaKey($1.peer).distance(to: target)
        }
        let asker = listed[0].peer
        let answer = kademlia.answer(
            KademliaMessage(.findNode, key: key).encoded(), from: asker, remoteAddress: nil, at: Self.start)
        guard case .message(let bytes) = answer else { throw Missing() }
        let message = try KademliaMessage(decoding: bytes)
        #expect(message.kind == .findNode)
        #expect(message.closerPeers.map(\.contact) == Array(listed[1...20]))
        // A connected client is told to whom asks for it, and to nobody else.
        Self.identify(&kademlia, Self.contact(500), serves: false)
        guard
            case .message(let found) = kademlia.answer(
                KademliaMessage(.findNode, key: key).encoded(), from: asker, remoteAddress: nil, at: Self.start)
        else { throw Missing() }
        let closer = try KademliaMessage(decoding: found).closerPeers
        #expect(closer.count == 20 && closer[0] == .init(contact: Self.contact(500), isConnected: true))
    }

    @Test func aClientAnswersNothing() throws {
        var kademlia = Self.kademlia(.client)
        let request = KademliaMessage(.findNode, key: [1]).encoded()
        #expect(
            kademlia.answer(request, from: Self.peer(1), remoteAddress: nil, at: Self.start) == .refused(.notServing))
        kademlia.setMode(.server)
        guard case .message = kademlia.answer(request, from: Self.peer(1), remoteAddress: nil, at: Self.start)
        else { throw Missing() }
    }

    @Test func onlyOwnProviderRecordsAreKept() throws {
        var kademlia = Self.kademlia()
        let key = Kademlia.rendezvousKey("a")
        func add(_ contact: PeerContact, from peer: PeerID, key: [UInt8]) -> Kademlia.Answer {
            var message = KademliaMessage(.addProvider, key: key)
            message.providerPeers = [.init(contact: contact)]
            return kademlia.answer(message.encoded(), from: peer, remoteAddress: nil, at: Self.start)
        }
        #expect(add(Self.contact(1), from: Self.peer(2), key: key) == .refused(.notOwnProvider))
        #expect(add(Self.contact(1), from: Self.peer(1), key: []) == .refused(.keyInvalid))
        #expect(add(Self.contact(1), from: Self.peer(1), key: [UInt8](repeating: 1, count: 81)) == .refused(.malformed))
        #expect(add(Self.contact(1), from: Self.peer(1), key: key) == .none)
        #expect(add(Self.contact(1), from: Self.peer(1), key: key) == .none)
        // Loopback is a lure on the public network.
        let lure = PeerContact(peer: Self.peer(3), addresses: [try Multiaddr("/ip4/127.0.0.1/tcp/22")])
        #expect(add(lure, from: Self.peer(3), key: key) == .none)
        let get = KademliaMessage(.getProviders, key: key).encoded()
        func providers(at now: Moment) throws -> [PeerContact] {
            guard case .message(let bytes) = kademlia.answer(get, from: Self.peer(9), remoteAddress: nil, at: now)
            else { return [] }
            return try KademliaMessage(decoding: bytes).providerPeers.map(\.contact)
        }
        let bare = PeerContact(peer: Self.peer(3), addresses: [])
        #expect(try providers(at: Self.start) == [bare, Self.contact(1)])
        // Addresses are told for a day, the record for two.
        let hours = { (count: Int) in Self.start + .seconds(count * 3600) }
        #expect(try providers(at: hours(25)) == [bare, PeerContact(peer: Self.peer(1), addresses: [])])
        #expect(try providers(at: hours(48)).isEmpty)
        kademlia.advance(at: hours(48))
        #expect(kademlia.storedCounts.providerRecords == 0)
    }

    @Test func valuesAreValidatedAndOlderOnesRefused() throws {
        var kademlia = Self.kademlia()
        func put(_ value: [UInt8], _ key: String, recordKey: String? = nil) -> Kademlia.Answer {
            var message = KademliaMessage(.putValue, key: Array(key.utf8))
            message.record = .init(key: Array((recordKey ?? key).utf8), value: value)
            return kademlia.answer(message.encoded(), from: Self.peer(1), remoteAddress: nil, at: Self.start)
        }
        #expect(put([1], "/pk/x") == .refused(.valueRefused))
        #expect(put([1], "/v/a", recordKey: "/v/b") == .refused(.keyInvalid))
        guard case .message = put([2], "/v/a"), case .message = put([2], "/v/a"), case .message = put([3], "/v/a")
        else { throw Missing() }
        #expect(put([2], "/v/a") == .refused(.valueRefused))
        #expect(kademlia.storedCounts.values == 1)
        let get = KademliaMessage(.getValue, key: Array("/v/a".utf8)).encoded()
        guard case .message(let bytes) = kademlia.answer(get, from: Self.peer(1), remoteAddress: nil, at: Self.start)
        else { throw Missing() }
        #expect(try KademliaMessage(decoding: bytes).record?.value == [3])
    }

    @Test func publicKeysAreTheirOwnProof() throws {
        let validator = PublicKeyValidator()
        let key = PublicKeyValidator.key(of: Self.peer(1))
        #expect(validator.accepts(Self.peer(1).publicKeyProtobuf, for: key))
        #expect(!validator.accepts(Self.peer(2).publicKeyProtobuf, for: key))
        #expect(!validator.accepts(Self.peer(1).publicKeyProtobuf, for: Array(key.dropLast())))
        #expect(!validator.accepts(Self.peer(1).publicKeyProtobuf, for: Array("/ipns/".utf8) + Self.peer(1).bytes))
    }

    @Test func storesAreBounded() {
        let own = KademliaKey(Self.own.peer)
        var providers = ProviderStore(own: own)
        var random = TestRandom(state: 41)
        for number in 0..<300 {
            providers.add(Self.contact(number), groups: [.ip4(UInt32(number))], for: [1], at: Self.start)
        }
        #expect(providers.recordCount == KademliaLimits.providersPerKeyMax)
        #expect(providers.providers(of: [1], at: Self.start).first == Self.contact(299))
        for number in 300..<310 {
            providers.add(Self.contact(number), groups: [.ip4(1)], for: [2], at: Self.start)
        }
        #expect(providers.providers(of: [2], at: Self.start).count == KademliaLimits.providersPerGroupMax)
        for _ in 0..<1000 { providers.add(Self.contact(1), groups: [], for: random.bytes(34), at: Self.start) }
        #expect(providers.keyCount <= KademliaLimits.keysPerProviderMax + 2)
        var keys: [[UInt8]] = []
        for number in 0..<(KademliaLimits.providerKeysMax + 500) {
            keys.append(random.bytes(34))
            providers.add(Self.contact(number % 100 + 1000), groups: [], for: keys[number], at: Self.start)
        }
        #expect(providers.keyCount == KademliaLimits.providerKeysMax)
        providers.expire(at: Self.start + .seconds(48 * 3600))
        #expect(providers.keyCount == 0 && providers.recordCount == 0)

        var values = ValueStore(own: own)
        for _ in 0..<3000 {
            _ = values.put(random.bytes(Int(random.next() % 8192)), for: random.bytes(34), at: Self.start)
            #expect(values.count <= KademliaLimits.valuesMax && values.byteCount <= KademliaLimits.valuesBytesMax)
        }
        #expect(values.byteCount > KademliaLimits.valuesBytesMax / 2)
        values.expire(at: Self.start + .seconds(48 * 3600))
        #expect(values.count == 0 && values.byteCount == 0)
    }

    @Test func oneGroupFillsNoTable() {
        var kademlia = Self.kademlia()
        for number in 1..<200 {
            let address = Multiaddr(ipBytes: [20, 1, 1, UInt8(number)], tcpPort: 4001)!
            // What it says about itself does not matter: its connection comes from there.
            var record = IdentifyRecord()
            record.listenAddresses = [Self.address(number)]
            record.protocols = [Kademlia.atollProtocol]
            kademlia.identified(Self.peer(number), record: record, remoteAddress: address, at: Self.start)
            for request in Self.requests(&kademlia) {
                kademlia.receive(KademliaMessage(.findNode).encoded(), for: request.token, at: Self.start)
            }
        }
        #expect(kademlia.peerCount == KademliaLimits.groupInTableMax)
        #expect(kademlia.acquaintances.count == 199)
    }

    @Test func loopbackIsExemptOnALocalNetworkAlone() throws {
        for isLocalNetwork in [true, false] {
            var kademlia = Self.kademlia(isLocalNetwork: isLocalNetwork)
            for number in 1..<10 {
                let address = Multiaddr(ipBytes: [127, 0, 0, 1], tcpPort: UInt16(number))!
                Self.identify(&kademlia, PeerContact(peer: Self.peer(number), addresses: [address]))
                for request in Self.requests(&kademlia) {
                    kademlia.receive(KademliaMessage(.findNode).encoded(), for: request.token, at: Self.start)
                }
            }
            #expect(kademlia.peerCount == (isLocalNetwork ? 9 : 0))
        }
    }

    @Test func whatIsProvidedIsPublishedAgain() throws {
        var kademlia = Self.filled(1..<6)
        let key = Kademlia.rendezvousKey("a")
        func settle(at now: Moment) -> [KademliaMessage.Kind] {
            var kinds: [KademliaMessage.Kind] = []
            while true {
                let requests = Self.requests(&kademlia)
                if requests.isEmpty { return kinds }
                for request in requests {
                    guard let message = try? KademliaMessage(decoding: request.bytes) else { continue }
                    if message.key == key { kinds.append(message.kind) }
                    if request.awaitsAnswer {
                        kademlia.receive(KademliaMessage(message.kind).encoded(), for: request.token, at: now)
                    } else {
                        #expect(message.providerPeers.map(\.contact) == [Self.own])
                        kademlia.delivered(request.token, at: now)
                    }
                }
            }
        }
        let expected: [KademliaMessage.Kind] =
            Array(repeating: .findNode, count: 5) + Array(repeating: .addProvider, count: 5)
        #expect(kademlia.provide(key, at: Self.start) != nil)
        #expect(settle(at: Self.start) == expected)
        // This node is one of the closest itself.
        #expect(kademlia.storedCounts.providerRecords == 1)
        var now = Self.start
        var seen: [KademliaMessage.Kind] = []
        while now < Self.start + .seconds(25 * 3600) {
            now = now + .seconds(60)
            kademlia.advance(at: now)
            seen += settle(at: now)
        }
        #expect(seen == expected)
    }

    @Test func commandsBeyondTheLimitsAreRefused() {
        var kademlia = Self.filled(1..<6)
        #expect(kademlia.findProviders(of: [], wanted: 1, at: Self.start) == nil)
        #expect(kademlia.provide([UInt8](repeating: 1, count: 81), at: Self.start) == nil)
        #expect(kademlia.putValue([1], for: Array("/x/".utf8), at: Self.start) == nil)
        var started = 0
        for number in 0..<100 where kademlia.findPeer(Self.peer(1000 + number), at: Self.start) != nil { started += 1 }
        #expect(started == KademliaLimits.lookupsMax)
    }

    @Test func anyRequestBytesAreTotal() {
        var kademlia = Self.filled(1..<40)
        var random = TestRandom(state: 42)
        for _ in 0..<2000 {
            var bytes = KademliaMessageTests.message(&random).encoded()
            for _ in 0..<(random.next() % 3) where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            let peer = Self.peer(Int(random.next() % 50))
            if case .message(let answer) = kademlia.answer(bytes, from: peer, remoteAddress: nil, at: Self.start) {
                #expect(answer.count <= KademliaLimits.ownMessageBytesMax)
            }
        }
    }
}
