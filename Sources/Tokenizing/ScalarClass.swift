/// What the pre-tokenizers need to know about a Unicode scalar.
enum ScalarClass {
    /// `\p{L}`
    static let letter: UInt8 = 1
    /// `\p{N}`
    static let number: UInt8 = 2
    /// `\s`
    static let space: UInt8 = 4
    /// What the Digits pre-tokenizer takes for a digit.
    static let numeric: UInt8 = 8
    /// `\w`, for added tokens that must be whole words.
    static let word: UInt8 = 16
    /// The three that the patterns tell apart; a scalar has one of them or none.
    static let patternMask: UInt8 = 7
}

/// The classes of all scalars in two stages: the number of a block of 256, and the flags of the block.
struct ScalarClassTable: Sendable {
    private let blocks: [UInt16]
    private let flags: [UInt8]

    /// The one table; its first block is that of the ASCII characters.
    static let shared = ScalarClassTable()

    private init() {
        var blocks: [UInt16] = []
        var flags: [UInt8] = []
        var numbers: [[UInt8]: UInt16] = [:]
        var block = [UInt8](repeating: 0, count: 256)
        var entry = 0
        for scalar in UInt32(0)..<0x110000 {
            while entry + 1 < ScalarTable.changes.count, ScalarTable.changes[entry + 1] >> 5 <= scalar { entry += 1 }
            block[Int(scalar & 0xff)] = UInt8(ScalarTable.changes[entry] & 31)
            guard scalar & 0xff == 0xff else { continue }
            if let number = numbers[block] {
                blocks.append(number)
            } else {
                let number = UInt16(numbers.count)
                numbers[block] = number
                blocks.append(number)
                flags += block
            }
        }
        self.blocks = blocks
        self.flags = flags
    }

    /// Runs `body` with pointers to the table, which are valid until it returns.
    func withView<Result, Failure: Error>(
        _ body: (ScalarClassView) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try blocks.withUnsafeBufferPointer { (blocks) throws(Failure) in
            try flags.withUnsafeBufferPointer { (flags) throws(Failure) in
                guard let blocks = blocks.baseAddress, let flags = flags.baseAddress else {
                    preconditionFailure("the table is not empty")
                }
                return try body(ScalarClassView(blocks: blocks, flags: flags))
            }
        }
    }
}

/// Pointers into a `ScalarClassTable`; every scalar value is in range of both stages.
struct ScalarClassView {
    fileprivate let blocks: UnsafePointer<UInt16>
    fileprivate let flags: UnsafePointer<UInt8>

    /// The flags and the length in bytes of the scalar that starts at `position` of valid UTF-8.
    @inline(__always)
    func scalar(_ text: UnsafePointer<UInt8>, _ position: Int) -> (flags: UInt8, width: Int) {
        let first = text[position]
        if first < 0x80 { return (flags[Int(first)], 1) }
        return wideScalar(text, position, first)
    }

    @inline(__always)
    private func wideScalar(
        _ text: UnsafePointer<UInt8>, _ position: Int, _ first: UInt8
    ) -> (flags: UInt8, width: Int) {
        func tail(_ offset: Int) -> Int { Int(text[position + offset] & 0x3f) }
        let value: Int
        let width: Int
        if first < 0xe0 {
            (value, width) = (Int(first & 0x1f) << 6 | tail(1), 2)
        } else if first < 0xf0 {
            (value, width) = (Int(first & 0x0f) << 12 | tail(1) << 6 | tail(2), 3)
        } else {
            (value, width) = (Int(first & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4)
        }
        return (flags[Int(blocks[value >> 8]) << 8 | (value & 0xff)], width)
    }
}
