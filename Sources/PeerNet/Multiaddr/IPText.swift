/// Text forms of IP addresses: dotted quads, and RFC 4291 text printed as RFC 5952 asks.
enum IPText {
    /// Four bytes of `a.b.c.d`; no leading zeros.
    static func parse4(_ text: some StringProtocol) -> [UInt8]? {
        let words = text.split(separator: ".", omittingEmptySubsequences: false)
        guard words.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for word in words {
            guard let byte = UInt8(word), String(byte) == word else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    /// `a.b.c.d` of four bytes.
    static func format4(_ bytes: [UInt8]) -> String {
        bytes.map { String($0) }.joined(separator: ".")
    }

    /// Sixteen bytes of an IPv6 text, `::` and a dotted quad at the end included; no zone.
    static func parse6(_ text: String) -> [UInt8]? {
        guard text.utf8.count <= 45 else { return nil }
        // Cut at the only "::".
        let characters = Array(text.utf8)
        let colon = UInt8(ascii: ":")
        let gaps = characters.indices.dropLast().filter { characters[$0] == colon && characters[$0 + 1] == colon }
        guard gaps.count <= 1 else { return nil }
        guard let gap = gaps.first else {
            let bytes = groups(characters[...])
            return bytes?.count == 16 ? bytes : nil
        }
        let left = characters[..<gap]
        let right = characters[(gap + 2)...]
        guard let head = left.isEmpty ? [] : groups(left, quadAllowed: false),
            let tail = right.isEmpty ? [] : groups(right), head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    private static func groups(_ characters: ArraySlice<UInt8>, quadAllowed: Bool = true) -> [UInt8]? {
        let words = characters.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var bytes: [UInt8] = []
        for (index, word) in words.enumerated() {
            if word.contains(UInt8(ascii: ".")) {
                guard quadAllowed, index == words.count - 1, let quad = parse4(String(decoding: word, as: UTF8.self))
                else { return nil }
                bytes += quad
            } else {
                guard (1...4).contains(word.count), word.first != UInt8(ascii: "+"),
                    let group = UInt16(String(decoding: word, as: UTF8.self), radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(group & 255)]
            }
        }
        return bytes
    }

    /// RFC 5952 text of sixteen bytes: lower case, the longest run of two or more zero groups cut out.
    static func format6(_ bytes: [UInt8]) -> String {
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = max(end, start + 1)
        }
        let text = { (range: Range<Int>) in groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? text(0..<8) : "\(text(0..<best.lowerBound))::\(text(best.upperBound..<8))"
    }
}
