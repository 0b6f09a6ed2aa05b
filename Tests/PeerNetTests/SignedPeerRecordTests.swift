import Testing

@testable import PeerNet

@Suite struct SignedPeerRecordTests {
    static let envelope = hex(
        "0a24080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e120203011a360a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e10011a0a0a0804c0000201060fa12a4007971ac02e4e7805f78dbfd3cd2bc657d4d0b3f743df36c19ebe774ef95c42319fcbdddc71c3ebfbcd92d926c4761d2eadaf09d0f03102fb36299c88bef0d800"
    )
    let identity = try! Identity(privateKeyProtobuf: KeyTests.keyA)

    @Test func recordsMatchTheVectors() throws {
        let address = try Multiaddr("/ip4/192.0.2.1/tcp/4001")
        let record = SignedPeerRecord(signedBy: identity, sequence: 1, addresses: [address])
        #expect(record.envelope == Self.envelope)
        let payload = SignedPeerRecord.payload(peer: identity.peerID, sequence: 1, addresses: [address])
        #expect(
            payload
                == hex(
                    "0a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e10011a0a0a0804c0000201060fa1"
                ))
        #expect(
            SignedPeerRecord.signedBytes(payload: payload)
                == hex(
                    "126c69627032702d706565722d7265636f7264020301360a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e10011a0a0a0804c0000201060fa1"
                ))
        let decoded = try SignedPeerRecord(envelope: Self.envelope)
        #expect(decoded == record)
        #expect(decoded.addresses == [address])
    }

    @Test func everyChangeAndTruncationIsRefused() {
        for index in Self.envelope.indices {
            var bytes = Self.envelope
            bytes[index] ^= 1
            #expect(throws: SignedPeerRecord.Fault.self) { try SignedPeerRecord(envelope: bytes) }
            #expect(throws: SignedPeerRecord.Fault.self) {
                try SignedPeerRecord(envelope: Array(Self.envelope.prefix(index)))
            }
        }
    }

    @Test func theSignerMustBeThePeerThatTheRecordNames() {
        let other = testIdentity(3)
        let payload = SignedPeerRecord.payload(peer: identity.peerID, sequence: 1, addresses: [])
        var writer = ProtobufWriter()
        writer.append(other.peerID.publicKeyProtobuf, field: 1)
        writer.append([3, 1], field: 2)
        writer.append(payload, field: 3)
        writer.append(other.sign(SignedPeerRecord.signedBytes(payload: payload)), field: 5)
        #expect(throws: SignedPeerRecord.Fault.wrongSigner) { try SignedPeerRecord(envelope: writer.bytes) }
    }

    @Test func signaturesOfOtherTypesAndLargeEnvelopesAreRefused() {
        var voucher = Self.envelope
        voucher[41] = 2
        #expect(throws: SignedPeerRecord.Fault.wrongType) { try SignedPeerRecord(envelope: voucher) }
        let large = [UInt8](repeating: 0, count: 5000)
        #expect(throws: SignedPeerRecord.Fault.tooLong(bytes: 5000)) { try SignedPeerRecord(envelope: large) }
    }

    @Test func sequencesUseAllTheirBits() throws {
        let record = SignedPeerRecord(signedBy: identity, sequence: .max, addresses: [])
        #expect(try SignedPeerRecord(envelope: record.envelope).sequence == .max)
    }
}
