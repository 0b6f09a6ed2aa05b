import FuzzSupport
import Testing

@testable import PeerNet

/// Every decoder of PeerNet that a peer can reach, on changed good inputs: none traps, and what is accepted keeps its
/// limits.
@Suite struct DecoderFuzzTests {
    private let now = Moment(nanoseconds: 1_000_000_000)

    private func addresses() throws -> [Multiaddr] {
        try [
            "/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001/p2p/\(NoiseTests.identityA.peerID)",
            "/dns4/example.com/tcp/443", "/ip4/192.0.2.9/udp/4001/quic-v1",
        ].map { try Multiaddr($0) }
    }

    @Test func addressesAndKeys() throws {
        var fuzzer = Fuzzer(seed: 1)
        let good = try addresses()
        var accepted = fuzzer.run("multiaddr", good.map(\.bytes)) { bytes in
            guard let address = try? Multiaddr(bytes: bytes) else { return false }
            return (try? Multiaddr("\(address)"))?.bytes == bytes
        }
        #expect(accepted > 0)
        accepted = fuzzer.run("multiaddr text", good.map { Array("\($0)".utf8) }) { bytes in
            (try? Multiaddr(String(decoding: bytes, as: UTF8.self))) != nil
        }
        #expect(accepted > 0)
        let peer = NoiseTests.identityA.peerID
        accepted = fuzzer.run("peer id", [peer.bytes]) { (try? PeerID(bytes: $0)) != nil }
        #expect(accepted > 0)
        accepted = fuzzer.run("peer id text", [Array("\(peer)".utf8)]) { bytes in
            (try? PeerID(String(decoding: bytes, as: UTF8.self))) != nil
        }
        #expect(accepted < Fuzzer.inputsPerDecoder)
    }

    @Test func identifyAndRecords() throws {
        var fuzzer = Fuzzer(seed: 2)
        var record = IdentifyRecord()
        record.listenAddresses = try addresses()
        record.protocols = ["/a", "/meshsub/1.1.0"]
        record.agentVersion = "atoll/test"
        record.observedAddress = record.listenAddresses[0]
        let signed = SignedPeerRecord(
            signedBy: NoiseTests.identityA, sequence: 7, addresses: record.listenAddresses)
        record.signedRecord = signed.envelope
        let peer = NoiseTests.identityA.peerID
        var accepted = fuzzer.run("identify", [record.delimitedMessage(of: peer)]) { bytes in
            var collector = IdentifyCollector()
            guard collector.receive(bytes, from: peer) else { return false }
            return collector.record.listenAddresses.count <= 64 && collector.record.protocols.count <= 256
        }
        #expect(accepted > 0)
        accepted = fuzzer.run("signed record", [signed.envelope]) { bytes in
            (try? SignedPeerRecord(envelope: bytes)).map { $0.peer == peer } ?? false
        }
        #expect(accepted < Fuzzer.inputsPerDecoder)
    }

    @Test func gossip() throws {
        var fuzzer = Fuzzer(seed: 3)
        let topic = try #require(Topic("reef"))
        let other = testIdentity(2)
        let message = PubsubMessage(signedBy: other, sequence: 9, topic: topic, data: [1, 2, 3])
        let ids = (0..<3).map { MessageID(author: other.peerID, sequence: $0) }
        let samples = [
            message.publishField, PubsubRPC.Entry.subscription(topic, isSubscribed: true),
            controlRPC(PubsubRPC.Entry.have(topic, ids)), controlRPC(PubsubRPC.Entry.want(ids)),
            controlRPC(PubsubRPC.Entry.graft(topic)),
            controlRPC(
                PubsubRPC.Entry.prune(
                    topic, peers: [.init(peer: other.peerID, envelope: [1, 2])], backoffSeconds: 60)),
        ]
        let accepted = fuzzer.run("pubsub rpc", samples) { (try? PubsubRPC(bytes: $0, dataBytesMax: 4096)) != nil }
        #expect(accepted > 0)
        _ = fuzzer.run("pubsub stream", samples.map { Uvarint.encode($0.count) + $0 }) { bytes in
            var reader = PubsubStreamReader()
            reader.append(bytes)
            do { while try reader.next() != nil {} } catch { return false }
            return true
        }
        var node = Gossipsub(
            configuration: .init(identity: testIdentity(1), firstSequence: 1, seed: 1), at: now)
        try node.subscribe(topic, at: now)
        _ = fuzzer.run("gossip state", samples) { bytes in
            if node.peers[other.peerID] == nil {
                node.peerConnected(other.peerID, .init(version: .gossipsub12, isOutbound: true), at: now)
            }
            node.receive(bytes, from: other.peerID, at: now)
            for output in node.takeOutputs() {
                if case .disconnect(let peer, _) = output { node.peerDisconnected(peer, at: now) }
                if case .deliver(let delivery) = output { node.validated(delivery.id, .accept, at: now) }
                if case .send(let peer, let bytes) = output { node.written(bytes.count, to: peer) }
            }
            return true
        }
    }

