import Testing

@testable import PeerNet

@Suite struct MDNSTests {
    static let start = Moment(nanoseconds: 1_000_000_000)
    static let peerA = KademliaMessageTests.peerA
    static let local = try! Multiaddr("/ip4/192.168.1.2/tcp/4001")

    static func discovery(_ number: Int, _ addresses: [String]) -> MDNSDiscovery {
        MDNSDiscovery(
            peer: KademliaTests.peer(number), addresses: addresses.map { try! Multiaddr($0) }, seed: UInt64(number),
            at: start)
    }

    /// What goes out up to `end`, with its time.
    static func run(_ discovery: inout MDNSDiscovery, until end: Moment) -> [(at: Moment, output: MDNSDiscovery.Output)]
    {
        var outputs: [(Moment, MDNSDiscovery.Output)] = []
        while discovery.nextDeadline <= end {
            let now = discovery.nextDeadline
            discovery.advance(at: now)
            outputs += discovery.takeOutputs().map { (now, $0) }
        }
        return outputs
    }

    static func messages(_ outputs: [(at: Moment, output: MDNSDiscovery.Output)]) -> [(at: Moment, message: DNSMessage)]
    {
        outputs.compactMap {
            guard case .multicast(let bytes) = $0.output, let message = try? DNSMessage(decoding: bytes) else {
                return nil
            }
            return ($0.at, message)
        }
    }

    /// An answer as another implementation might send it.
    static func answer(_ texts: [String], timeToLive: UInt32 = 120) -> [UInt8] {
        let name = [Array("x".utf8)] + MDNSDiscovery.serviceName
        return DNSMessage(
            isResponse: true,
            records: [
                .init(name: MDNSDiscovery.serviceName, dnsClass: 1, timeToLive: timeToLive, body: .pointer(name)),
                .init(
                    name: name, dnsClass: 0x8001, timeToLive: timeToLive, body: .text(texts.map { Array($0.utf8) })),
            ]
        ).encoded()
    }

