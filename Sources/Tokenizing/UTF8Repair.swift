/// Makes any bytes valid UTF-8 the way Python's `bytes.decode("utf-8", "replace")` does.
enum UTF8Repair {
    private static let replacement: [UInt8] = [0xef, 0xbf, 0xbd]

    /// The bytes with U+FFFD in place of every maximal invalid subpart (Unicode 15, chapter 3, "U+FFFD Substitution of
    /// Maximal Subparts"); nil if they are valid as they are.
    static func repaired(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var position = validPrefix(of: bytes, from: 0)
        guard position < bytes.count else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 64)
        var copied = 0
        while position < bytes.count {
            result.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[copied..<position]))
            result.append(contentsOf: replacement)
            position += invalidLength(of: bytes, at: position)
            copied = position
            position = validPrefix(of: bytes, from: position)
        }
        result.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[copied...]))
        return result
    }

    /// The position of the first scalar at or after `start` that is not valid, or the end.
    private static func validPrefix(of bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var position = start
        let raw = UnsafeRawBufferPointer(bytes)
        while position < bytes.count {
            if bytes[position] < 0x80 {
                while position + 8 <= bytes.count,
                    raw.loadUnaligned(fromByteOffset: position, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
                {
                    position += 8
                }
                while position < bytes.count, bytes[position] < 0x80 { position += 1 }
            } else {
                let (length, needed) = scalarLength(of: bytes, at: position)
                guard length == needed else { return position }
                position += length
            }
        }
        return position
    }

    private static func invalidLength(of bytes: UnsafeBufferPointer<UInt8>, at position: Int) -> Int {
        max(1, scalarLength(of: bytes, at: position).length)
    }

    /// How many bytes from `position` on could begin one scalar, and how many that scalar needs; `needed` is 0 where no
    /// scalar starts with this byte.
    private static func scalarLength(
        of bytes: UnsafeBufferPointer<UInt8>, at position: Int
    ) -> (length: Int, needed: Int) {
        let first = bytes[position]
        let needed: Int
        // The range of the second byte excludes surrogates, overlong forms and values beyond U+10FFFF.
        var (low, high): (UInt8, UInt8) = (0x80, 0xbf)
        switch first {
        case 0..<0x80: return (1, 1)
        case 0xc2...0xdf: needed = 2
        case 0xe0...0xef:
            needed = 3
            if first == 0xe0 { low = 0xa0 }
            if first == 0xed { high = 0x9f }
        case 0xf0...0xf4:
            needed = 4
            if first == 0xf0 { low = 0x90 }
            if first == 0xf4 { high = 0x8f }
        default: return (1, 0)
        }
        var length = 1
        while length < needed, position + length < bytes.count,
            (low...high).contains(bytes[position + length])
        {
            length += 1
            (low, high) = (0x80, 0xbf)
        }
        return (length, needed)
    }
}
