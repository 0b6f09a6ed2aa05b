import Testing

@testable import PeerNet

@Suite("Private networks")
struct PrivateNetworkTests {
    static let key = NetworkKey(bytes: (0..<32).map { UInt8($0) })!
    static let otherKey = NetworkKey(bytes: [UInt8](repeating: 7, count: 32))!

    private static func pair(_ dialerKey: NetworkKey?, _ listenerKey: NetworkKey?, chunk: Int? = nil) -> Pair {
        var pair = Pair(chunk: chunk)
        var dialer = Connection.Configuration(
            identity: Pair.identityA, isDialer: true, expectedPeer: Pair.identityB.peerID, protocols: Pair.protocols)
        dialer.networkKey = dialerKey
        pair.dialer = Connection(
            configuration: dialer,
            secrets: .init(
                staticKey: [UInt8](repeating: 1, count: 32), ephemeralKey: [UInt8](repeating: 2, count: 32),
                networkNonce: [UInt8](repeating: 3, count: 24)), at: pair.now)
        var listener = Connection.Configuration(
            identity: Pair.identityB, isDialer: false, protocols: Pair.protocols)
        listener.networkKey = listenerKey
        pair.listener = Connection(
            configuration: listener,
            secrets: .init(
                staticKey: [UInt8](repeating: 4, count: 32), ephemeralKey: [UInt8](repeating: 5, count: 32),
                networkNonce: [UInt8](repeating: 6, count: 24)), at: pair.now)
        return pair
    }

    @Test(arguments: [nil, 1, 7]) func membersOfOneNetworkTalk(chunk: Int?) {
        var pair = Self.pair(Self.key, Self.key, chunk: chunk)
        pair.settle()
        #expect(pair.dialerEvents.first == .secured(Pair.identityB.peerID))
        #expect(pair.listenerEvents.first == .secured(Pair.identityA.peerID))
        let stream = pair.dialer.openStream("/test/bulk", priority: .bulk, at: pair.now)!
        let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        pair.dialer.write(content, to: stream)
        pair.dialer.finish(stream)
        var received: [UInt8] = []
        for _ in 0..<2_000 {
            let isBusy = pair.exchange()
            for event in pair.listenerEvents {
                guard case .streamData(let id, let bytes) = event else { continue }
                received += bytes
                pair.listener.consume(bytes.count, of: id, at: pair.now)
            }
            pair.listenerEvents = []
            if !isBusy { break }
        }
        #expect(received == content)
        // Nothing of libp2p can be seen from outside.
        let name = Array("multistream".utf8)
        #expect(!pair.sent.indices.dropLast(name.count).contains { pair.sent[$0...].starts(with: name) })
    }

    @Test func anotherKeyEndsTheConnectionAtOnce() {
        var pair = Self.pair(Self.key, Self.otherKey)
        pair.settle()
        #expect(pair.dialerEvents == [.closed(.otherNetwork)] || pair.listenerEvents == [.closed(.otherNetwork)])
        #expect(pair.dialer.isClosed || pair.listener.isClosed)
        // The other side hears no more than the socket's end, and says what that may mean.
        for var side in [pair.dialer, pair.listener] where !side.isClosed {
            side.transportEnded("closed")
            guard case .closed(let reason)? = side.takeEvents().last else { return #expect(Bool(false)) }
            #expect("\(reason)".contains("private network"))
        }
    }

    @Test func aPeerWithoutAKeyIsNotSpokenTo() {
        for (dialerKey, listenerKey) in [(Self.key, nil), (nil, Self.key)] as [(NetworkKey?, NetworkKey?)] {
            var pair = Self.pair(dialerKey, listenerKey)
            pair.settle()
            #expect(!pair.dialerEvents.contains { if case .secured = $0 { true } else { false } })
            #expect(!pair.listenerEvents.contains { if case .secured = $0 { true } else { false } })
            // Whoever waits for more gives up in time.
            pair.dialer.advance(to: pair.now + .seconds(16))
            pair.listener.advance(to: pair.now + .seconds(16))
            #expect(pair.dialer.isClosed && pair.listener.isClosed)
        }
    }

    @Test func theStreamIsXSalsa20() {
        // NaCl's test vector: tests/stream3.c.
        let key = NetworkKey(bytes: hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"))!
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
        var cipher = NetworkCipher(key: key, nonce: nonce)
        var zeros = [UInt8](repeating: 0, count: 32)
        zeros.withUnsafeMutableBytes { cipher.apply(to: $0) }
        #expect(zeros == hex("eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"))
    }

    @Test func theStreamIsOneWhateverItsPieces() {
        let nonce = (0..<24).map { UInt8(200 - $0) }
        let plain = (0..<1_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        func encrypted(_ sizes: [Int]) -> [UInt8] {
            var cipher = NetworkCipher(key: Self.key, nonce: nonce)
            var bytes = plain
            var start = 0
            for size in sizes {
                bytes.withUnsafeMutableBytes { cipher.apply(to: .init(rebasing: $0[start..<start + size])) }
                start += size
            }
            return bytes
        }
        let expected = encrypted([1_000])
        for sizes in [[1, 63, 64, 65, 807], [24, 40, 1, 1, 934], Array(repeating: 10, count: 100)] {
            #expect(encrypted(sizes) == expected)
        }
    }

    @Test func keyFilesOfOtherImplementationsAreRead() throws {
        let hex = Self.key.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(Self.key.file == "/key/swarm/psk/1.0.0/\n/base16/\n\(hex)\n")
        #expect(try NetworkKey(file: Array(Self.key.file.utf8)) == Self.key)
        #expect(
            try NetworkKey(file: Array("/key/swarm/psk/1.0.0/\r\n/base16/\r\n\(hex.uppercased())".utf8)) == Self.key)
        let base64 = "/key/swarm/psk/1.0.0/\n/base64/\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        #expect(try NetworkKey(file: Array(base64.utf8)) == Self.key)
        #expect(try NetworkKey(file: Array("/key/swarm/psk/1.0.0/\n/bin/\n".utf8) + Self.key.bytes) == Self.key)
    }

    @Test func aDamagedKeyFileIsRefused() {
        let file = Array(Self.key.file.utf8)
        for count in 0..<file.count - 1 {
            #expect(throws: NetworkKeyError.self) { try NetworkKey(file: Array(file.prefix(count))) }
        }
        #expect(throws: NetworkKeyError.notAKey) { try NetworkKey(file: []) }
        #expect(throws: NetworkKeyError.unknownEncoding) {
            try NetworkKey(file: Array("/key/swarm/psk/1.0.0/\n/base32/\n".utf8))
        }
        #expect(throws: NetworkKeyError.notThirtyTwoBytes) { try NetworkKey(file: file.dropLast() + Array("00".utf8)) }
        #expect(throws: NetworkKeyError.notThirtyTwoBytes) {
            try NetworkKey(file: Array("/key/swarm/psk/1.0.0/\n/base64/\n\(String(repeating: "A", count: 48))".utf8))
        }
    }
}
