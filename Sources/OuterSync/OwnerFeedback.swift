package import Compression

/// What an owner's signed result says of the error feedback behind it: from which state it was made, and which it left.
package struct FeedbackDigests: Hashable, Sendable {
    /// The state whose values were added to the mean; nil: none, a history begins.
    package var before: Digest?
    /// The state that a final commit with the result puts in its place.
    package var after: Digest

    /// Wraps the two.
    package init(before: Digest?, after: Digest) {
        self.before = before
        self.after = after
    }
}

/// What one owner's results of one fragment have left over of their means: error feedback on the way down.
///
/// A state is made with a result and counts once a final commit names it, so the states of an undecided round are kept side
/// by side. A state covers the tiles of its result and no others: what moves to another owner begins there from nothing.
struct OwnerFeedback {
    /// Of a result's tiles what its encoding has left over.
    struct State: Hashable {
        let digest: Digest
        let rest: SettledResidual
    }

    /// Results of one round whose states are kept, the newest; should an older one be decided, its owner begins anew.
    static let madeMax = 2
    private static let magic = Array("atollof1".utf8)
    private static let prefix = Array("atoll owner feedback 1\0".utf8)

    /// What the last final commit that counts has left over; nil: nothing.
    private(set) var start: State?
    /// What the results made from it would leave over, the oldest first.
    private(set) var made: [State] = []

    /// No history.
    init() {}

    /// Goes on from the state that the ledger names; from nothing where it names none, or one that is not here.
    mutating func begin(from digest: Digest?) {
        if let digest, start?.digest == digest { return }
        let chosen = digest.flatMap { digest in made.first { $0.digest == digest } }
        // Results of other attempts stay while the round is the same: all of them began from nothing.
        if chosen != nil || start != nil { made = [] }
        start = chosen
    }

    /// What is added to the next mean, [parameterCount] float32: decay times what is left over in these tiles.
    func added(
        decay: Float, tiles: [TileIndex], of fragment: FragmentLayout.Fragment
    ) -> [Float] {
        var values = [Float](repeating: 0, count: fragment.parameterCount)
        guard let start else { return values }
        for tile in tiles {
            guard let rest = start.rest.tiles[tile] else { continue }
            for (place, value) in zip(fragment.tiles[tile.value].range, rest) { values[place] = decay * value }
        }
        return values
    }

    /// A sum of mean and feedback was encoded: notes what that leaves over, and names it.
    ///
    /// - Parameter values: the sums, one tile after the other.
    mutating func encoded(
        _ values: [Float], as bytes: [UInt8], _ description: PayloadDescription, of fragment: FragmentLayout.Fragment
    ) throws(PayloadError) -> Digest {
        let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
        var rest = SettledResidual()
        var scratch: [Float] = []
        var offset = 0
        for (position, tile) in description.tiles.enumerated() {
            let count = fragment.tiles[tile.value].count
            let sums = values[offset..<offset + count]
            try bundle.decodeTile(position, scratch: &scratch) { decoded in
                rest.tiles[tile] = zip(sums, decoded).map { $0 - $1 }
            }
            offset += count
        }
        let state = State(digest: Self.digest(of: rest, fragment.index), rest: rest)
        if !made.contains(state) { made.append(state) }
        if made.count > Self.madeMax { made.removeFirst() }
        return state.digest
    }

    // MARK: Bytes

    /// Names a state: the BLAKE2b-256 of "atoll owner feedback 1\0" | fragment u32 | the state's bytes.
    private static func digest(of rest: SettledResidual, _ fragment: FragmentIndex) -> Digest {
        var bytes = prefix
        bytes.append(littleEndian: UInt32(fragment.value))
        append(rest, to: &bytes)
        return Digest(hashing: bytes)
    }

    /// tile count u32, then per tile, ascending: index u32, value count u32, values as float32; all little-endian.
    private static func append(_ rest: SettledResidual, to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt32(rest.tiles.count))
        for (tile, values) in rest.tiles.sorted(by: { $0.key < $1.key }) {
            bytes.append(littleEndian: UInt32(tile.value))
            bytes.append(littleEndian: UInt32(values.count))
            for value in values { bytes.append(littleEndian: value.bitPattern) }
        }
    }

    /// The stored form: "atollof1" | whether there is a start u32 | state count u32 | the states, the start first | digest of
    /// all before.
    func encoded(_ fragment: FragmentIndex) -> [UInt8] {
        var bytes = Self.magic
        let states = (start.map { [$0] } ?? []) + made
        bytes.append(littleEndian: UInt32(start == nil ? 0 : 1))
        bytes.append(littleEndian: UInt32(states.count))
        for state in states { Self.append(state.rest, to: &bytes) }
        return bytes + Digest(hashing: bytes).bytes
    }

    /// The most bytes that the stored form has.
    static func byteCountMax(_ fragment: FragmentLayout.Fragment) -> Int {
        16 + Digest.byteCount + (1 + madeMax) * (4 + 8 * fragment.tiles.count + 4 * fragment.parameterCount)
    }

    /// Reads what `encoded` wrote; nil if it is torn, changed in any bit, or of another layout.
    init?(decoding bytes: [UInt8], of fragment: FragmentLayout.Fragment) {
        guard bytes.count >= Digest.byteCount,
            bytes.suffix(Digest.byteCount).elementsEqual(
                Digest(hashing: Array(bytes.dropLast(Digest.byteCount))).bytes)
        else { return nil }
        var reader = ByteReader(Array(bytes.dropLast(Digest.byteCount)))
        guard reader.take(Self.magic.count) == Self.magic, let starts = reader.word(), let count = reader.word(),
            starts <= 1, count >= starts, Int(count - starts) <= Self.madeMax
        else { return nil }
        var states: [State] = []
        for _ in 0..<count {
            guard let rest = Self.rest(from: &reader, fragment) else { return nil }
            states.append(State(digest: Self.digest(of: rest, fragment.index), rest: rest))
        }
        guard reader.remaining == 0 else { return nil }
        if starts == 1 { start = states.removeFirst() }
        made = states
    }

    private static func rest(
        from reader: inout ByteReader, _ fragment: FragmentLayout.Fragment
    ) -> SettledResidual? {
        var rest = SettledResidual()
        guard let tileCount = reader.word() else { return nil }
        var last = -1
        for _ in 0..<tileCount {
            guard let index = reader.word(), let count = reader.word(), Int(index) > last,
                fragment.tiles.indices.contains(Int(index)), fragment.tiles[Int(index)].count == Int(count),
                let values = reader.floats(Int(count)), values.allSatisfy(\.isFinite)
            else { return nil }
            last = Int(index)
            rest.tiles[TileIndex(last)] = values
        }
        return rest
    }
}
