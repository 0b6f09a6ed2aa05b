/// Sums of what fine-tuning has added to a base, after a part of it was dropped: task arithmetic, TIES, DARE, DELLA and
/// model breadcrumbs.
///
/// D_i = x_i - b, taken in float32 as it is stored; s_i is what the method keeps of it, times |D_i|_1 / |s_i|_1 where it
/// rescales; z_i = w_i s_i. The sum of the z_i, or of those with the sign of their sum, is divided by their weights
/// where the method normalizes, and lambda times that is added to the base.
/// - SeeAlso: Ilharco et al. (arXiv:2212.04089); Yadav et al., TIES (arXiv:2306.01708); Yu et al., DARE (arXiv:2311.03099); Deep,
///   Bhardwaj, Poria, DELLA (arXiv:2406.11617); Davari, Belilovsky, Model Breadcrumbs (arXiv:2312.06795)
struct TaskVectorMerge {
    /// What of a difference is kept.
    private enum Selection {
        case all
        case none
        /// Values between two ranks by magnitude.
        case window(RankWindow)
        /// Each value with the same probability.
        case random(MaskKey, density: Double)
        /// Each value of a row with a probability that rises with its rank by magnitude.
        case byRank(MaskKey, density: Double, epsilon: Double)
    }

    private let merge: TensorMerge
    private let base: Int
    private let others: [Int]
    private let weights: [Double]
    private let electsSigns: Bool

    init(_ merge: TensorMerge) {
        guard let base = merge.base else { preconditionFailure("\(merge.method.rawValue) needs a base") }
        self.merge = merge
        self.base = base
        others = merge.others
        weights = merge.others.map { merge.value(.weight, of: $0) }
        electsSigns = [.ties, .dareTies, .della, .breadcrumbsTies].contains(merge.method)
    }

