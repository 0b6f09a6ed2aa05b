/// The bytes of a text as they are generated, cut at stop strings and passed on in whole characters.
///
/// What may be the beginning of a stop string, and a character whose bytes have not all come, is held back until the next
/// bytes tell, or the end. Bytes that are no UTF-8 are passed on as they are. Linear in the length of the text times the
/// number of stop strings.
package struct GeneratedText: Sendable {
    /// One stop string with the automaton of Knuth, Morris and Pratt.
    private struct Stop: Sendable {
        let bytes: [UInt8]
        /// By number of matched bytes, the length of the longest proper prefix that is a suffix of them.
        let fallbacks: [Int]
        /// Bytes of the stop string that the text ends with.
        var matched = 0

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            var fallbacks = [0, 0]
            var length = 0
            for index in bytes.indices.dropFirst() {
                while length > 0 && bytes[index] != bytes[length] { length = fallbacks[length] }
                if bytes[index] == bytes[length] { length += 1 }
                fallbacks.append(length)
            }
            self.fallbacks = fallbacks
        }

        /// Whether the stop string is complete with this byte.
        mutating func advance(_ byte: UInt8) -> Bool {
            while matched > 0 && bytes[matched] != byte { matched = fallbacks[matched] }
            if bytes[matched] == byte { matched += 1 }
            return matched == bytes.count
        }
    }

    private var stops: [Stop]
    /// Bytes that are not passed on yet.
    private var held: [UInt8] = []
    /// Whether a stop string has come; nothing is passed on after it.
    package private(set) var isStopped = false

    /// Begins an empty text; empty stop strings are ignored.
    package init(stops: [[UInt8]]) { self.stops = stops.filter { !$0.isEmpty }.map { Stop($0) } }

    /// Takes the bytes of a token and returns what can be passed on: nothing from the first stop string on.
    package mutating func append(_ bytes: [UInt8]) -> [UInt8] {
        for byte in bytes where !isStopped {
            held.append(byte)
            var longest = 0
            for index in stops.indices where stops[index].advance(byte) {
                longest = max(longest, stops[index].bytes.count)
            }
            if longest > 0 {
                isStopped = true
                held.removeLast(longest)
                return finish()
            }
        }
        let awaited = stops.reduce(0) { max($0, $1.matched) }
        let count = Self.wholeCharacters(held.dropLast(awaited))
        defer { held.removeFirst(count) }
        return Array(held[..<count])
    }

    /// What is still held back, as it is; the text has ended.
    package mutating func finish() -> [UInt8] {
        defer { held = [] }
        return held
    }

    /// The length of `bytes` without an incomplete character at the end.
    private static func wholeCharacters(_ bytes: ArraySlice<UInt8>) -> Int {
        // A character has four bytes at most, so an incomplete one begins among the last three.
        for length in 1...3 where length <= bytes.count {
            let lead = bytes[bytes.endIndex - length]
            if lead & 0xC0 == 0x80 { continue }
            let expected = lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1
            let isOpen = lead < 0xF5 && expected > length
            return isOpen ? bytes.count - length : bytes.count
        }
        return bytes.count
    }
}
