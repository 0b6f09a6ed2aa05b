import Testing

@testable import PeerNet

@Suite struct NoiseTests {
    /// The XX vector of the cacophony set.
    @Test func handshakeMatchesTheCacophonyVector() throws {
        let prologue = hex("4a6f686e2047616c74")
        var initiator = NoiseHandshake(
            role: .initiator,
            secrets: .init(
                staticKey: hex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
                ephemeralKey: hex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")),
            prologue: prologue)
        var responder = NoiseHandshake(
            role: .responder,
            secrets: .init(
                staticKey: hex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
                ephemeralKey: hex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")),
            prologue: prologue)
        let steps = [
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573"
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad"
            ),
            (
                "462e20412e20486179656b",
                "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030"
            ),
        ]
        for (index, (payload, message)) in steps.enumerated() {
            if index % 2 == 0 {
                #expect(try initiator.write(payload: hex(payload)) == hex(message))
                #expect(try responder.read(hex(message)) == hex(payload))
            } else {
                #expect(try responder.write(payload: hex(payload)) == hex(message))
                #expect(try initiator.read(hex(message)) == hex(payload))
            }
        }
        var (initiatorSend, initiatorReceive, hash) = initiator.split()
        var (responderSend, responderReceive, otherHash) = responder.split()
        #expect(hash == hex("c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e"))
        #expect(otherHash == hash)
        let transport = [
            ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
            (
                "4a65616e2d426170746973746520536179",
                "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5"
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f"
            ),
        ]
        for (index, (plaintext, ciphertext)) in transport.enumerated() {
            if index % 2 == 0 {
                #expect(try encrypt(hex(plaintext), &responderSend) == hex(ciphertext))
                #expect(try decrypt(hex(ciphertext), &initiatorReceive) == hex(plaintext))
            } else {
                #expect(try encrypt(hex(plaintext), &initiatorSend) == hex(ciphertext))
                #expect(try decrypt(hex(ciphertext), &responderReceive) == hex(plaintext))
            }
        }
    }

    private func encrypt(_ bytes: [UInt8], _ cipher: inout NoiseCipher) throws -> [UInt8] {
        var output: [UInt8] = []
        try bytes.withUnsafeBytes { try cipher.encrypt($0, into: &output) }
        return output
    }

    private func decrypt(_ bytes: [UInt8], _ cipher: inout NoiseCipher) throws -> [UInt8] {
        var output: [UInt8] = []
        try bytes.withUnsafeBytes { try cipher.decrypt($0, into: &output) }
        return output
    }

    static let identityA = try! Identity(privateKeyProtobuf: KeyTests.keyA)
    static let identityB = Identity(seed: KeyTests.seedB)!

    static func upgrades(muxersI: [String] = ["/yamux/1.0.0"], muxersR: [String] = ["/yamux/1.0.0"])
        -> (NoiseUpgrade, NoiseUpgrade)
    {
        func repeated(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: 32) }
        return (
            NoiseUpgrade(
                identity: identityA, isInitiator: true,
                secrets: .init(staticKey: repeated(0x11), ephemeralKey: repeated(0x22)), muxers: muxersI),
            NoiseUpgrade(
                identity: identityB, isInitiator: false,
                secrets: .init(staticKey: repeated(0x33), ephemeralKey: repeated(0x44)), muxers: muxersR)
        )
    }

    static let message1 = hex("00200faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20")
    static let message2 = hex(
        "00d8ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b5cda1c2d8029877d73fad62823946ccd0c5da35c129100f43d33a59cf19ea8fcdcc0e3e57a6099ef8d8c471633442810f7b53910cdb568608dceb335efe59e99cd72a7e3f71f051074f0f30d8ec0596ba171c53aa7bb6d6cff0a53f2c69c3b98b399af732ddd8a4a736a09e3cddd2e6ecd51dabdd1a4f6c487ba59f408c83d2c3501f722dbd6473392aef49acd9827b423d58ce4ed4d5152e02de5f6ec38d2feae8b1261809b01688bbc64c353ea344802bfef9bf7b7632e"
    )
    static let message3 = hex(
        "00b8f4e4988e97bdcbf0f799d02dd2242624bda72d200e97e322c4f723213896a31e6ca4a149b79d24e5536f79dea6184e5ff12958cf4fae33dc7cc01e0b0926c339a132aa50eb838c843ab9ae222208e6f96a090e2b5c9caff5050c9cd5350702b99f25fb5f3de39b10866b126eba41d4fa2630eb7f70f3e3fce8c871bd932b7fc8b59f485ad3969ea774aa2df5c3e357829d0a8f860e7976e3cb53c556766e9dbdb180b847a167b49fa02913799d963d54800797961b0c5259"
    )