    @Test func discovery() throws {
        var fuzzer = Fuzzer(seed: 4)
        var random = TestRandom(state: 4)
        let samples = (0..<40).map { _ in KademliaMessageTests.message(&random).encoded() }
        let accepted = fuzzer.run("kademlia message", samples) { (try? KademliaMessage(decoding: $0)) != nil }
        #expect(accepted > 0)
        var table = Kademlia(configuration: .init(peer: testIdentity(1).peerID, mode: .server, seed: 1), at: now)
        let asker = testIdentity(2).peerID
        _ = fuzzer.run("kademlia server", samples) { bytes in
            _ = table.answer(bytes, from: asker, remoteAddress: nil, at: now)
            return true
        }
        var names = MDNSDiscovery(
            peer: testIdentity(1).peerID, addresses: try [Multiaddr("/ip4/192.168.1.2/tcp/4001")], seed: 1, at: now)
        names.advance(at: now + .seconds(1))
        let told = names.takeOutputs().compactMap { if case .multicast(let bytes) = $0 { bytes } else { nil } }
        #expect(told.count >= 2)
        let read = fuzzer.run("dns message", told) { (try? DNSMessage(decoding: $0)) != nil }
        #expect(read > 0)
        var at = now
        _ = fuzzer.run("mdns", told) { bytes in
            at = at + .milliseconds(100)
            names.receive(bytes, at: at)
            _ = names.takeOutputs()
            return true
        }
    }

    @Test func reachability() throws {
        var fuzzer = Fuzzer(seed: 7)
        let known = try addresses()
        let samples = [
            AutoNATMessage.dialRequest(addresses: known, nonce: 9).encoded,
            AutoNATMessage.dialResponse(.ok, addressIndex: 1, .dialError).encoded,
            AutoNATMessage.dialDataRequest(addressIndex: 1, byteCount: 40_000).encoded,
            AutoNATMessage.dialData(byteCount: 50).encoded,
        ]
        var accepted = fuzzer.run("autonat message", samples) { bytes in
            guard let message = AutoNATMessage(decoding: bytes) else { return false }
            return AutoNATMessage(decoding: message.encoded) == message
        }
        #expect(accepted > 0)
        accepted = fuzzer.run("autonat dial-back", [AutoNATDialBack.message(nonce: 9)]) { bytes in
            _ = AutoNATDialBack.isResponse(bytes)
            return AutoNATDialBack.nonce(of: bytes) != nil
        }
        #expect(accepted > 0)
        var server = AutoNATServer(limits: AutoNATLimits())
        var client = AutoNATClient()
        var at = now
        _ = fuzzer.run("autonat states", samples) { bytes in
            at = at + .seconds(10)
            if let id = server.open(by: testIdentity(1).peerID, observed: known[0]) {
                _ = server.receive(bytes, on: id, dataBytes: 40_000, at: at)
                _ = server.receive(bytes, on: id, dataBytes: 40_000, at: at)
                server.closed(id)
            }
            _ = client.begin(known, nonce: 9)
            _ = client.receive(bytes, for: 9)
            return server.openCount == 0
        }
    }

    @Test func streamsAndHandshakes() throws {
        var fuzzer = Fuzzer(seed: 5)
        let lines: [UInt8] = Array("\u{13}/multistream/1.0.0\n".utf8) + Array("\u{07}/noise\n".utf8)
        _ = fuzzer.run("multistream listener", [lines]) { bytes in
            var listener = MultistreamListener()
            var input = ByteQueue()
            var output: [UInt8] = []
            input.append(bytes)
            return (try? listener.receive(from: &input, into: &output) { $0 == "/noise" }) != nil
        }
        _ = fuzzer.run("multistream dialer", [lines, Array("\u{13}/multistream/1.0.0\n\u{03}na\n".utf8)]) { bytes in
            var dialer = MultistreamDialer(candidates: ["/noise", "/b"])
            var input = ByteQueue()
            var output: [UInt8] = []
            input.append(bytes)
            return (try? dialer.receive(from: &input, into: &output)) != nil
        }
        var frames: [UInt8] = []
        var peer = YamuxSession(isDialer: true, limits: YamuxLimits())
        let opened = peer.open(priority: .control, windowBytes: 0, at: now)
        peer.write([1, 2, 3], to: try #require(opened))
        peer.ping(at: now)
        peer.produce(into: &frames, bytesMax: 1 << 16)
        _ = fuzzer.run("yamux", [frames]) { bytes in
            var session = YamuxSession(isDialer: false, limits: YamuxLimits())
            return (try? bytes.withUnsafeBytes { try session.receive($0, at: now) }) != nil
        }
    }

    @Test func wholeConnections() throws {
        // What a dialer sends first: negotiation and the first Noise message. A handshake costs key agreements, so these
        // are fewer.
        var pair = Pair()
        var opening: [UInt8] = []
        pair.dialer.produce(into: &opening, bytesMax: 1 << 16, at: pair.now)
        _ = pair.exchange()
        var fuzzer = Fuzzer(seed: 6)
        var count = 0
        _ = fuzzer.run("connection", [opening, pair.sent]) { bytes in
            count += 1
            guard count % 50 == 0 else { return false }
            var fresh = Pair()
            fresh.listener.receive(bytes, at: fresh.now)
            return !fresh.listener.isClosed
        }
    }
}
