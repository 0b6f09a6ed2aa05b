import Testing

@testable import PeerNet

@Suite struct PubsubCodecTests {
    static let author = try! Identity(privateKeyProtobuf: KeyTests.keyA)
    static let publish = hex(
        "88011285010a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e120568656c6c6f1a0800000000000000012208747261696e696e672a40c1827757be24aa4300c442a61273482c9fff3d6f0d6922e0ccdd07d43bd7b30a4a6cdcddb066ab741531fc35a905f94b60a48450626a6a11001986505ffb620b"
    )

    private func delimited(_ rpc: [UInt8]) -> [UInt8] { Uvarint.encode(rpc.count) + rpc }

    private func decode(_ bytes: [UInt8]) throws -> PubsubRPC { try PubsubRPC(bytes: bytes, dataBytesMax: 1 << 20) }

    @Test func messagesMatchTheVectors() throws {
        let message = PubsubMessage(
            signedBy: Self.author, sequence: 1, topic: trainingTopic, data: Array("hello".utf8))
        #expect(delimited(message.publishField) == Self.publish)
        #expect(
            message.signature
                == hex(
                    "c1827757be24aa4300c442a61273482c9fff3d6f0d6922e0ccdd07d43bd7b30a4a6cdcddb066ab741531fc35a905f94b60a48450626a6a11001986505ffb620b"
                ))
        #expect(
            message.id.bytes
                == hex(
                    "0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e0000000000000001"))
        #expect(MessageID(bytes: message.id.bytes) == message.id)
        let decoded = try decode(Array(Self.publish.dropFirst(2)))
        #expect(decoded.messages == [message])
        #expect(message.isSignatureValid)
    }

    @Test func controlMatchesTheVectors() throws {
        let subscribe = PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: true)
        #expect(delimited(subscribe) == hex("0e0a0c08011208747261696e696e67"))
        let graft = controlRPC(PubsubRPC.Entry.graft(trainingTopic))
        #expect(delimited(graft) == hex("0e1a0c1a0a0a08747261696e696e67"))
        let prune = controlRPC(PubsubRPC.Entry.prune(trainingTopic, peers: [], backoffSeconds: 60))
        #expect(delimited(prune) == hex("101a0e220c0a08747261696e696e67183c"))
        #expect(try decode(subscribe).subscriptions == [.init(topic: trainingTopic, isSubscribed: true)])
        #expect(try decode(graft).graft == [trainingTopic])
        #expect(try decode(prune).prune == [.init(topic: trainingTopic, peers: [], backoffSeconds: 60)])
    }

    @Test func everyEntryComesBack() throws {
        let ids = (0..<300).map { MessageID(author: testIdentity($0 % 5).peerID, sequence: UInt64.max - UInt64($0)) }
        let suggested = [
            PubsubRPC.SuggestedPeer(peer: testIdentity(1).peerID, envelope: [1, 2, 3]),
            PubsubRPC.SuggestedPeer(peer: testIdentity(2).peerID, envelope: nil),
        ]
        let bytes = controlRPC(
            PubsubRPC.Entry.have(trainingTopic, ids), PubsubRPC.Entry.want(ids), PubsubRPC.Entry.dontWant(ids),
            PubsubRPC.Entry.graft(trainingTopic),
            PubsubRPC.Entry.prune(trainingTopic, peers: suggested, backoffSeconds: .max >> 1))
        let decoded = try decode(bytes)
        #expect(decoded.have == [.init(topic: trainingTopic, ids: ids)])
        #expect(decoded.want == ids)
        #expect(decoded.dontWant == ids)
        #expect(decoded.graft == [trainingTopic])
        #expect(decoded.prune == [.init(topic: trainingTopic, peers: suggested, backoffSeconds: .max >> 1)])
        // The same control in two parts, as a protobuf writer may cut it.
        #expect(try decode(bytes + controlRPC(PubsubRPC.Entry.graft(trainingTopic))).graft.count == 2)
    }

    @Test func presenceOfEmptyDataIsKept() throws {
        for data in [[UInt8]?.none, []] {
            var body = ProtobufWriter()
            body.append(Self.author.peerID.bytes, field: 1)
            if let data { body.append(data, field: 2) }
            body.append(MessageID.bytes(of: 9), field: 3)
            body.append(trainingTopic.bytes, field: 4)
            let signature = Self.author.sign(Array("libp2p-pubsub:".utf8) + body.bytes)
            body.append(signature, field: 5)
            var rpc = ProtobufWriter()
            rpc.append(body.bytes, field: 2)
            let message = try #require(try decode(rpc.bytes).messages.first)
            #expect(message.data == data)
            #expect(message.isSignatureValid)
            #expect(message.publishField == rpc.bytes)
        }
    }

    @Test func theSignatureIsCheckedOverTheCanonicalForm() throws {
        // Order, an enclosed key and unknown fields do not matter, and are not passed on.
        let message = PubsubMessage(signedBy: Self.author, sequence: 3, topic: trainingTopic, data: [1])
        var body = ProtobufWriter()
        body.append(message.signature, field: 5)
        body.append(varint: 7, field: 99)
        body.append(trainingTopic.bytes, field: 4)
        body.append(Self.author.peerID.publicKeyProtobuf, field: 6)
        body.append(MessageID.bytes(of: 3), field: 3)
        body.append([1], field: 2)
        body.append(Self.author.peerID.bytes, field: 1)
        body.append([5, 5], field: 100)
        var rpc = ProtobufWriter()
        rpc.append(body.bytes, field: 2)
        let decoded = try #require(try decode(rpc.bytes).messages.first)
        #expect(decoded.isSignatureValid)
        #expect(decoded.publishField == message.publishField)
    }

    @Test func everyChangeOfASignedMessageIsNoticed() throws {
        let rpc = Array(Self.publish.dropFirst(2))
        for index in rpc.indices {
            for change in [UInt8(1), 0x20, 0x80] {
                var bytes = rpc
                bytes[index] ^= change
                guard let message = try? decode(bytes).messages.first else { continue }
                #expect(!message.isSignatureValid, "byte \(index)")
            }
        }
        for count in 0..<rpc.count { #expect((try? decode(Array(rpc.prefix(count))))?.messages.isEmpty ?? true) }
    }

    @Test func fieldsThatNoMessageMayHaveAreNamed() throws {
        let good = PubsubMessage(signedBy: Self.author, sequence: 3, topic: trainingTopic, data: [1])
        func rpc(_ fields: [(UInt64, [UInt8])]) -> [UInt8] {
            var body = ProtobufWriter()
            for (field, content) in fields { body.append(content, field: field) }
            var rpc = ProtobufWriter()
            rpc.append(body.bytes, field: 2)
            return rpc.bytes
        }
        let fields: [(UInt64, [UInt8])] = [
            (1, Self.author.peerID.bytes), (2, [1]), (3, MessageID.bytes(of: 3)), (4, trainingTopic.bytes),
            (5, good.signature),
        ]
        #expect(try decode(rpc(fields)).published == [.message(good)])
        let faults: [(Int, [UInt8], PubsubMessage.Fault)] = [
            (0, [], .authorRefused), (0, [0x12, 0x20] + [UInt8](repeating: 1, count: 32), .authorRefused),
            (2, [1, 2, 3], .sequenceMalformed), (4, [], .signatureInvalid),
        ]
        for (position, content, fault) in faults {
            var changed = fields
            changed[position].1 = content
            #expect(try decode(rpc(changed)).published == [.invalid(fault, topic: trainingTopic)])
        }
        for name in [[], [0xff], [UInt8](repeating: 97, count: 257), [10]] as [[UInt8]] {
            var changed = fields
            changed[3].1 = name
            #expect(try decode(rpc(changed)).published == [.invalid(.topicMalformed, topic: nil)])
        }
        let foreignKey = fields + [(6, testIdentity(5).peerID.publicKeyProtobuf)]
        #expect(try decode(rpc(foreignKey)).published == [.invalid(.keyDiffers, topic: trainingTopic)])
        #expect(
            try PubsubRPC(bytes: rpc(fields), dataBytesMax: 0).published
                == [.invalid(.dataTooLong, topic: trainingTopic)])
    }

    @Test func countsAreBounded() throws {
        let subscription = PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: true)
        let many = [[UInt8]](repeating: subscription, count: 10_000).flatMap { $0 }
        #expect(try decode(many).subscriptions.count == PubsubLimits.subscriptionsMax)
        let empty = [[UInt8]](repeating: [0x12, 0x00], count: 100_000).flatMap { $0 }
        #expect(try decode(empty).published.count == PubsubLimits.messagesMax)
        let graft = [[UInt8]](repeating: PubsubRPC.Entry.graft(trainingTopic), count: 10_000).flatMap { $0 }
        #expect(try decode(controlRPC(graft)).graft.count == PubsubLimits.controlEntriesMax)
        let ids = (0..<9000).map { MessageID(author: Self.author.peerID, sequence: $0) }
        #expect(try decode(controlRPC(PubsubRPC.Entry.want(ids))).want.count == PubsubLimits.controlIDsMax)
        let have = PubsubRPC.Entry.have(trainingTopic, ids.prefix(3000))
        let counts = try decode(controlRPC(have, have, have)).have.map(\.ids.count)
        #expect(counts == [3000, 2000, 0])
        let suggested = (0..<40).map { PubsubRPC.SuggestedPeer(peer: testIdentity($0).peerID, envelope: nil) }
        let prune = PubsubRPC.Entry.prune(trainingTopic, peers: suggested, backoffSeconds: nil)
        #expect(try decode(controlRPC(prune)).prune[0].peers.count == PubsubLimits.exchangedPeersMax)
        let control = controlRPC([UInt8](repeating: 0, count: PubsubLimits.controlBytesMax + 1))
        #expect(throws: RPCFault.controlTooLong(bytesMax: PubsubLimits.controlBytesMax)) { try decode(control) }
        #expect(throws: RPCFault.self) { try decode([UInt8](repeating: 0, count: PubsubLimits.rpcBytesMax + 1)) }
    }

    @Test func streamsAreCutIntoMessagesWhereverTheBytesEnd() throws {
        let stream = Self.publish + [0x00] + hex("0e0a0c08011208747261696e696e67")
        for size in 1...stream.count {
            var reader = PubsubStreamReader()
            var rpcs: [[UInt8]] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                reader.append(Array(stream[start..<min(start + size, stream.count)]))
                while let rpc = try reader.next() { rpcs.append(rpc) }
            }
            #expect(rpcs.map(\.count) == [136, 14])
        }
        var reader = PubsubStreamReader()
        reader.append(Uvarint.encode(PubsubLimits.rpcBytesMax + 1))
        #expect(throws: RPCFault.tooLong(bytes: (1 << 20) + 1, bytesMax: 1 << 20)) { try reader.next() }
        var odd = PubsubStreamReader()
        odd.append([0x81, 0x00])
        #expect(throws: RPCFault.lengthMalformed) { try odd.next() }
    }

    /// Valid RPCs with changed, cut, doubled and inserted bytes, and pure noise: nothing traps, and what decodes stays
    /// within the limits.
    @Test(arguments: [UInt64(1), 2, 3]) func hostileBytesNeverTrap(seed: UInt64) throws {
        var random = TestRandom(state: seed)
        let ids = (0..<4).map { MessageID(author: testIdentity($0).peerID, sequence: UInt64($0)) }
        let record = SignedPeerRecord(signedBy: Self.author, sequence: 1, addresses: [])
        let suggested = PubsubRPC.SuggestedPeer(peer: Self.author.peerID, envelope: record.envelope)
        let seeds: [[UInt8]] = [
            Array(Self.publish.dropFirst(2)), PubsubRPC.Entry.subscription(trainingTopic, isSubscribed: false),
            controlRPC(
                PubsubRPC.Entry.have(trainingTopic, ids), PubsubRPC.Entry.want(ids), PubsubRPC.Entry.dontWant(ids),
                PubsubRPC.Entry.graft(trainingTopic)),
            controlRPC(PubsubRPC.Entry.prune(trainingTopic, peers: [suggested], backoffSeconds: .max >> 1)),
        ]
        for round in 0..<15_000 {
            var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
            if round % 7 == 0 { bytes += seeds[Int.random(in: 0..<seeds.count, using: &random)] }
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<6, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(place...)
                case 2: bytes.insert(contentsOf: random.bytes(3), at: place)
                case 3: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
                case 4: bytes.insert(contentsOf: bytes[..<place], at: place)
                default: bytes.insert(contentsOf: [UInt8](repeating: 0xff, count: 9), at: place)
                }
            }
            if round % 50 == 0 { bytes = random.bytes(Int.random(in: 0..<200, using: &random)) }
            guard let rpc = try? decode(bytes) else { continue }
            #expect(rpc.want.count <= bytes.count / MessageID.byteCount)
            for prune in rpc.prune {
                for peer in prune.peers { _ = peer.envelope.map { try? SignedPeerRecord(envelope: $0) } }
            }
        }
    }
}