    @Test func wholeLibp2pHandshakeMatchesTheVector() throws {
        var (initiator, responder) = Self.upgrades()
        #expect(try initiator.opening() == Self.message1)
        #expect(try responder.opening() == [])
        var toResponder = ByteQueue()
        var toInitiator = ByteQueue()
        toResponder.append(Self.message1)
        var output: [UInt8] = []
        #expect(try responder.receive(from: &toResponder, into: &output) == nil)
        #expect(output == Self.message2)
        toInitiator.append(output)
        output = []
        let session = try #require(try initiator.receive(from: &toInitiator, into: &output))
        #expect(output == Self.message3)
        toResponder.append(output)
        output = []
        let other = try #require(try responder.receive(from: &toResponder, into: &output))
        #expect(output.isEmpty)
        #expect(session.peer == Self.identityB.peerID)
        #expect(other.peer == Self.identityA.peerID)
        #expect(session.muxer == "/yamux/1.0.0" && other.muxer == "/yamux/1.0.0")
        #expect(session.handshakeHash == hex("a4e75811206b07c6f2984318e8fe7eeccf905e1e5c62b79c813877d8309262e0"))
        #expect(other.handshakeHash == session.handshakeHash)

        // The first record.
        var record: [UInt8] = []
        var records = session.records
        let header = hex("132f6d756c746973747265616d2f312e302e300a")
        try header.withUnsafeBytes { try records.seal($0, into: &record) }
        #expect(record == hex("00243469d5d5ed0fb8e43091bad6b10d3f2ca6878b969e2a87556ade44374da16dcfc305621a"))
        var queue = ByteQueue()
        queue.append(record)
        var opened: [UInt8] = []
        var otherRecords = other.records
        try otherRecords.open(from: &queue, into: &opened)
        #expect(opened == header)
    }

    @Test func payloadMatchesTheVector() throws {
        let bytes = hex(
            "0a240801122079b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad0496641240de2b99931398acf316c7b60a94b85ba87593408c32b61fef7c1b62bcb74efee9aa5367f8470c5934331004eeb2b45be50c1f793818c487251fb9b897e87be403220e120c2f79616d75782f312e302e30"
        )
        let staticKey = hex("7b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14")
        let payload = NoisePayload(identity: Self.identityB, staticKey: staticKey, streamMuxers: ["/yamux/1.0.0"])
        #expect(payload.bytes == bytes)
        #expect(try NoisePayload(bytes: bytes) == payload)
        #expect(try payload.verifiedPeer(staticKey: staticKey) == Self.identityB.peerID)
        var other = staticKey
        other[0] ^= 1
        #expect(throws: Violation.noiseIdentitySignatureInvalid) { try payload.verifiedPeer(staticKey: other) }
        for count in 0..<bytes.count {
            // Cut at the end of a field it decodes to a payload without key or signature, which does not verify.
            if let cut = try? NoisePayload(bytes: Array(bytes.prefix(count))), cut.identitySignature.count < 64 {
                #expect(throws: Violation.self) { try cut.verifiedPeer(staticKey: staticKey) }
            }
        }
        var rsa = payload
        rsa.identityKey = hex("080012030405")
        #expect(throws: Violation.noiseIdentityKeyRefused(.unsupportedKey(.rsa))) {
            try rsa.verifiedPeer(staticKey: staticKey)
        }
    }

    @Test func initiatorsPreferenceChoosesTheMuxer() throws {
        func agreed(_ left: [String], _ right: [String]) throws -> String? {
            var (initiator, responder) = Self.upgrades(muxersI: left, muxersR: right)
            var queue = ByteQueue()
            queue.append(try initiator.opening())
            var output: [UInt8] = []
            _ = try responder.receive(from: &queue, into: &output)
            queue.append(output)
            output = []
            let session = try #require(try initiator.receive(from: &queue, into: &output))
            queue.append(output)
            let other = try #require(try responder.receive(from: &queue, into: &output))
            #expect(session.muxer == other.muxer)
            return session.muxer
        }
        #expect(try agreed(["/a", "/b"], ["/b", "/a"]) == "/a")
        #expect(try agreed(["/c", "/b"], ["/a", "/b"]) == "/b")
        #expect(try agreed(["/c"], ["/a"]) == nil)
        #expect(try agreed([], ["/a"]) == nil)
        #expect(try agreed(["/a"], []) == nil)
    }

    @Test func everyChangedByteOfTheHandshakeIsRefused() throws {
        for index in Self.message2.indices.dropFirst(2) {
            var (initiator, _) = Self.upgrades()
            _ = try initiator.opening()
            var changed = Self.message2
            changed[index] ^= 0x40
            var queue = ByteQueue()
            queue.append(changed)
            var output: [UInt8] = []
            #expect(throws: Violation.self) { try initiator.receive(from: &queue, into: &output) }
            #expect(output.isEmpty)
        }
        for count in 0..<Self.message2.count {
            // The cut is inside the frame: incomplete; a shorter frame: refused.
            var (initiator, _) = Self.upgrades()
            _ = try initiator.opening()
            var queue = ByteQueue()
            var output: [UInt8] = []
            queue.append(Array(Self.message2.prefix(count)))
            #expect(try initiator.receive(from: &queue, into: &output) == nil)
            let body = Array(Self.message2[2...].prefix(max(0, count - 2)))
            if body.count < Self.message2.count - 2 {
                var (initiator, _) = Self.upgrades()
                _ = try initiator.opening()
                var queue = ByteQueue()
                queue.append([0, UInt8(body.count)] + body)
                #expect(throws: Violation.self) { try initiator.receive(from: &queue, into: &output) }
            }
        }
    }

    @Test func lowOrderPointsEndTheHandshake() throws {
        var (_, responder) = Self.upgrades()
        var queue = ByteQueue()
        queue.append([0, 32] + [UInt8](repeating: 0, count: 32))
        var output: [UInt8] = []
        #expect(throws: Violation.noiseSharedSecretZero) { try responder.receive(from: &queue, into: &output) }
    }
}
