import Compression

/// A live fragment as it was at a snapshot, until the round is decided.
struct LiveCopy {
    var live: [Float]
    /// The head that the live value was current with when the copy was taken: the only base that it may be measured
    /// against.
    var base: Digest
    /// What the outer gradient is measured from, where that is not the current head; else empty.
    var start: [Float]
    /// What earlier encodings had left over at the same step boundary; empty without error feedback.
    var residual: [Float]
    /// Per contribution that was encoded, what it leaves over, the oldest first.
    var leftOver: [(digest: Digest, rest: SettledResidual)] = []
    /// The tiles of those that were dropped to make room.
    var dropped: [Digest: [TileIndex]] = [:]

    /// Whole fragments that `leftOver` holds at most: an attempt with other owners takes another one.
    static let fragmentsMax = 3
    /// Contributions without values that are remembered; rounds have far fewer.
    static let droppedMax = 4_096

    /// Notes what a contribution leaves over; the oldest make room.
    mutating func note(_ rest: SettledResidual, of digest: Digest) {
        leftOver.removeAll { $0.digest == digest }
        leftOver.append((digest, rest))
        func valueCount() -> Int { leftOver.reduce(0) { $0 + $1.rest.valueCount } }
        while leftOver.count > 1, valueCount() > Self.fragmentsMax * live.count {
            let oldest = leftOver.removeFirst()
            if dropped.count >= Self.droppedMax { dropped = [:] }
            dropped[oldest.digest] = oldest.rest.tiles.keys.sorted()
        }
    }

    /// What a contribution that a final commit counts has left over. Where that was dropped it is lost: what was sent
    /// must not be sent again.
    func settled(_ digest: Digest, of fragment: FragmentLayout.Fragment) -> SettledResidual? {
        if let kept = leftOver.first(where: { $0.digest == digest }) { return kept.rest }
        guard let tiles = dropped[digest] else { return nil }
        var rest = SettledResidual()
        for tile in tiles {
            rest.tiles[tile] = [Float](repeating: 0, count: fragment.tiles[tile.value].count)
        }
        return rest
    }
}
