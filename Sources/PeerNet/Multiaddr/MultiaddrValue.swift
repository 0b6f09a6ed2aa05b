/// Text and binary forms of the values inside multiaddrs. Both directions are total and reject what the other
/// direction could not give back.
enum MultiaddrValue {
    /// The binary value of `text`; nil if it is not one.
    static func encode(_ text: String, form: MultiaddrProtocol.Form) -> [UInt8]? {
        switch form {
        case .none: return []
        case .ip4: return IPText.parse4(text)
        case .ip6: return IPText.parse6(text)
        case .port:
            guard let port = UInt16(text), text == String(port) else { return nil }
            return [UInt8(port >> 8), UInt8(port & 255)]
        case .octet:
            guard let octet = UInt8(text), text == String(octet) else { return nil }
            return [octet]
        case .name, .path:
            let bytes = Array(text.utf8)
            return decode(bytes, form: form) == text ? bytes : nil
        case .peer: return peerBytes(text)
        case .certificateHash:
            guard text.utf8.first == UInt8(ascii: "u"), let bytes = BaseBits.base64url.decode(text.utf8.dropFirst())
            else { return nil }
            return decode(bytes, form: form) == text ? bytes : nil
        case .onion3:
            let words = text.split(separator: ":", omittingEmptySubsequences: false)
            guard words.count == 2, let key = BaseBits.base32.decode(words[0].utf8), key.count == 35,
                let port = encode(String(words[1]), form: .port), port != [0, 0]
            else { return nil }
            return key + port
        }
    }

    /// Whether `decode` gives a text, without writing one where every value of the right size has one.
    static func isValid(_ bytes: [UInt8], form: MultiaddrProtocol.Form) -> Bool {
        switch form {
        case .ip4: bytes.count == 4
        case .ip6: bytes.count == 16
        case .port: bytes.count == 2
        case .none, .octet, .name, .path, .peer, .certificateHash, .onion3: decode(bytes, form: form) != nil
        }
    }

    /// The text of a binary value; nil if it is not one.
    static func decode(_ bytes: [UInt8], form: MultiaddrProtocol.Form) -> String? {
        switch form {
        case .none: return bytes.isEmpty ? "" : nil
        case .ip4: return bytes.count == 4 ? IPText.format4(bytes) : nil
        case .ip6: return bytes.count == 16 ? IPText.format6(bytes) : nil
        case .port: return bytes.count == 2 ? String(UInt16(bytes[0]) << 8 | UInt16(bytes[1])) : nil
        case .octet: return bytes.count == 1 ? String(bytes[0]) : nil
        case .name:
            guard let text = printable(bytes), !bytes.contains(UInt8(ascii: "/")) else { return nil }
            return text
        case .path:
            guard let text = printable(bytes), bytes.count > 1, bytes.first == UInt8(ascii: "/"),
                bytes.last != UInt8(ascii: "/")
            else { return nil }
            return text
        case .peer: return peerText(bytes)
        case .certificateHash: return bytes.count > 2 ? "u" + BaseBits.base64url.encode(bytes) : nil
        case .onion3:
            guard bytes.count == 37, bytes[35] != 0 || bytes[36] != 0,
                let port = decode(Array(bytes.suffix(2)), form: .port)
            else { return nil }
            return BaseBits.base32.encode(bytes.prefix(35)) + ":" + port
        }
    }

    /// Valid UTF-8 without control characters: names end up in logs and terminals.
    private static func printable(_ bytes: [UInt8]) -> String? {
        guard !bytes.isEmpty, bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// A multihash of any key kind: an address may name peers that this node cannot talk to.
    private static func peerText(_ bytes: [UInt8]) -> String? {
        let isIdentity = bytes.count >= 2 && bytes[0] == 0x00 && bytes[1] <= 42 && bytes.count == 2 + Int(bytes[1])
        let isHash = bytes.count == 34 && bytes[0] == 0x12 && bytes[1] == 0x20
        return isIdentity && bytes.count > 2 || isHash ? Base58.encode(bytes) : nil
    }

    private static func peerBytes(_ text: String) -> [UInt8]? {
        guard text.utf8.count <= Base58.countMax else { return nil }
        let bytes: [UInt8]?
        if text.hasPrefix("b") {
            let cid = BaseBits.base32.decode(text.utf8.dropFirst())
            bytes = cid.flatMap { $0.starts(with: [0x01, 0x72]) ? Array($0.dropFirst(2)) : nil }
        } else {
            bytes = Base58.decode(text.utf8)
        }
        guard let bytes, peerText(bytes) != nil else { return nil }
        return bytes
    }
}
