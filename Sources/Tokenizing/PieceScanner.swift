/// Finds the ends of pieces: hand-written equivalents of the patterns of `PreTokenizer`.
///
/// Works on valid UTF-8. Positions are byte offsets at scalar boundaries; nothing at or beyond `end` is looked at, which is
/// also where the patterns see the end of the text.
struct PieceScanner {
    let text: UnsafePointer<UInt8>
    let classes: ScalarClassView
    let pattern: PreTokenizer.Pattern
    /// The end of the segment.
    var end: Int

    /// The end of the piece that starts at `start`, which is below `end`.
    @inline(__always)
    func pieceEnd(from start: Int) -> Int {
        switch pattern {
        case .whole: end
        case .gpt2: gpt2End(from: start)
        case .llama3: llamaEnd(from: start, digitsMax: 3)
        case .qwen2: llamaEnd(from: start, digitsMax: 1)
        }
    }

    /// The end of the segment that the Digits stage makes at `start`.
    func digitSegmentEnd(from start: Int, single: Bool) -> Int {
        var (flags, width) = classes.scalar(text, start)
        let wanted = flags & ScalarClass.numeric
        var position = start + width
        if single, wanted != 0 { return position }
        while position < end {
            (flags, width) = classes.scalar(text, position)
            guard flags & ScalarClass.numeric == wanted else { break }
            position += width
        }
        return position
    }

    // MARK: GPT-2

    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    @inline(__always)
    private func gpt2End(from start: Int) -> Int {
        var position = start
        if text[start] == UInt8(ascii: "'") {
            let length = contraction(at: start)
            if length > 0 { return start + length }
        } else if text[start] == UInt8(ascii: " ") {
            position += 1
            guard position < end else { return end }
        }
        let (flags, width) = classes.scalar(text, position)
        if flags & ScalarClass.space != 0 { return spaceEnd(from: start) }
        return runEnd(of: flags & ScalarClass.patternMask, from: position + width)
    }

    /// The length of `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe, or 0.
    @inline(__always)
    private func contraction(at start: Int) -> Int {
        guard start + 1 < end else { return 0 }
        switch text[start + 1] {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"):
            return start + 2 < end && text[start + 2] == UInt8(ascii: "e") ? 3 : 0
        case UInt8(ascii: "l"): return start + 2 < end && text[start + 2] == UInt8(ascii: "l") ? 3 : 0
        default: return 0
        }
    }

    // MARK: Llama 3

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    @inline(__always)
    private func llamaEnd(from start: Int, digitsMax: Int) -> Int {
        let (flags, width) = classes.scalar(text, start)
        let first = text[start]
        var position = start + width
        if flags & ScalarClass.letter != 0 { return runEnd(of: ScalarClass.letter, from: position) }
        if flags & ScalarClass.number != 0 { return numberEnd(from: position, countMax: digitsMax - 1) }
        if first == UInt8(ascii: "'") {
            let length = anyCaseContraction(at: start)
            if length > 0 { return start + length }
        }
        var isOther = flags & ScalarClass.space == 0
        if position < end {
            let (next, nextWidth) = classes.scalar(text, position)
            if next & ScalarClass.letter != 0, !isLineEnd(first) {
                return runEnd(of: ScalarClass.letter, from: position + nextWidth)
            }
            if first == UInt8(ascii: " "), next & ScalarClass.patternMask == 0 {
                isOther = true
                position += nextWidth
            }
        }
        guard isOther else { return lineOrSpaceEnd(from: start) }
        position = runEnd(of: 0, from: position)
        while position < end, isLineEnd(text[position]) { position += 1 }
        return position
    }

    @inline(__always)
    private func isLineEnd(_ byte: UInt8) -> Bool { byte == 0x0a || byte == 0x0d }

    private func numberEnd(from start: Int, countMax: Int) -> Int {
        var position = start
        for _ in 0..<countMax where position < end {
            let (flags, width) = classes.scalar(text, position)
            guard flags & ScalarClass.number != 0 else { break }
            position += width
        }
        return position
    }

    /// As `contraction(at:)` in any case; U+017F is a small s to the regular expression engine.
    private func anyCaseContraction(at start: Int) -> Int {
        guard start + 1 < end else { return 0 }
        let (first, second) = (text[start + 1] | 0x20, start + 2 < end ? text[start + 2] | 0x20 : 0)
        switch first {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"): return second == UInt8(ascii: "e") ? 3 : 0
        case UInt8(ascii: "l"): return second == UInt8(ascii: "l") ? 3 : 0
        default:
            let isLongS = text[start + 1] == 0xc5 && start + 2 < end && text[start + 2] == 0xbf
            return isLongS ? 3 : 0
        }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: up to the last line end of the run of white space, if it has one.
    private func lineOrSpaceEnd(from start: Int) -> Int {
        var position = start
        var lastStart = start
        var lineEnd = 0
        while position < end {
            let (flags, width) = classes.scalar(text, position)
            guard flags & ScalarClass.space != 0 else { break }
            lastStart = position
            if isLineEnd(text[position]) { lineEnd = position + 1 }
            position += width
        }
        if lineEnd > 0 { return lineEnd }
        return position < end && lastStart > start ? lastStart : position
    }

    // MARK: Both

    /// `\s+(?!\S)|\s+`: a run of white space, without its last scalar if text follows and that leaves something.
    private func spaceEnd(from start: Int) -> Int {
        var position = start
        var lastStart = start
        while position < end {
            let (flags, width) = classes.scalar(text, position)
            guard flags & ScalarClass.space != 0 else { break }
            lastStart = position
            position += width
        }
        return position < end && lastStart > start ? lastStart : position
    }

    /// The end of a run of one pattern class.
    @inline(__always)
    private func runEnd(of kind: UInt8, from start: Int) -> Int {
        var position = start
        while position < end {
            let (flags, width) = classes.scalar(text, position)
            guard flags & ScalarClass.patternMask == kind else { break }
            position += width
        }
        return position
    }
}
