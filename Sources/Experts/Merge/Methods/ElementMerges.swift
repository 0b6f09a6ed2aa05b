import Glibc

/// Moves towards the other input the more, the nearer the two are.
struct NearswapMerge {
    private let merge: TensorMerge

    init(_ merge: TensorMerge) { self.merge = merge }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        guard let base = merge.base, let other = merge.others.first else { preconditionFailure("nearswap needs two") }
        let t = merge.value(.t)
        try pass.map(reading: [base, other], output) { piece, target in
            let (one, two) = (piece[base], piece[other])
            for index in 0..<piece.count {
                let (left, right) = (Double(one[index]), Double(two[index]))
                let share = min(1, max(0, t / max((left - right).magnitude, 1e-6)))
                target[index] = Float(share * right + (1 - share) * left)
            }
        }
    }
}

/// Selects where the inputs differ most from each other, weighs each by the squares of what is selected, and drops what is
/// against the elected sign.
///
/// - SeeAlso: Wan et al., FuseChat (arXiv:2408.07990), SCE
struct SCEMerge {
    private let merge: TensorMerge
    private let base: Int
    private let others: [Int]

    init(_ merge: TensorMerge) {
        guard let base = merge.base else { preconditionFailure("sce needs a base") }
        self.merge = merge
        self.base = base
        others = merge.others
    }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let reading = Array(merge.inputs.indices)
        let selection = try selection(pass)
        let squares = try pass.reduce(reading: reading, into: [Double](repeating: 0, count: others.count)) { piece in
            select(selection, piece)
            return others.map { input in
                let (values, terms) = (piece[input], piece.scratch(0))
                for index in 0..<piece.count { terms[index] = Double(values[index]) * Double(values[index]) }
                return sum(terms, piece.count)
            }
        } fold: { squares, piece in
            for index in squares.indices { squares[index] += piece[index] }
        }
        let means = squares.map { $0 / Double(max(1, pass.count)) }
        let total = means.reduce(0, +)
        let weights = means.map { total < 1e-6 ? 1 / Double(others.count) : $0 / total }
        try pass.map(reading: reading, output) { piece, target in
            select(selection, piece)
            let origin = piece[base]
            let (sums, divisors, signs) = (piece.scratch(0), piece.scratch(1), piece.scratch(2))
            for index in 0..<piece.count { signs[index] = 0 }
            for input in others {
                let values = piece[input]
                for index in 0..<piece.count { signs[index] += Double(values[index]) }
            }
            for index in 0..<piece.count {
                signs[index] = signs[index] < 0 ? -1 : 1
                sums[index] = 0
                divisors[index] = 0
            }
            for (place, input) in others.enumerated() {
                let (values, weight) = (piece[input], weights[place])
                for index in 0..<piece.count {
                    let value = Double(values[index])
                    let agrees = value * signs[index] > 0
                    sums[index] += agrees ? weight * value : 0
                    divisors[index] += agrees ? weight : 0
                }
            }
            for index in 0..<piece.count {
                target[index] = Float(Double(origin[index]) + sums[index] / max(divisors[index], 1e-6))
            }
        }
    }

    /// Which places are selected.
    private enum Selection {
        case all
        case none
        case window(RankWindow)
    }

    /// The places of the largest variances over the inputs.
    private func selection(_ pass: TensorPass) throws(MergeError) -> Selection {
        let share = merge.value(.selectTopK)
        guard share < 1 else { return .all }
        let reading = Array(merge.inputs.indices)
        let nonzero = try pass.reduce(reading: reading, into: 0) { piece in
            let bits = piece.words
            variances(piece, bits)
            var count = 0
            for index in 0..<piece.count { count += bits[index] == 0 ? 0 : 1 }
            return count
        } fold: {
            $0 += $1
        }
        let kept = Int((share * Double(nonzero)).rounded(.down))
        guard kept > 0 else { return .none }
        let found = try RankWindow.find([pass.count - kept..<pass.count], pass, reading: reading) { _, piece, bits in
            variances(piece, bits)
        }
        return .window(found[0])
    }

    /// The bits of the variances over the inputs.
    private func variances(_ piece: TensorPass.Piece, _ bits: UnsafeMutablePointer<UInt32>) {
        let (means, squares) = (piece.scratch(0), piece.scratch(1))
        let origin = piece[base]
        let share = 1 / Double(others.count)
        for index in 0..<piece.count {
            means[index] = 0
            squares[index] = 0
        }
        for input in others {
            let values = piece[input]
            for index in 0..<piece.count { means[index] += share * Double(values[index] - origin[index]) }
        }
        for input in others {
            let values = piece[input]
            for index in 0..<piece.count {
                let difference = Double(values[index] - origin[index]) - means[index]
                squares[index] += share * difference * difference
            }
        }
        for index in 0..<piece.count { bits[index] = Float(squares[index]).bitPattern }
    }

    /// Puts what is selected of the differences in the place of the values.
    private func select(_ selection: Selection, _ piece: TensorPass.Piece) {
        let origin = piece[base]
        switch selection {
        case .all:
            for input in others {
                let values = piece[input]
                for index in 0..<piece.count { values[index] -= origin[index] }
            }
        case .none:
            for input in others { piece[input].update(repeating: 0, count: piece.count) }
        case .window(let window):
            let bits = piece.words
            variances(piece, bits)
            window.forEach(in: piece, bits) { index, isKept in
                for input in others { piece[input][index] = isKept ? piece[input][index] - origin[index] : 0 }
            }
        }
    }
}

