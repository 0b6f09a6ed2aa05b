/// A message of AutoNAT v2's dial-request stream: libp2p/specs, autonat/autonat-v2.md, "RPC Messages".
package enum AutoNATMessage: Hashable, Sendable {
    /// Asks to be dialed at the first of `addresses` that the server can and will dial. An address that does not decode
    /// keeps its place as nil, because answers name addresses by their index.
    case dialRequest(addresses: [Multiaddr?], nonce: UInt64)
    /// How the request ended.
    case dialResponse(ResponseStatus, addressIndex: UInt64, DialStatus)
    /// The server wants so many bytes before it dials an address whose IP is not the requester's.
    case dialDataRequest(addressIndex: UInt64, byteCount: UInt64)
    /// Some of those bytes; what they are does not matter.
    case dialData(byteCount: Int)

    /// What became of a request.
    package enum ResponseStatus: UInt64, Hashable, Sendable {
        case internalError = 0
        case requestRejected = 100
        case dialRefused = 101
        case ok = 200
    }

    /// What became of the dial of one address.
    package enum DialStatus: UInt64, Hashable, Sendable {
        case unused = 0
        case dialError = 100
        case dialBackError = 101
        case ok = 200
    }

    /// The message with one field of the `oneof`.
    var encoded: [UInt8] {
        var body = ProtobufWriter()
        let field: UInt64
        switch self {
        case .dialRequest(let addresses, let nonce):
            field = 1
            for address in addresses { body.append(address?.bytes ?? [], field: 1) }
            body.append(fixed64: nonce, field: 2)
        case .dialResponse(let status, let addressIndex, let dialStatus):
            field = 2
            body.append(varint: status.rawValue, field: 1)
            body.append(varint: addressIndex, field: 2)
            body.append(varint: dialStatus.rawValue, field: 3)
        case .dialDataRequest(let addressIndex, let byteCount):
            field = 3
            body.append(varint: addressIndex, field: 1)
            body.append(varint: byteCount, field: 2)
        case .dialData(let byteCount):
            field = 4
            body.append(repeatElement(0, count: byteCount), field: 1)
        }
        var message = ProtobufWriter()
        message.append(body.bytes, field: field)
        return message.bytes
    }

    /// Reads a message; nil if it is malformed, empty, or holds a status that this node does not know (which the
    /// specification says to discard).
    init?(decoding bytes: [UInt8]) {
        var found: (field: UInt64, content: ArraySlice<UInt8>)?
        var reader = ProtobufReader(bytes)
        do throws(ProtobufReader.Malformed) {
            // Of a oneof the last one counts.
            while let (field, content) = try reader.next() {
                if (1...4).contains(field) { found = (field, content) }
            }
            guard let found, let message = try Self.body(found.field, found.content) else { return nil }
            self = message
        } catch {
            return nil
        }
    }

    private static func body(
        _ kind: UInt64, _ content: ArraySlice<UInt8>
    ) throws(ProtobufReader.Malformed) -> AutoNATMessage? {
        var reader = ProtobufReader(content)
        var numbers: [UInt64] = [0, 0, 0, 0]
        var addresses: [Multiaddr?] = []
        var dataBytes = 0
        while let (field, value) = try reader.nextField() {
            switch (kind, field, value) {
            case (1, 1, .content(let bytes)):
                // Those beyond are not dialed; the index of each that is kept is its own.
                guard addresses.count < AutoNATLimits.addressesMax else { continue }
                addresses.append(try? Multiaddr(bytes: Array(bytes)))
            case (1, 2, .fixed64(let nonce)): numbers[0] = nonce
            case (2...3, 1...3, .varint(let number)): numbers[Int(field)] = number
            case (4, 1, .content(let bytes)): dataBytes = bytes.count
            default: break
            }
        }
        switch kind {
        case 1: return .dialRequest(addresses: addresses, nonce: numbers[0])
        case 2:
            guard let status = ResponseStatus(rawValue: numbers[1]), let dialStatus = DialStatus(rawValue: numbers[3])
            else { return nil }
            return .dialResponse(status, addressIndex: numbers[2], dialStatus)
        case 3: return .dialDataRequest(addressIndex: numbers[1], byteCount: numbers[2])
        default: return .dialData(byteCount: dataBytes)
        }
    }
}

/// The two messages of the dial-back stream.
package enum AutoNATDialBack {
    /// What the server sends: the nonce of the request.
    package static func message(nonce: UInt64) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.append(fixed64: nonce, field: 1)
        return writer.bytes
    }

    /// The nonce of such a message; nil if it is malformed or holds none.
    static func nonce(of message: [UInt8]) -> UInt64? {
        var reader = ProtobufReader(message)
        var nonce: UInt64?
        do throws(ProtobufReader.Malformed) {
            while let (field, value) = try reader.nextField() {
                if field == 1, case .fixed64(let number) = value { nonce = number }
            }
        } catch {
            return nil
        }
        return nonce
    }

    /// What the client answers: status OK, which is protobuf's default and so no byte at all.
    static let response: [UInt8] = []

    /// Whether a message is that answer.
    package static func isResponse(_ message: [UInt8]) -> Bool {
        var reader = ProtobufReader(message)
        do throws(ProtobufReader.Malformed) {
            while let (field, value) = try reader.nextField() {
                if field == 1, case .varint(let status) = value, status != 0 { return false }
            }
            return true
        } catch {
            return false
        }
    }
}
