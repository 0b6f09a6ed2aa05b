/// Where long text is cut before it is encoded.
///
/// A tokenizer gets at most `byteCountMax` bytes at once, so that memory stays flat and all cores have work. Cuts depend on
/// the text alone, and lie where every splitting rule in use starts a new word: after a line end that follows a visible ASCII
/// character, and before an ASCII letter or digit, so that the ids are those of the text in one piece. (GPT-2 splits a run of
/// white space before its last character only if text follows, which the end of a piece would hide.) Text without such a
/// place is cut after a line end, or else between two characters.
enum TextPieces {
    static let byteCountMax = 256 << 10

    /// The length of the first piece of `text`, which is the rest of a document or its first `byteCountMax + 1` bytes.
    static func cut(_ text: UnsafeRawBufferPointer) -> Int {
        guard text.count > byteCountMax else { return text.count }
        var lineEnd: Int?
        // Below half a piece the search would cost more than it gives.
        for end in stride(from: byteCountMax, to: byteCountMax / 2, by: -1)
        where text[end - 1] == UInt8(ascii: "\n") {
            if isWordStart(text[end]), isVisible(text[end - 2]) { return end }
            if lineEnd == nil { lineEnd = end }
        }
        if let lineEnd { return lineEnd }
        // UTF-8 has at most three continuation bytes; what has more is not text.
        for end in stride(from: byteCountMax, to: byteCountMax - 4, by: -1) where text[end] & 0xc0 != 0x80 {
            return end
        }
        return byteCountMax
    }

    /// Whether a byte is an ASCII character that is no white space.
    private static func isVisible(_ byte: UInt8) -> Bool { (0x21...0x7e).contains(byte) }

    private static func isWordStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