/// Adds whole what only one input has changed, and the mean of what several have.
struct RAMMerge {
    private let merge: TensorMerge
    private let base: Int
    private let others: [Int]
    private let epsilon: Double

    init(_ merge: TensorMerge) {
        guard let base = merge.base else { preconditionFailure("ram needs a base") }
        self.merge = merge
        self.base = base
        others = merge.others
        epsilon = merge.value(.epsilon)
    }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let reading = Array(merge.inputs.indices)
        let factors = merge.method == .ramPlus ? try factors(pass) : others.map { _ in 1 }
        try pass.map(reading: reading, output) { piece, target in
            let origin = piece[base]
            let (counts, sums, alone) = (piece.scratch(0), piece.scratch(1), piece.scratch(2))
            for index in 0..<piece.count {
                counts[index] = 0
                sums[index] = 0
                alone[index] = 0
            }
            for (place, input) in others.enumerated() {
                let (values, factor) = (piece[input], factors[place])
                for index in 0..<piece.count {
                    let difference = Double(values[index] - origin[index])
                    let isActive = difference.magnitude > epsilon
                    counts[index] += isActive ? 1 : 0
                    sums[index] += isActive ? difference : 0
                    alone[index] += isActive ? factor * difference : 0
                }
            }
            for index in 0..<piece.count {
                let step = counts[index] > 1 ? sums[index] / counts[index] : alone[index]
                target[index] = Float(Double(origin[index]) + step)
            }
        }
    }

    /// How much more an input's own changes count, the more of its changes it shares with others.
    private func factors(_ pass: TensorPass) throws(MergeError) -> [Double] {
        let active = try pass.reduce(
            reading: Array(merge.inputs.indices),
            into: [(shared: Int, unique: Int)](repeating: (0, 0), count: others.count)
        ) { piece in
            let origin = piece[base]
            let counts = piece.scratch(0)
            for index in 0..<piece.count { counts[index] = 0 }
            for input in others {
                let values = piece[input]
                for index in 0..<piece.count {
                    counts[index] += Double(values[index] - origin[index]).magnitude > epsilon ? 1 : 0
                }
            }
            return others.map { input in
                let values = piece[input]
                var active = (shared: 0, unique: 0)
                for index in 0..<piece.count where Double(values[index] - origin[index]).magnitude > epsilon {
                    active.shared += counts[index] > 1 ? 1 : 0
                    active.unique += counts[index] > 1 ? 0 : 1
                }
                return active
            }
        } fold: { all, piece in
            for index in all.indices {
                all[index].shared += piece[index].shared
                all[index].unique += piece[index].unique
            }
        }
        return active.map { active in
            guard active.unique > 0 else { return 1 }
            let overlap = Double(active.shared) / Double(active.unique)
            return 1 + merge.value(.r) * min(overlap, merge.value(.alpha))
        }
    }
}

