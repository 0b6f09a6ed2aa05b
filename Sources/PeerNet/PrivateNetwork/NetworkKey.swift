import CSodium

/// What is wrong with a private network's key file.
package enum NetworkKeyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The first line is not the one that all such files begin with.
    case notAKey
    /// The second line names no encoding that is known.
    case unknownEncoding
    /// The third part is not 32 bytes in that encoding.
    case notThirtyTwoBytes

    /// The cause in words.
    package var description: String {
        switch self {
        case .notAKey: "it does not begin with the line \(NetworkKey.header)"
        case .unknownEncoding: "its second line is none of /base16/, /base64/ and /bin/"
        case .notThirtyTwoBytes: "its third line is not a key of 32 bytes in the encoding that it names"
        }
    }
}

/// The key that all members of a private network share: libp2p's `pnet`, version 1.
/// https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md
package struct NetworkKey: Hashable, Sendable {
    static let header = "/key/swarm/psk/1.0.0/"
    /// No key file is longer.
    package static let fileBytesMax = 1_024

    /// The 32 bytes.
    let bytes: [UInt8]

    /// Takes 32 secret bytes; nil for any other count.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Int(crypto_stream_xsalsa20_KEYBYTES) else { return nil }
        self.bytes = bytes
    }

    /// Reads a key file, as go-libp2p and ipfs write it; total.
    package init(file: [UInt8]) throws(NetworkKeyError) {
        var rest = file[...]
        guard Self.line(from: &rest) == Self.header else { throw .notAKey }
        let encoding = Self.line(from: &rest)
        let decoded: [UInt8]?
        switch encoding {
        case "/base16/": decoded = Self.hexadecimal(Self.line(from: &rest))
        case "/base64/": decoded = Self.base64(Self.line(from: &rest))
        case "/bin/": decoded = Array(rest)
        default: throw .unknownEncoding
        }
        guard let decoded, let key = NetworkKey(bytes: decoded) else { throw .notThirtyTwoBytes }
        self = key
    }

    /// The key file, with its key in hexadecimal.
    package var file: String {
        let digits = Array("0123456789abcdef")
        return "\(Self.header)\n/base16/\n" + bytes.map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined()
            + "\n"
    }

    /// Takes one line, without its end; the last one may lack it.
    private static func line(from rest: inout ArraySlice<UInt8>) -> String {
        let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
        var line = rest[..<end]
        rest = end < rest.endIndex ? rest[(end + 1)...] : rest[end...]
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
    }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            let pair = digits[index...index + 1]
            guard pair.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
                let byte = UInt8(String(decoding: pair, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func base64(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        var bytes = [UInt8](repeating: 0, count: 33)
        var count = 0
        let status = characters.withUnsafeBytes { (source) -> Int32 in
            guard let base = source.bindMemory(to: CChar.self).baseAddress else { return -1 }
            // Nil for the last argument: the whole text must be base64.
            return sodium_base642bin(
                &bytes, bytes.count, base, characters.count, nil, &count, nil, sodium_base64_VARIANT_ORIGINAL)
        }
        return status == 0 ? Array(bytes.prefix(count)) : nil
    }
}
