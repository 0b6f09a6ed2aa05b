import PeerNet
import Testing

@Suite struct KeyTests {
    static let keyA = hex(
        "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    static let textA = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    static let bytesA = hex("0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    static let textB = "12D3KooWJ1TsijH7H5F74hfAD5XishQz3sxrmAtVY37GtNd9CqYf"
    static let seedB = Array(UInt8(1)...32)

    @Test func privateKeyOfTheSpecificationGivesItsPeerID() throws {
        let identity = try Identity(privateKeyProtobuf: Self.keyA)
        #expect(identity.peerID.description == Self.textA)
        #expect(identity.peerID.bytes == Self.bytesA)
        #expect(identity.peerID.publicKeyProtobuf == Array(Self.bytesA.dropFirst(2)))
        #expect(identity.peerID.cid == "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6")
        #expect(identity.privateKeyProtobuf == Self.keyA)
        #expect(Identity(seed: Self.seedB)?.peerID.description == Self.textB)
    }

    @Test func peerIDReadsBothTextForms() throws {
        let peer = try PeerID(bytes: Self.bytesA)
        #expect(try PeerID(Self.textA) == peer)
        #expect(try PeerID(peer.cid) == peer)
        #expect(try PeerID("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"[...]) == peer)
    }

    @Test(arguments: [
        ("16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY", PeerIDError.unsupportedKey(.secp256k1)),
        ("QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk", .unsupportedKey(.hashed)),
        ("bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe", .unsupportedKey(.hashed)),
        ("", .malformed), ("1", .malformed), ("12D3KooW", .malformed), ("zQm", .malformed), ("b", .malformed),
        ("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3p0", .malformed),
        (String(repeating: "1", count: 500), .malformed),
    ])
    func peerIDsOfOtherKindsAreRefusedWithTheReason(text: String, error: PeerIDError) {
        #expect(throws: error) { try PeerID(text) }
    }

    @Test func everyTruncationAndChangeOfAnIDIsRefusedOrAnotherID() {
        for count in 0..<Self.bytesA.count {
            #expect(throws: PeerIDError.self) { try PeerID(bytes: Self.bytesA.prefix(count)) }
        }
        for index in Self.bytesA.indices {
            for change in [UInt8(1), 0x80, 0xff] {
                var bytes = Self.bytesA
                bytes[index] ^= change
                if let peer = try? PeerID(bytes: bytes) { #expect(index >= 6 && peer.bytes == bytes) }
            }
        }
    }

    @Test func damagedPrivateKeysAreRefused() {
        var wrongPublic = Self.keyA
        wrongPublic[67] ^= 1
        #expect(throws: IdentityError.publicKeyDiffers) { try Identity(privateKeyProtobuf: wrongPublic) }
        var rsa = Self.keyA
        rsa[1] = 0
        #expect(throws: IdentityError.unsupportedKey(.rsa)) { try Identity(privateKeyProtobuf: rsa) }
        for count in 0..<Self.keyA.count {
            #expect(throws: IdentityError.malformed) { try Identity(privateKeyProtobuf: Self.keyA.prefix(count)) }
        }
        #expect(throws: IdentityError.malformed) { try Identity(privateKeyProtobuf: Self.keyA + [0]) }
        // The old form repeats the public key.
        let old = hex("08011260") + Self.keyA[4...] + Self.keyA[36...]
        #expect(throws: Never.self) { try Identity(privateKeyProtobuf: old) }
    }
}