    @Test func theQueryIsThatOfOtherImplementations() {
        var discovery = Self.discovery(1, [])
        let outputs = Self.run(&discovery, until: Self.start + .milliseconds(120))
        // Header, _p2p._udp.local, PTR, IN.
        #expect(
            outputs.map(\.output) == [
                .multicast(
                    hex("0000 0000 0001 0000 0000 0000 045f703270 045f756470 056c6f63616c 00 000c 0001"))
            ])
    }

    @Test func aCompressedAnswerIsRead() throws {
        // PTR and TXT of one peer; the second name is a label and a pointer to offset 12, the third a pointer to the
        // PTR's body at offset 39.
        let text = "dnsaddr=/ip4/192.168.1.2/tcp/4001/p2p/\(KeyTests.textA)"
        var bytes = hex("0000 8400 0000 0001 0000 0001 045f703270 045f756470 056c6f63616c 00")
        bytes += hex("000c 0001 00000078 0004 0178 c00c")
        bytes +=
            hex("c027 0010 8001 00000078") + [0, UInt8(text.utf8.count + 1), UInt8(text.utf8.count)] + Array(text.utf8)
        let message = try DNSMessage(decoding: bytes)
        let name = [Array("x".utf8)] + MDNSDiscovery.serviceName
        #expect(message.records.map(\.name) == [MDNSDiscovery.serviceName, name])
        #expect(message.records[0].body == .pointer(name))
        var discovery = Self.discovery(1, [])
        discovery.receive(bytes, at: Self.start)
        #expect(discovery.takeOutputs() == [.discovered(PeerContact(peer: Self.peerA, addresses: [Self.local]))])
    }

    @Test(arguments: [
        // A pointer to itself, one forward, two to each other, a reserved label, a label beyond the end.
        "c00c", "c0ff", "c00e c00c", "40", "3f", "016101", "",
    ])
    func badNamesAreRefused(name: String) {
        let bytes = hex("0000 0000 0001 0000 0000 0000") + hex(name)
        #expect(throws: DNSMessageError.self) { try DNSMessage(decoding: bytes + hex("000c 0001")) }
    }

    /// Each pointer leads to the one before it, and the first to a name in the body of a record.
    @Test(arguments: [15, 16, 2900]) func chainsOfPointersAreFollowedForAFewStepsOnly(count: Int) throws {
        var body = hex("0178 00")
        let start = 12 + 11
        var target = start
        for _ in 0..<count {
            let place = start + body.count
            body += [0xc0 | UInt8(target >> 8), UInt8(target & 255)]
            target = place
        }
        var bytes = hex("0000 8400 0000 0002 0000 0000 00 0001 0001 00000001")
        bytes += [UInt8(body.count >> 8), UInt8(body.count & 255)] + body
        bytes += [0xc0 | UInt8(target >> 8), UInt8(target & 255)] + hex("0001 0001 00000001 0000")
        if count < 16 {
            #expect(try DNSMessage(decoding: bytes).records.map(\.name) == [[], [Array("x".utf8)]])
        } else {
            #expect(throws: DNSMessageError.nameInvalid) { try DNSMessage(decoding: bytes) }
        }
    }

    @Test func countsAndSizesAreBounded() {
        #expect(throws: DNSMessageError.tooManyParts) {
            try DNSMessage(decoding: hex("0000 8400 0000 ffff ffff ffff"))
        }
        #expect(throws: DNSMessageError.tooLong) { try DNSMessage(decoding: [UInt8](repeating: 0, count: 9001)) }
        #expect(throws: DNSMessageError.notAQuery) { try DNSMessage(decoding: hex("0000 2800 0000 0000 0000 0000")) }
        let label = hex("3f") + [UInt8](repeating: 97, count: 63)
        let long = hex("0000 0000 0001 0000 0000 0000") + label + label + label + label + hex("00 000c 0001")
        #expect(throws: DNSMessageError.nameInvalid) { try DNSMessage(decoding: long) }
        let many =
            hex("0000 0000 0001 0000 0000 0000") + Array(repeating: [1, 97], count: 33).joined() + hex("00 000c 0001")
        #expect(throws: DNSMessageError.nameInvalid) { try DNSMessage(decoding: many) }
        // The text's length reaches beyond its record.
        #expect(throws: DNSMessageError.truncated) {
            try DNSMessage(decoding: hex("0000 8400 0000 0001 0000 0000 00 0010 0001 00000001 0002 0261 6263"))
        }
    }

    static func message(_ random: inout TestRandom) -> DNSMessage {
        func name(_ random: inout TestRandom) -> DNSMessage.Name {
            (0..<random.next() % 5).map { _ in
                (0...random.next() % 12).map { _ in UInt8(97 + random.next() % 26) }
            }
        }
        var message = DNSMessage(isResponse: random.next() % 2 == 0)
        message.id = UInt16(truncatingIfNeeded: random.next())
        for _ in 0..<random.next() % 3 {
            message.questions.append(.init(name: name(&random), type: 12, dnsClass: 1))
        }
        for _ in 0..<random.next() % 4 {
            let body: DNSMessage.Record.Body =
                random.next() % 2 == 0
                ? .pointer(name(&random))
                : .text((0..<random.next() % 4).map { _ in random.bytes(Int(random.next() % 256)) })
            message.records.append(
                .init(
                    name: name(&random), dnsClass: 0x8001, timeToLive: UInt32(truncatingIfNeeded: random.next()),
                    body: body))
        }
        return message
    }

    @Test func messagesRoundTripAndTheDecoderIsTotal() throws {
        var random = TestRandom(state: 51)
        var accepted = 0
        for _ in 0..<5000 {
            let message = Self.message(&random)
            var bytes = message.encoded()
            #expect(try DNSMessage(decoding: bytes) == message)
            for _ in 0..<(1 + random.next() % 3) where !bytes.isEmpty {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 5 {
                case 0: bytes.removeSubrange(at...)
                case 1: bytes[at] ^= UInt8(1 << (random.next() % 8))
                case 2: bytes[at] = 0xc0 | UInt8(random.next() % 2)
                case 3: bytes.insert(contentsOf: random.bytes(2), at: at)
                default: bytes[at] = [0, 1, 0x3f, 0xff][Int(random.next() % 4)]
                }
            }
            if let changed = try? DNSMessage(decoding: bytes) {
                accepted += 1
                #expect(try DNSMessage(decoding: changed.encoded()).records.map(\.name) == changed.records.map(\.name))
            }
        }
        #expect(accepted > 500)
    }

    @Test func twoNodesFindEachOther() throws {
        var a = Self.discovery(1, ["/ip4/10.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001", "/ip4/8.8.8.8/tcp/4001"])
        var b = Self.discovery(2, ["/ip4/127.0.0.1/tcp/4002"])
        var found: [PeerContact] = []
        var now = Self.start
        while now < Self.start + .seconds(2) {
            now = min(a.nextDeadline, b.nextDeadline)
            a.advance(at: now)
            b.advance(at: now)
            for output in a.takeOutputs() + b.takeOutputs() {
                switch output {
                // The group's datagrams come back to their sender too.
                case .multicast(let bytes):
                    a.receive(bytes, at: now)
                    b.receive(bytes, at: now)
                case .discovered(let contact): found.append(contact)
                case .expired: Issue.record("too early")
                }
            }
        }
        #expect(
            Set(found) == [
                PeerContact(peer: KademliaTests.peer(1), addresses: [try Multiaddr("/ip4/10.0.0.1/tcp/4001")]),
                PeerContact(peer: KademliaTests.peer(2), addresses: [try Multiaddr("/ip4/127.0.0.1/tcp/4002")]),
            ])
        #expect(found.count == 2)
        b.stop()
        for case .multicast(let bytes) in b.takeOutputs() { a.receive(bytes, at: now) }
        #expect(a.takeOutputs() == [.expired(KademliaTests.peer(2))])
        #expect(a.peers.isEmpty)
    }

    @Test func queriesBackOffWithJitter() {
        var discovery = Self.discovery(1, [])
        let times = Self.messages(Self.run(&discovery, until: Self.start + .seconds(400))).map(\.at)
        let gaps = zip(times.dropFirst(), times).map { ($0 - $1).inSeconds }
        #expect((20...120).contains(Int((times[0] - Self.start).inSeconds * 1000)))
        for (gap, nominal) in zip(gaps, [1, 2, 4, 8, 16, 32, 40, 40, 40, 40] as [Double]) {
            #expect(gap >= nominal * 0.8 && gap <= nominal * 1.2)
        }
        #expect(Set(gaps.suffix(4)).count == 4)
    }

    @Test func answersAreAtLeastASecondApart() {
        var discovery = Self.discovery(1, ["/ip4/10.0.0.1/tcp/4001"])
        let query = DNSMessage(
            isResponse: false, questions: [.init(name: MDNSDiscovery.serviceName, type: 12, dnsClass: 0x8001)]
        ).encoded()
        var answers: [Moment] = []
        var now = Self.start
        for _ in 0..<1000 {
            now = now + .milliseconds(10)
            discovery.receive(query, at: now)
            answers += Self.messages(Self.run(&discovery, until: now)).filter(\.message.isResponse).map(\.at)
        }
        #expect((9...11).contains(answers.count), "\(answers.count)")
        #expect(zip(answers.dropFirst(), answers).allSatisfy { $0 - $1 >= .seconds(1) })
        // Other services' questions are not ours.
        var other = Self.discovery(2, ["/ip4/10.0.0.1/tcp/4001"])
        _ = Self.run(&other, until: Self.start + .milliseconds(130))
        other.receive(
            DNSMessage(isResponse: false, questions: [.init(name: [[97]], type: 12, dnsClass: 1)]).encoded(),
            at: Self.start + .milliseconds(200))
        #expect(
            Self.messages(Self.run(&other, until: Self.start + .milliseconds(600))).allSatisfy {
                !$0.message.isResponse
            })
    }

    @Test func onlyLocalAddressesOfOthersAreBelieved() {
        var discovery = Self.discovery(1, [])
        let own = KademliaTests.peer(1)
        let b = KeyTests.textB
        for texts in [
            ["dnsaddr=/ip4/8.8.8.8/tcp/4001/p2p/\(b)"], ["dnsaddr=/ip4/192.168.1.2/tcp/4001"],
            ["dnsaddr=/ip4/192.168.1.2/tcp/4001/p2p/\(own)"], ["dnsaddr=/ip4/192.168.1.2/udp/1/quic-v1/p2p/\(b)"],
            ["dnsaddr=nonsense", "x=1", ""], ["/ip4/192.168.1.2/tcp/4001/p2p/\(b)"],
        ] { discovery.receive(Self.answer(texts), at: Self.start) }
        #expect(discovery.takeOutputs().isEmpty)
        discovery.receive(
            Self.answer([
                "dnsaddr=/ip4/192.168.1.2/tcp/4001/p2p/\(b)", "dnsaddr=/ip4/192.168.1.3/tcp/4001/p2p/\(KeyTests.textA)",
                "dnsaddr=/ip6/fe80::1/tcp/4001/p2p/\(b)",
            ]), at: Self.start)
        #expect(discovery.peers.map(\.addresses.count) == [2])
    }

    @Test func peersRunOutAndAreBounded() {
        var discovery = Self.discovery(1, [])
        var random = TestRandom(state: 52)
        var now = Self.start
        for _ in 0..<400 {
            let peer = KademliaNetwork.peer(&random)
            discovery.receive(Self.answer(["dnsaddr=/ip4/10.0.0.9/tcp/1/p2p/\(peer)"], timeToLive: .max), at: now)
            now = now + .milliseconds(30)
        }
        #expect(discovery.peers.count == MDNSLimits.peersMax)
        // An endless time to live is not believed.
        let outputs = Self.run(&discovery, until: now + .seconds(601))
        #expect(discovery.peers.isEmpty)
        #expect(outputs.count { if case .expired = $0.output { true } else { false } } == MDNSLimits.peersMax)
        // A flood is read up to the allowance.
        _ = discovery.takeOutputs()
        now = now + .seconds(700)
        for _ in 0..<1000 {
            let peer = KademliaNetwork.peer(&random)
            discovery.receive(Self.answer(["dnsaddr=/ip4/10.0.0.9/tcp/1/p2p/\(peer)"]), at: now)
        }
        #expect(discovery.peers.count == MDNSLimits.messagesBurst)
    }
}
