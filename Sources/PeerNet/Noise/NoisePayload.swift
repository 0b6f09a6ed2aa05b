/// The libp2p payload of the second and third handshake message (protocols/libp2p/noise.proto).
struct NoisePayload: Equatable, Sendable {
    /// The encoded identity key.
    var identityKey: [UInt8] = []
    /// The identity's signature over the sender's Noise static key.
    var identitySignature: [UInt8] = []
    /// Muxers in order of preference; nil: the sender does not negotiate early.
    var streamMuxers: [String]?

    /// A longer list of muxers is ignored, as go-libp2p does.
    static let muxersMax = 100

    /// What the identity key signs: a fixed prefix, then the sender's Noise static key.
    static func signedBytes(staticKey: [UInt8]) -> [UInt8] { Array("noise-libp2p-static-key:".utf8) + staticKey }

    /// The payload that `identity` sends with this Noise static key.
    init(identity: Identity, staticKey: [UInt8], streamMuxers: [String]?) {
        identityKey = identity.peerID.publicKeyProtobuf
        identitySignature = identity.sign(Self.signedBytes(staticKey: staticKey))
        self.streamMuxers = streamMuxers
    }

    /// Decodes a payload; unknown fields are skipped, of a field that comes twice the last one counts.
    init(bytes: [UInt8]) throws(Violation) {
        do throws(ProtobufReader.Malformed) {
            var reader = ProtobufReader(bytes)
            while let (field, content) = try reader.next() {
                switch field {
                case 1: identityKey = Array(content)
                case 2: identitySignature = Array(content)
                case 4:
                    var extensions = ProtobufReader(content)
                    var muxers: [String] = []
                    while let (field, content) = try extensions.next() {
                        if field == 2, muxers.count <= Self.muxersMax {
                            muxers.append(String(decoding: content, as: UTF8.self))
                        }
                    }
                    streamMuxers = muxers.isEmpty || muxers.count > Self.muxersMax ? nil : muxers
                default: break
                }
            }
        } catch {
            throw .noisePayloadMalformed
        }
    }

    /// The encoding, fields ascending.
    var bytes: [UInt8] {
        var writer = ProtobufWriter()
        writer.append(identityKey, field: 1)
        writer.append(identitySignature, field: 2)
        if let streamMuxers {
            var extensions = ProtobufWriter()
            for muxer in streamMuxers { extensions.append(muxer.utf8, field: 2) }
            writer.append(extensions.bytes, field: 4)
        }
        return writer.bytes
    }

    /// Checks key and signature against the static key that Noise decrypted, and gives the peer's id.
    func verifiedPeer(staticKey: [UInt8]) throws(Violation) -> PeerID {
        let peer: PeerID
        do throws(PeerIDError) {
            peer = try PublicKeyProtobuf.decode(identityKey)
        } catch {
            throw .noiseIdentityKeyRefused(error)
        }
        guard peer.verifies(signature: identitySignature, of: Self.signedBytes(staticKey: staticKey)) else {
            throw .noiseIdentitySignatureInvalid
        }
        return peer
    }
}
