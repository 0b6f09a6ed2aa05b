/// A libp2p multiaddr, validated, in its binary form.
package struct Multiaddr: Hashable, Sendable {
    /// Longest binary form.
    package static let byteCountMax = 1024
    /// Most protocols in one address.
    package static let partsMax = 16

    /// The binary form.
    package let bytes: [UInt8]

    /// Wraps bytes that the caller has validated.
    init(validated bytes: [UInt8]) { self.bytes = bytes }

    /// Validates the binary form. An address with an unknown protocol is refused whole: its size is unknown.
    package init(bytes: [UInt8]) throws(MultiaddrError) {
        _ = try Self.parts(of: bytes)
        self.init(validated: bytes)
    }

    /// Parses the text form, such as `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…`.
    package init(_ text: some StringProtocol) throws(MultiaddrError) {
        // The text of an address is at most about three times its binary form.
        guard text.utf8.count <= 4 * Self.byteCountMax else { throw .tooLong }
        guard text.hasPrefix("/") else { throw .malformed }
        var words = String(text).dropFirst().split(separator: "/", omittingEmptySubsequences: false).map { String($0) }
        if words.last == "", words.count > 1 { words.removeLast() }
        var bytes: [UInt8] = []
        var index = 0
        while index < words.count {
            guard let proto = MultiaddrProtocol.named(words[index]) else { throw .unknownProtocol(words[index]) }
            index += 1
            var word: String?
            if proto.form == .path {
                word = "/" + words[index...].joined(separator: "/")
                index = words.count
            } else if proto.form != .none {
                guard index < words.count else { throw .missingValue(proto.name) }
                word = words[index]
                index += 1
            }
            Uvarint.append(proto.code, to: &bytes)
            guard let value = MultiaddrValue.encode(word ?? "", form: proto.form) else {
                throw .invalidValue(protocol: proto.name, value: word ?? "")
            }
            if proto.layout == .prefixed { Uvarint.append(UInt64(value.count), to: &bytes) }
            bytes += value
        }
        try self.init(bytes: bytes)
    }

    /// `/ip4/…/tcp/…` or `/ip6/…/tcp/…` of 4 or 16 address bytes; nil for any other count.
    package init?(ipBytes: [UInt8], tcpPort: UInt16) {
        let proto: MultiaddrProtocol
        switch ipBytes.count {
        case 4: proto = .ip4
        case 16: proto = .ip6
        default: return nil
        }
        var bytes: [UInt8] = []
        Uvarint.append(proto.code, to: &bytes)
        bytes += ipBytes
        Uvarint.append(MultiaddrProtocol.tcp.code, to: &bytes)
        bytes += [UInt8(tcpPort >> 8), UInt8(tcpPort & 255)]
        self.init(validated: bytes)
    }

    /// One protocol of an address with its value's bytes.
    struct Part: Hashable {
        let proto: MultiaddrProtocol
        let value: [UInt8]
    }

    /// The protocols, in order.
    var parts: [Part] { (try? Self.parts(of: bytes)) ?? [] }

    private static func parts(of bytes: [UInt8]) throws(MultiaddrError) -> [Part] {
        guard bytes.count <= byteCountMax else { throw .tooLong }
        guard !bytes.isEmpty else { throw .malformed }
        var parts: [Part] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard parts.count < partsMax else { throw .tooManyParts }
            guard case .value(let code, let codeBytes) = Uvarint.read(rest) else { throw .malformed }
            rest = rest.dropFirst(codeBytes)
            guard let proto = MultiaddrProtocol.code(code) else { throw .unknownProtocol(String(code)) }
            var count = 0
            switch proto.layout {
            case .none: break
            case .fixed(let size): count = size
            case .prefixed:
                guard case .value(let length, let lengthBytes) = Uvarint.read(rest), length <= UInt64(byteCountMax)
                else { throw .malformed }
                rest = rest.dropFirst(lengthBytes)
                count = Int(length)
            }
            guard count <= rest.count else { throw .malformed }
            let value = Array(rest.prefix(count))
            guard MultiaddrValue.isValid(value, form: proto.form) else {
                throw .invalidValue(protocol: proto.name, value: "\(value.count) bytes")
            }
            parts.append(Part(proto: proto, value: value))
            rest = rest.dropFirst(count)
            if proto.form == .path, !rest.isEmpty { throw .malformed }
        }
        return parts
    }
}

/// Why some bytes or text are not a multiaddr that this node can carry.
package enum MultiaddrError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed
    case tooLong
    case tooManyParts
    /// A protocol name (text) or code (binary) outside the table.
    case unknownProtocol(String)
    case missingValue(String)
    case invalidValue(protocol: String, value: String)

    /// One line for people.
    package var description: String {
        switch self {
        case .malformed: "not a multiaddr (such as /ip4/192.0.2.1/tcp/4001)"
        case .tooLong: "multiaddr longer than \(Multiaddr.byteCountMax) bytes"
        case .tooManyParts: "multiaddr of more than \(Multiaddr.partsMax) parts"
        case .unknownProtocol(let name): "unknown protocol \(name) in multiaddr"
        case .missingValue(let name): "multiaddr ends after /\(name)"
        case .invalidValue(let name, let value): "\(value) is not a value of /\(name)"
        }
    }
}

extension Multiaddr: CustomStringConvertible {
    /// The text form.
    package var description: String {
        parts.map { part in
            guard let text = MultiaddrValue.decode(part.value, form: part.proto.form) else { return "" }
            return "/\(part.proto.name)"
                + (part.proto.form == .none ? "" : part.proto.form == .path ? text : "/\(text)")
        }.joined()
    }
}