/// Takes the other input's values where they matter most: where the change is large and its row's distribution differs.
struct ArceeFusionMerge {
    private let merge: TensorMerge

    init(_ merge: TensorMerge) { self.merge = merge }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        guard let base = merge.base, let other = merge.others.first else { preconditionFailure("fusion needs two") }
        let reading = [base, other]
        let divergences = try pass.reduce(reading: reading, byRows: true, into: [Double]()) { piece in
            stride(from: 0, to: piece.count, by: pass.rowLength).map { start in
                Self.divergence(piece[other] + start, piece[base] + start, pass.rowLength)
            }
        } fold: {
            $0 += $1
        }
        let importance = { (piece: TensorPass.Piece, bits: UnsafeMutablePointer<UInt32>) in
            let (one, two) = (piece[base], piece[other])
            for index in 0..<piece.count {
                let divergence = divergences[(piece.range.lowerBound + index) / pass.rowLength]
                let size = Double(two[index] - one[index]).magnitude * divergence
                bits[index] = Float(size).bitPattern & 0x7FFF_FFFF
            }
        }
        func quantile(_ share: Double) throws(MergeError) -> Double {
            let rank = Int((share * Double(pass.count - 1)).rounded(.down))
            guard rank > 0 else {
                return try pass.reduce(reading: reading, byRows: true, into: Double.infinity) { piece in
                    let bits = piece.words
                    importance(piece, bits)
                    return (0..<piece.count).reduce(Double.infinity) { min($0, Double(Float(bitPattern: bits[$1]))) }
                } fold: {
                    $0 = min($0, $1)
                }
            }
            let found = try RankWindow.find(
                [rank..<pass.count], pass, reading: reading, byRows: true
            ) { _, piece, bits in importance(piece, bits) }
            return Double(Float(bitPattern: found[0].lowerBits))
        }
        let (first, median, third) = (try quantile(0.25), try quantile(0.5), try quantile(0.75))
        let threshold = median + 1.5 * (third - first)
        try pass.map(reading: reading, byRows: true, output) { piece, target in
            let bits = piece.words
            importance(piece, bits)
            let (one, two) = (piece[base], piece[other])
            for index in 0..<piece.count {
                target[index] = Double(Float(bitPattern: bits[index])) >= threshold ? two[index] : one[index]
            }
        }
    }

    /// KL(softmax(x) + 1e-8 || softmax(b) + 1e-8) of a row.
    private static func divergence(
        _ values: UnsafePointer<Float>, _ origin: UnsafePointer<Float>, _ count: Int
    ) -> Double {
        func normalizer(_ row: UnsafePointer<Float>) -> (largest: Double, sum: Double) {
            var largest = -Double.infinity
            for index in 0..<count { largest = max(largest, Double(row[index])) }
            var sum = 0.0
            for index in 0..<count { sum += exp(Double(row[index]) - largest) }
            return (largest, sum)
        }
        let (one, two) = (normalizer(values), normalizer(origin))
        var divergence = 0.0
        for index in 0..<count {
            let p = exp(Double(values[index]) - one.largest) / one.sum + 1e-8
            let q = exp(Double(origin[index]) - two.largest) / two.sum + 1e-8
            divergence += p * log(p / q)
        }
        return divergence
    }
}
