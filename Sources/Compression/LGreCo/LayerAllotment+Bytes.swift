/// What can be sent within a number of bytes.
package enum ByteBudgetAllotment: Hashable, Sendable {
    /// The allotment of least error.
    case fits(LayerAllotment)
    /// Even the smallest candidates need more.
    case tooFewBytes(needed: Int)
}

extension LayerAllotment {
    /// The least summed error within a number of bytes: what a member behind a slow link sends.
    ///
    /// The true bytes are never above the budget. The error is never larger than that of the best setting that all
    /// layers have in common and that fits. Every layer's smallest candidate is paid first and only what is above it is
    /// cut into buckets, so whatever fits at all is found, and the result is exact where the rest of the budget is at
    /// most `buckets` bytes.
    ///
    /// - Parameters:
    ///   - byteBudget: the bytes of all layers.
    ///   - buckets: D, the steps into which the rest of the budget is cut. Bytes are rounded up to whole steps.
    /// - Complexity: O(L·C·D), L·D float64.
    package static func leastError(
        within byteBudget: Int, _ table: ErrorTable, buckets: Int = bucketsDefault
    ) throws(AllotmentError) -> ByteBudgetAllotment {
        try check(table, buckets)
        let scale = ByteScale(table, byteBudget: byteBudget, buckets: buckets)
        guard scale.smallestByteCount <= byteBudget else { return .tooFewBytes(needed: scale.smallestByteCount) }
        let programme = AllotmentProgramme(scale.items(table) { $0 }, buckets: scale.buckets, start: .atMost)
        var best: LayerAllotment?
        if let bucket = programme.bestBucket(in: 0...scale.buckets) {
            let found = LayerAllotment(programme.choice(at: bucket), of: table, from: .programme)
            if found.byteCount <= byteBudget { best = found }
        }
        if let uniform = bestUniform(within: byteBudget, table), uniform.error < best?.error ?? .infinity {
            best = uniform
        }
        guard let best else { preconditionFailure("the smallest candidates cost no bucket, so the programme has one") }
        return .fits(best)
    }

    /// The setting of least error that every layer has and that fits.
    private static func bestUniform(within byteBudget: Int, _ table: ErrorTable) -> LayerAllotment? {
        guard let first = table.curves.first else { return nil }
        var best: LayerAllotment?
        for setting in first.candidates.map(\.setting).sorted() {
            let choice = table.curves.compactMap { $0.index(of: setting) }
            guard choice.count == table.curves.count else { continue }
            let uniform = LayerAllotment(choice, of: table, from: .uniform(setting))
            if uniform.byteCount <= byteBudget, uniform.error < best?.error ?? .infinity { best = uniform }
        }
        return best
    }

    /// The opposite of an allotment, for the laboratory: as many bytes as nearly as can be and never more, with as much
    /// error as the programme finds.
    ///
    /// If training does not suffer from it, the errors of the table are not what matters. Of the buckets above the
    /// smallest candidates it fills at least 98 %, or the most that any assignment does.
    package static func mostError(
        with byteBudget: Int, _ table: ErrorTable, buckets: Int = bucketsDefault
    ) throws(AllotmentError) -> ByteBudgetAllotment {
        try check(table, buckets)
        let scale = ByteScale(table, byteBudget: byteBudget, buckets: buckets)
        guard scale.smallestByteCount <= byteBudget else { return .tooFewBytes(needed: scale.smallestByteCount) }
        let programme = AllotmentProgramme(scale.items(table) { -$0 }, buckets: scale.buckets, start: .exactly)
        let spent = (scale.buckets * 98 + 99) / 100
        let bucket =
            programme.bestBucket(in: spent...scale.buckets)
            ?? (0...scale.buckets).last { programme.bestBucket(in: $0...$0) != nil }
        guard let bucket else {
            preconditionFailure("the smallest candidates cost no bucket, so the programme has one")
        }
        return .fits(LayerAllotment(programme.choice(at: bucket), of: table, from: .programme))
    }
}

/// Bytes above each layer's smallest candidate, in buckets.
private struct ByteScale {
    /// Per layer the bytes of its smallest candidate.
    private let smallest: [Int]
    /// Their sum.
    let smallestByteCount: Int
    /// What may be spent above the smallest; no more than can be.
    private let spare: Int
    /// Buckets; not more than there are bytes to spare, but at least one.
    let buckets: Int

    init(_ table: ErrorTable, byteBudget: Int, buckets: Int) {
        var smallest: [Int] = []
        var largestByteCount = 0
        for curve in table.curves {
            let sizes = curve.candidates.indices.filter(curve.isUsable).map { curve.candidates[$0].byteCount }
            // The uniform candidate is always usable.
            smallest.append(sizes.min() ?? 0)
            largestByteCount += sizes.max() ?? 0
        }
        self.smallest = smallest
        smallestByteCount = smallest.reduce(0, +)
        spare = min(max(byteBudget, smallestByteCount), largestByteCount) - smallestByteCount
        self.buckets = max(1, min(buckets, spare))
    }

    /// The programme's items: bytes rounded up to whole buckets, and a value made from the error.
    func items(_ table: ErrorTable, _ value: (Double) -> Double) -> [[AllotmentProgramme.Item]] {
        zip(table.curves, smallest).map { curve, smallest in
            curve.candidates.indices.map { index in
                let extra = curve.candidates[index].byteCount - smallest
                guard curve.isUsable(index), extra >= 0, extra <= spare else { return .init(cost: 0, value: .infinity) }
                // At most 2^40 × 10^5, far below 2^63.
                let cost = spare == 0 ? 0 : (extra * buckets + spare - 1) / spare
                return .init(cost: cost, value: value(curve.errors[index]))
            }
        }
    }
}