    private var isByRank: Bool { merge.method == .della || merge.method == .dellaLinear }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let selections = try selections(pass)
        let factors = try factors(selections, pass)
        let isNormalized = merge.isSet(.normalize)
        let weightSum = weights.reduce(0, +)
        let divisor = !electsSigns && isNormalized && abs(weightSum) >= 1e-8 ? weightSum : 1
        let lambda = merge.value(.lambda)
        let reading = merge.inputs.indices.filter { input in
            input == base || weights[others.firstIndex(of: input) ?? 0] != 0
        }
        let used = others.indices.filter { weights[$0] != 0 }
        try pass.map(reading: Array(reading), byRows: isByRank, output) { piece, target in
            let origin = piece[base]
            let (sums, divisors) = (piece.scratch(0), piece.scratch(1))
            for index in 0..<piece.count { sums[index] = 0 }
            for place in used {
                keep(selections[place], others[place], piece, pass)
                let (values, factor) = (piece[others[place]], factors[place])
                for index in 0..<piece.count { sums[index] += factor * Double(values[index]) }
            }
            if electsSigns {
                // The sign of each sum, of which 0 counts as plus, in place of the words that selecting needs no more.
                let signs = piece.scratch(2)
                for index in 0..<piece.count {
                    signs[index] = sums[index] < 0 ? -1 : 1
                    sums[index] = 0
                    divisors[index] = 0
                }
                for place in used {
                    let (values, factor, weight) = (piece[others[place]], factors[place], weights[place])
                    for index in 0..<piece.count {
                        let term = factor * Double(values[index])
                        let agrees = term * signs[index] > 0
                        sums[index] += agrees ? term : 0
                        divisors[index] += agrees ? weight : 0
                    }
                }
                if isNormalized {
                    for index in 0..<piece.count { sums[index] /= divisors[index] == 0 ? 1 : divisors[index] }
                }
            }
            let scale = lambda / divisor
            for index in 0..<piece.count { target[index] = Float(Double(origin[index]) + scale * sums[index]) }
        }
    }

    // MARK: What is kept

    private func selections(_ pass: TensorPass) throws(MergeError) -> [Selection] {
        let count = pass.count
        var selections = [Selection](repeating: .all, count: others.count)
        var windows: [(place: Int, ranks: Range<Int>)] = []
        for (place, input) in others.enumerated() where merge.method != .taskArithmetic && weights[place] != 0 {
            let density = merge.value(.density, of: input)
            guard density < 1 else { continue }
            guard density > 0 else {
                selections[place] = .none
                continue
            }
            let kept = Int((density * Double(count)).rounded(.down))
            switch merge.method {
            case .ties: windows.append((place, count - max(1, kept)..<count))
            case .breadcrumbs, .breadcrumbsTies:
                let top = Int((merge.value(.gamma, of: input) * Double(count)).rounded(.down))
                let low = max(0, count - kept - top)
                windows.append((place, low..<min(count, low + kept)))
            case .della, .dellaLinear:
                let epsilon = merge.value(.epsilon, of: input)
                guard density - epsilon > 0, density + epsilon < 1 else {
                    throw .parameters(
                        tensor: merge.name,
                        reason: "density \(density) with epsilon \(epsilon) leaves the probabilities between 0 and 1")
                }
                selections[place] = .byRank(key(input), density: density, epsilon: epsilon)
            default: selections[place] = .random(key(input), density: density)
            }
        }
        for (place, ranks) in windows where ranks.isEmpty { selections[place] = .none }
        windows.removeAll { $0.ranks.isEmpty }
        guard !windows.isEmpty else { return selections }
        let found = try RankWindow.find(
            windows.map(\.ranks), pass, reading: windows.map { others[$0.place] } + [base]
        ) { sequence, piece, bits in magnitudes(of: piece[others[windows[sequence].place]], piece, bits) }
        for (window, bounds) in zip(windows, found) { selections[window.place] = .window(bounds) }
        return selections
    }

    private func key(_ input: Int) -> MaskKey {
        MaskKey(seed: merge.seed, tensor: merge.name, input: input)
    }

    /// The bits of an input's |D|.
    private func magnitudes(
        of values: UnsafeMutablePointer<Float>, _ piece: TensorPass.Piece, _ bits: UnsafeMutablePointer<UInt32>
    ) {
        let origin = piece[base]
        for index in 0..<piece.count { bits[index] = (values[index] - origin[index]).bitPattern & 0x7FFF_FFFF }
    }

    /// Puts what is kept of an input's difference in the place of its values.
    private func keep(_ selection: Selection, _ input: Int, _ piece: TensorPass.Piece, _ pass: TensorPass) {
        let (values, origin) = (piece[input], piece[base])
        for index in 0..<piece.count { values[index] -= origin[index] }
        switch selection {
        case .all: break
        case .none: for index in 0..<piece.count { values[index] = 0 }
        case .window(let window):
            let bits = piece.words
            for index in 0..<piece.count { bits[index] = values[index].bitPattern & 0x7FFF_FFFF }
            window.forEach(in: piece, bits) { index, isKept in values[index] = isKept ? values[index] : 0 }
        case .random(let key, let density):
            let bound = MaskKey.bound(density)
            for index in 0..<piece.count {
                // Words and bound are below 2^63. A mask, because nobody can predict a branch on random words.
                let isBelow = (key.word(piece.range.lowerBound + index) &- bound) &>> 63
                let mask = 0 &- UInt32(truncatingIfNeeded: isBelow)
                values[index] = Float(bitPattern: values[index].bitPattern & mask)
            }
        case .byRank(let key, let density, let epsilon):
            for start in stride(from: 0, to: piece.count, by: pass.rowLength) {
                keepByRank(
                    values + start, count: pass.rowLength, at: piece.range.lowerBound + start, key, density, epsilon,
                    order: UnsafeMutableRawPointer(piece.scratch(2) + start).bindMemory(
                        to: UInt64.self, capacity: pass.rowLength))
            }
        }
    }

    /// Keeps each value of a row with a probability from density - epsilon for the smallest to density + epsilon.
    private func keepByRank(
        _ values: UnsafeMutablePointer<Float>, count: Int, at place: Int, _ key: MaskKey, _ density: Double,
        _ epsilon: Double, order: UnsafeMutablePointer<UInt64>
    ) {
        for index in 0..<count {
            order[index] = UInt64(values[index].bitPattern & 0x7FFF_FFFF) << 32 | UInt64(index)
        }
        var ranked = UnsafeMutableBufferPointer(start: order, count: count)
        ranked.sort()
        for rank in 0..<count {
            let index = Int(order[rank] & 0xFFFF_FFFF)
            let share = count > 1 ? 2 * Double(rank) / Double(count - 1) - 1 : 0
            let isKept = key.word(place + index) < MaskKey.bound(density + epsilon * share)
            values[index] = isKept ? values[index] : 0
        }
    }

    /// What each kept value is multiplied with: the weight, and what rescaling asks for.
    private func factors(_ selections: [Selection], _ pass: TensorPass) throws(MergeError) -> [Double] {
        guard merge.isSet(.rescale) else { return weights }
        let dropped = others.indices.filter { place in
            guard weights[place] != 0 else { return false }
            switch selections[place] {
            case .all, .none: return false
            case .window, .random, .byRank: return true
            }
        }
        guard !dropped.isEmpty else { return weights }
        let norms = try pass.reduce(
            reading: dropped.map { others[$0] } + [base], byRows: isByRank,
            into: [(all: Double, kept: Double)](repeating: (0, 0), count: dropped.count)
        ) { piece in
            dropped.map { place in
                let values = piece[others[place]]
                let origin = piece[base]
                let sizes = piece.scratch(0)
                for index in 0..<piece.count { sizes[index] = Double((values[index] - origin[index]).magnitude) }
                let all = sum(sizes, piece.count)
                keep(selections[place], others[place], piece, pass)
                for index in 0..<piece.count { sizes[index] = Double(values[index].magnitude) }
                return (all: all, kept: sum(sizes, piece.count))
            }
        } fold: { norms, piece in
            for index in norms.indices {
                norms[index].all += piece[index].all
                norms[index].kept += piece[index].kept
            }
        }
        var factors = weights
        for (norm, place) in zip(norms, dropped) where norm.all >= 1e-7 && norm.kept >= 1e-7 {
            factors[place] *= norm.all / norm.kept
        }
        return factors
    }
}

/// The sum of some values, by eight sums of which none waits for the others.
func sum(_ values: UnsafePointer<Double>, _ count: Int) -> Double {
    var sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    var index = 0
    while index + 8 <= count {
        let values = values + index
        sums.0 += values[0]
        sums.1 += values[1]
        sums.2 += values[2]
        sums.3 += values[3]
        sums.4 += values[4]
        sums.5 += values[5]
        sums.6 += values[6]
        sums.7 += values[7]
        index += 8
    }
    while index < count {
        sums.0 += values[index]
        index += 1
    }
    return ((sums.0 + sums.1) + (sums.2 + sums.3)) + ((sums.4 + sums.5) + (sums.6 + sums.7))
}
