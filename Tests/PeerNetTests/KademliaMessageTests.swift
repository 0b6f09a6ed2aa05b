import Testing

@testable import PeerNet

@Suite struct KademliaMessageTests {
    static let peerA = try! PeerID(bytes: KeyTests.bytesA)

    /// A message of a random shape within the limits.
    static func message(_ random: inout TestRandom) -> KademliaMessage {
        let kinds = KademliaMessage.Kind.allCases
        var message = KademliaMessage(kinds[Int(random.next() % UInt64(kinds.count))])
        message.key = random.bytes(Int(random.next() % 81))
        if random.next() % 3 == 0 {
            message.record = .init(
                key: random.bytes(Int(random.next() % 81)), value: random.bytes(Int(random.next() % 200)))
        }
        func peers(_ random: inout TestRandom) -> [KademliaMessage.Peer] {
            (0..<random.next() % 21).map { _ in
                let addresses = (0..<random.next() % 4).map { _ in
                    Multiaddr(ipBytes: random.bytes(random.next() % 2 == 0 ? 4 : 16), tcpPort: 4001)!
                }
                return .init(
                    contact: PeerContact(peer: KademliaNetwork.peer(&random), addresses: addresses),
                    isConnected: random.next() % 2 == 0)
            }
        }
        message.closerPeers = peers(&random)
        message.providerPeers = peers(&random)
        return message
    }

