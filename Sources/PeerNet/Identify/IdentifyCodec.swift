/// Bounds of identify: what a peer may say about itself.
enum IdentifyLimits {
    /// One delimited message.
    static let messageBytesMax = 8 << 10
    /// Delimited messages of one answer, which are merged.
    static let messagesMax = 10
    static let addressesMax = 64
    static let protocolsMax = 256
    static let textBytesMax = 256
    /// Our own answer stays below what rust-libp2p accepts.
    static let ownMessageBytesMax = 4096
    /// Addresses that would make our own answer longer than this are left out of it.
    static let ownAddressBytesMax = 1024
}

extension IdentifyRecord {
    /// One delimited message that says `self`, with the public key of `peer` (protocols/libp2p/identify.proto).
    func delimitedMessage(of peer: PeerID) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.append(peer.publicKeyProtobuf, field: 1)
        for address in listenAddresses.prefix(IdentifyLimits.addressesMax)
        where writer.bytes.count + address.bytes.count < IdentifyLimits.ownAddressBytesMax {
            writer.append(address.withoutPeerID.bytes, field: 2)
        }
        for name in protocols { writer.append(name.utf8, field: 3) }
        if let observedAddress { writer.append(observedAddress.bytes, field: 4) }
        writer.append(protocolVersion.utf8.prefix(IdentifyLimits.textBytesMax), field: 5)
        writer.append(agentVersion.utf8.prefix(IdentifyLimits.textBytesMax), field: 6)
        if let signedRecord, writer.bytes.count + signedRecord.count < IdentifyLimits.ownMessageBytesMax {
            writer.append(signedRecord, field: 8)
        }
        precondition(writer.bytes.count <= IdentifyLimits.ownMessageBytesMax, "our own identify message is short")
        return Uvarint.encode(writer.bytes.count) + writer.bytes
    }
}

/// Collects the delimited messages of one identify exchange until its stream ends.
struct IdentifyCollector: Sendable {
    private var input = ByteQueue()
    private var messages = 0
    private(set) var record = IdentifyRecord()

    /// Takes bytes of the stream. False: the peer broke a limit or sent nonsense, and its stream should be reset.
    mutating func receive(_ bytes: [UInt8], from peer: PeerID) -> Bool {
        input.append(bytes)
        while true {
            switch Uvarint.read(input.prefix(Uvarint.byteCountMax)) {
            case .incomplete: return true
            case .malformed: return false
            case .value(let length, let prefixBytes):
                guard length <= UInt64(IdentifyLimits.messageBytesMax), messages < IdentifyLimits.messagesMax
                else { return false }
                guard input.count >= prefixBytes + Int(length) else { return true }
                input.drop(prefixBytes)
                messages += 1
                guard merge(input.take(Int(length)), from: peer) else { return false }
            }
        }
    }

    /// Adds one message: of a single field the last counts, lists grow.
    private mutating func merge(_ message: [UInt8], from peer: PeerID) -> Bool {
        var reader = ProtobufReader(message)
        do throws(ProtobufReader.Malformed) {
            while let (field, content) = try reader.next() {
                switch field {
                case 1:
                    guard content.elementsEqual(peer.publicKeyProtobuf) else { return false }
                case 2:
                    if record.listenAddresses.count < IdentifyLimits.addressesMax,
                        let address = try? Multiaddr(bytes: Array(content)), !record.listenAddresses.contains(address)
                    {
                        record.listenAddresses.append(address)
                    }
                case 3:
                    if record.protocols.count < IdentifyLimits.protocolsMax, let name = Self.text(content) {
                        record.protocols.append(name)
                    }
                case 4: record.observedAddress = try? Multiaddr(bytes: Array(content))
                case 5: record.protocolVersion = Self.text(content) ?? ""
                case 6: record.agentVersion = Self.text(content) ?? ""
                case 8:
                    record.signedRecord = content.count <= SignedPeerRecord.byteCountMax ? Array(content) : nil
                default: break
                }
            }
            return true
        } catch {
            return false
        }
    }

    /// Short valid UTF-8 without control characters: these texts reach logs and terminals.
    private static func text(_ content: ArraySlice<UInt8>) -> String? {
        guard content.count <= IdentifyLimits.textBytesMax, content.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
        else { return nil }
        return String(validating: content, as: UTF8.self)
    }
}
