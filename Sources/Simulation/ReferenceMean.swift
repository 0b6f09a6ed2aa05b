import OuterSync

/// The mean of gathered contributions in the obvious scalar form of protocols/payload.md; only the coefficients are the
/// shipped ones, which have vectors of their own.
enum ReferenceMean {
    /// The mean of each tile.
    ///
    /// - Parameters:
    ///   - contributions: per contributor its tiles' values; all have the same tiles.
    ///   - shares: their training.
    static func of(
        _ contributions: [[TileIndex: [Float]]], shares: [TrainingShare], rule: OuterRule
    ) -> [TileIndex: [Float]] {
        guard let tiles = contributions.first?.keys.sorted() else { return [:] }
        let norms = zip(contributions, shares).map { contribution, share in
            norm(of: tiles.map { contribution[$0] ?? [] }) / Double(share.steps)
        }
        let limit = rule.weightCap * norms.sorted()[norms.count / 2]
        let clips = norms.map { limit > 0 && $0 > limit ? limit / $0 : 1 }
        let weights = Coefficients(shares, cap: rule.weightCap, weighting: rule.weighting, clips: clips).fixed
        var means: [TileIndex: [Float]] = [:]
        for tile in tiles {
            let values = contributions.map { $0[tile] ?? [] }
            let largest = values.joined().map(\.magnitude).max() ?? 0
            // Subnormal magnitudes count as 2^-127.
            let exponent = largest.isNormal ? Int(largest.exponent) : -127
            let quantum = Double(sign: .plus, exponent: exponent - 44, significand: 1)
            means[tile] = (values.first ?? []).indices.map { position in
                guard largest > 0 else { return 0 }
                var sum: Int64 = 0
                for (contribution, weight) in zip(values, weights) {
                    let scaled = Double(contribution[position]) * (Double(weight) / (quantum * 16_777_216))
                    sum += Int64(scaled.rounded(.toNearestOrEven))
                }
                return Float(Double(sum) * quantum)
            }
        }
        return means
    }

    /// Per tile the squares in 16 lanes by index, folded in lane order; the tiles in order.
    private static func norm(of tiles: [[Float]]) -> Double {
        tiles.reduce(0.0) { $0 + squares(of: $1) }.squareRoot()
    }

    /// The sum of squares of one tile's values.
    static func squares(of values: [Float]) -> Double {
        var lanes = [Double](repeating: 0, count: 16)
        for (index, value) in values.enumerated() { lanes[index % 16] += Double(value) * Double(value) }
        return lanes.reduce(0, +)
    }
}
