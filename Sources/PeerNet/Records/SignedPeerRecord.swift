/// Addresses that a peer claims for itself, signed by it, so that others can pass them on (RFC 0003 of libp2p).
package struct SignedPeerRecord: Hashable, Sendable {
    /// Longest envelope that is looked at: room for all the addresses of a peer with several interfaces.
    package static let byteCountMax = 4096
    /// Addresses that are kept; the rest are left out.
    package static let addressesMax = 32

    /// Why an envelope is not a peer record to trust.
    package enum Fault: Error, Hashable, Sendable {
        /// Longer than `byteCountMax`.
        case tooLong(bytes: Int)
        /// The envelope or the record does not decode, or lacks a field.
        case malformed
        /// The payload type is not that of a peer record.
        case wrongType
        /// The key is not one that this node accepts.
        case keyRefused(PeerIDError)
        /// The signature is not over this payload under the domain of peer records.
        case signatureInvalid
        /// The signer is not the peer that the record names.
        case wrongSigner
    }

    /// The peer that signed, whom the record names.
    package let peer: PeerID
    /// Rising with each new record of the peer; usually a time, but not to be read as one.
    package let sequence: UInt64
    /// Addresses that decode, without `/p2p`.
    package let addresses: [Multiaddr]
    /// The envelope as it came, to pass on.
    package let envelope: [UInt8]

    private static let domain = Array("libp2p-peer-record".utf8)
    private static let payloadType: [UInt8] = [0x03, 0x01]

    /// Signs a record of `identity`'s own addresses.
    package init(signedBy identity: Identity, sequence: UInt64, addresses: [Multiaddr]) {
        peer = identity.peerID
        self.sequence = sequence
        self.addresses = addresses.prefix(Self.addressesMax).map { $0.withoutPeerID }
        let payload = Self.payload(peer: peer, sequence: sequence, addresses: self.addresses)
        var writer = ProtobufWriter()
        writer.append(peer.publicKeyProtobuf, field: 1)
        writer.append(Self.payloadType, field: 2)
        writer.append(payload, field: 3)
        writer.append(identity.sign(Self.signedBytes(payload: payload)), field: 5)
        envelope = writer.bytes
    }

    /// Verifies an envelope: first the signature under the expected domain and type, then what it says.
    package init(envelope: [UInt8]) throws(Fault) {
        guard envelope.count <= Self.byteCountMax else { throw .tooLong(bytes: envelope.count) }
        let parts = try Self.parts(of: envelope)
        let signer: PeerID
        do throws(PeerIDError) {
            signer = try PublicKeyProtobuf.decode(parts.key)
        } catch {
            throw .keyRefused(error)
        }
        guard parts.type == Self.payloadType else { throw .wrongType }
        guard signer.verifies(signature: parts.signature, of: Self.signedBytes(payload: parts.payload)) else {
            throw .signatureInvalid
        }
        var named: PeerID?
        var sequence: UInt64 = 0
        var addresses: [Multiaddr] = []
        var reader = ProtobufReader(parts.payload)
        do throws(ProtobufReader.Malformed) {
            while let (field, value) = try reader.nextField() {
                switch (field, value) {
                case (1, .content(let content)): named = try? PeerID(bytes: content)
                case (2, .varint(let number)): sequence = number
                case (3, .content(let content)):
                    guard addresses.count < Self.addressesMax else { continue }
                    var inner = ProtobufReader(content)
                    while let (field, content) = try inner.next() {
                        guard field == 1, let address = try? Multiaddr(bytes: Array(content)) else { continue }
                        addresses.append(address.withoutPeerID)
                        break
                    }
                default: break
                }
            }
        } catch {
            throw .malformed
        }
        guard named == signer else { throw .wrongSigner }
        peer = signer
        self.sequence = sequence
        self.addresses = addresses
        self.envelope = envelope
    }

    private struct Parts {
        var key: ArraySlice<UInt8> = []
        var type: [UInt8] = []
        var payload: [UInt8] = []
        var signature: [UInt8] = []
    }

    private static func parts(of envelope: [UInt8]) throws(Fault) -> Parts {
        var parts = Parts()
        var reader = ProtobufReader(envelope)
        do throws(ProtobufReader.Malformed) {
            while let (field, content) = try reader.next() {
                switch field {
                case 1: parts.key = content
                case 2: parts.type = Array(content)
                case 3: parts.payload = Array(content)
                case 5: parts.signature = Array(content)
                default: break
                }
            }
        } catch {
            throw .malformed
        }
        return parts
    }

    /// What the signature of an envelope covers: domain, type and payload, each with its length.
    static func signedBytes(payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        for part in [domain, payloadType, payload] {
            Uvarint.append(UInt64(part.count), to: &bytes)
            bytes += part
        }
        return bytes
    }

    /// The encoded record, fields ascending.
    static func payload(peer: PeerID, sequence: UInt64, addresses: [Multiaddr]) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.append(peer.bytes, field: 1)
        writer.append(varint: sequence, field: 2)
        for address in addresses {
            var inner = ProtobufWriter()
            inner.append(address.bytes, field: 1)
            writer.append(inner.bytes, field: 3)
        }
        return writer.bytes
    }
}