    @Test func keysAndDistancesMatchTheVectors() throws {
        let a = KademliaKey(Self.peerA)
        let b = KademliaKey(try PeerID(KeyTests.textB))
        #expect(a.bytes == hex("dfd53212a4bd2beda3ea8e82d08285370c70a70cfe9c588e28754b23c8033121"))
        #expect(b.bytes == hex("ca40cbdbd469c7089bb480205f3a3ac2fb833d6a98c2864917773bcada0a829a"))
        #expect(
            a.distance(to: b).bytes == hex("1595f9c970d4ece5385e0ea28fb8bff5f7f39a66665edec73f0270e91209b3bb"))
        #expect(a.commonPrefixLength(with: b) == 3)
        #expect(a.commonPrefixLength(with: a) == 256)
        #expect(b < a)
    }

    @Test func findNodeMatchesTheVector() throws {
        let request = KademliaMessage(.findNode, key: KeyTests.bytesA)
        let bytes = request.encoded()
        #expect(
            Uvarint.encode(bytes.count) + bytes
                == hex("2a080412260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"))
        #expect(try KademliaMessage(decoding: bytes) == request)
    }

    @Test func theTypeIsSentAlsoWhenItIsZero() throws {
        var put = KademliaMessage(.putValue, key: [1])
        put.record = .init(key: [1], value: [2])
        #expect(put.encoded() == hex("0800 120101 1a060a01011201 02"))
        #expect(try KademliaMessage(decoding: hex("120101")).kind == .putValue)
    }

    @Test func answersOfTheProtobufLibraryAreRead() throws {
        // Written by Google's Python library from kad.proto, with the fields that go also sets.
        let providers = try KademliaMessage(
            decoding: hex(
                "080312221220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f42340a26002408011220"
                    + "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e1208047f000001060fa118014a4a0a26"
                    + "00240801122079b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad049664120804c0000201060fa1"
                    + "12142920010db8000000000000000000000001060fa118025001"))
        #expect(providers.kind == .getProviders)
        #expect(providers.key == [0x12, 0x20] + Array(0..<32))
        #expect(
            providers.closerPeers == [
                .init(
                    contact: PeerContact(peer: Self.peerA, addresses: [try Multiaddr("/ip4/127.0.0.1/tcp/4001")]),
                    isConnected: true)
            ])
        #expect(
            providers.providerPeers == [
                .init(
                    contact: PeerContact(
                        peer: try PeerID(KeyTests.textB),
                        addresses: [
                            try Multiaddr("/ip4/192.0.2.1/tcp/4001"), try Multiaddr("/ip6/2001:db8::1/tcp/4001"),
                        ]))
            ])
        let value = try KademliaMessage(
            decoding: hex(
                "0801122a2f706b2f0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e1a72"
                    + "0a2a2f706b2f0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e12240801"
                    + "12201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e2a1e323032362d30312d30325430"
                    + "333a30343a30352e3030303030303030365a"))
        #expect(value.kind == .getValue)
        #expect(value.record == .init(key: PublicKeyValidator.key(of: Self.peerA), value: Self.peerA.publicKeyProtobuf))
    }

    @Test func messagesRoundTrip() throws {
        var random = TestRandom(state: 11)
        for _ in 0..<300 {
            let message = Self.message(&random)
            #expect(try KademliaMessage(decoding: message.encoded()) == message)
        }
    }

    @Test func unknownFieldsAndForeignPeersAreSkipped() throws {
        let secp = hex("00250802122103") + hex("7777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99")
        var foreign = ProtobufWriter()
        foreign.append(secp, field: 1)
        var known = ProtobufWriter()
        known.append(KeyTests.bytesA, field: 1)
        known.append(hex("047f000001060fa1"), field: 2)
        known.append(hex("ff7f"), field: 2)
        // With the peer's own id at its end, and with another one's.
        let full = try Multiaddr("/ip4/1.2.3.4/tcp/5").encapsulating(p2p: Self.peerA)
        known.append(full.bytes, field: 2)
        known.append(
            try Multiaddr("/ip4/1.2.3.5/tcp/5").encapsulating(p2p: try PeerID(KeyTests.textB)).bytes, field: 2)
        known.append(varint: 2, field: 3)
        var writer = ProtobufWriter()
        writer.append(varint: 4, field: 1)
        writer.append(varint: 1, field: 10)
        writer.append([1, 2, 3], field: 77)
        writer.append(foreign.bytes, field: 8)
        writer.append(known.bytes, field: 8)
        let message = try KademliaMessage(decoding: writer.bytes + hex("5d01020304"))
        #expect(
            message.closerPeers == [
                .init(
                    contact: PeerContact(
                        peer: Self.peerA,
                        addresses: [try Multiaddr("/ip4/127.0.0.1/tcp/4001"), try Multiaddr("/ip4/1.2.3.4/tcp/5")]))
            ])
    }

    @Test func limitsHold() throws {
        var random = TestRandom(state: 12)
        #expect(throws: KademliaMessageError.tooLong) {
            try KademliaMessage(decoding: [UInt8](repeating: 0, count: KademliaLimits.messageBytesMax + 1))
        }
        #expect(throws: KademliaMessageError.unknownKind(6)) { try KademliaMessage(decoding: [8, 6]) }
        #expect(throws: KademliaMessageError.keyTooLong) {
            try KademliaMessage(decoding: KademliaMessage(.getValue, key: random.bytes(81)).encoded())
        }
        var put = KademliaMessage(.putValue, key: [1])
        put.record = .init(key: [1], value: random.bytes(KademliaLimits.valueBytesMax + 1))
        #expect(throws: KademliaMessageError.valueTooLong) { try KademliaMessage(decoding: put.encoded()) }
        // Peers and addresses beyond the limits are left out, and what is sent is readable by rust.
        let long = try Multiaddr("/dns4/" + String(repeating: "a", count: 250) + "/tcp/1")
        var answer = KademliaMessage(.getProviders)
        for _ in 0..<100 {
            let contact = PeerContact(
                peer: KademliaNetwork.peer(&random), addresses: Array(repeating: long, count: 12))
            answer.closerPeers.append(.init(contact: contact))
            answer.providerPeers.append(.init(contact: contact))
        }
        let bytes = answer.encoded()
        #expect(bytes.count <= 16 << 10)
        let read = try KademliaMessage(decoding: bytes)
        #expect((3...20).contains(read.closerPeers.count))
        #expect(read.providerPeers.count >= 3)
        #expect(read.closerPeers.allSatisfy { $0.contact.addresses.count == KademliaLimits.addressesPerPeerMax })
    }

    @Test func theDecoderIsTotal() throws {
        var random = TestRandom(state: 13)
        var accepted = 0
        for round in 0..<4000 {
            var bytes = Self.message(&random).encoded()
            // Mutations that keep the structure plausible: cut, change, insert, repeat a piece.
            for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 5 {
                case 0: bytes.removeSubrange(at...)
                case 1: bytes[at] ^= UInt8(1 << (random.next() % 8))
                case 2: bytes[at] = [0, 0x7f, 0x80, 0xff][Int(random.next() % 4)]
                case 3: bytes.insert(contentsOf: random.bytes(3), at: at)
                default: bytes += bytes[at..<min(bytes.count, at + 40)]
                }
            }
            if round % 10 == 0 { bytes = random.bytes(Int(random.next() % 64)) }
            guard let message = try? KademliaMessage(decoding: bytes) else { continue }
            accepted += 1
            #expect(message.closerPeers.count <= 20 && message.providerPeers.count <= 64 && message.key.count <= 80)
            // What was read can be said again.
            #expect(throws: Never.self) { try KademliaMessage(decoding: message.encoded()) }
        }
        #expect(accepted > 400)
    }
}
