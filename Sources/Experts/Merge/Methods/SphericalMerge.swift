import Glibc

/// SLERP between two inputs, its generalisation to several, and the Karcher mean.
///
/// All of them are sums of the inputs whose coefficients follow from the dot products.
struct SphericalMerge {
    private let merge: TensorMerge

    init(_ merge: TensorMerge) { self.merge = merge }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        try combine(try coefficients(pass), pass, output)
    }

    private func coefficients(_ pass: TensorPass) throws(MergeError) -> [Double] {
        switch merge.method {
        case .slerp: try slerp(pass)
        case .multislerp: try multislerp(pass)
        default: try karcher(pass)
        }
    }

    /// From the base at t = 0 to the other input at t = 1.
    private func slerp(_ pass: TensorPass) throws(MergeError) -> [Double] {
        guard let base = merge.base, let other = merge.others.first else { preconditionFailure("slerp needs two") }
        let gram = try pass.gramMatrix([base, other], base: nil)
        func norm(_ vector: Int) -> Double { gram.norm(vector) <= 1e-8 ? 1 : gram.norm(vector) }
        let cosine = min(1, max(-1, gram[0, 1] / (norm(0) * norm(1))))
        let shares = Self.slerp(merge.value(.t), cosine: cosine, isParallel: abs(cosine) > 0.9995)
        var coefficients = [Double](repeating: 0, count: merge.inputs.count)
        (coefficients[base], coefficients[other]) = shares
        return coefficients
    }

    /// The coefficients of two vectors at t.
    static func slerp(_ t: Double, cosine: Double, isParallel: Bool) -> (Double, Double) {
        guard !isParallel else { return (1 - t, t) }
        let angle = acos(cosine)
        return (sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle))
    }

    /// The weighted mean on the sphere by one step of the exponential map, times the weighted mean of the norms.
    private func multislerp(_ pass: TensorPass) throws(MergeError) -> [Double] {
        let others = merge.others
        var coefficients = [Double](repeating: 0, count: merge.inputs.count)
        guard others.count > 1 else {
            coefficients[others[0]] = 1
            return coefficients
        }
        var weights = others.map { merge.value(.weight, of: $0) }
        if merge.isSet(.normalizeWeights) {
            let sum = weights.reduce(0, +)
            guard LinearMerge.divides(sum, weights) else { throw .weightsSumToZero }
            weights = weights.map { $0 / sum }
        }
        let eps = merge.value(.eps)
        let gram = try pass.gramMatrix(others, base: merge.base)
        let units = others.indices.map { 1 / (gram.norm($0) + eps) }
        var mean = others.indices.map { weights[$0] * units[$0] }
        let length = gram.norm(of: mean)
        var vector: [Double]
        if others.indices.allSatisfy({ gram.norm($0) == 0 }) {
            // What nobody has changed has no direction, and needs none.
            vector = [Double](repeating: 0, count: others.count)
        } else if length < eps {
            guard others.count == 2 else { throw .opposed(tensor: merge.name) }
            vector = weights
        } else {
            mean = mean.map { $0 / length }
            // Towards the inputs, in the plane that touches the sphere at the mean.
            var tangent = [Double](repeating: 0, count: others.count)
            for index in others.indices {
                var unit = [Double](repeating: 0, count: others.count)
                unit[index] = units[index]
                let along = gram.product(unit, mean)
                for place in others.indices { tangent[place] += weights[index] * (unit[place] - along * mean[place]) }
            }
            let angle = gram.norm(of: tangent) + eps
            let norm = others.indices.reduce(0) { $0 + weights[$1] * gram.norm($1) }
            vector = others.indices.map { norm * (mean[$0] * cos(angle) + tangent[$0] * sin(angle) / angle) }
        }
        for (place, input) in others.enumerated() { coefficients[input] = vector[place] }
        if let base = merge.base { coefficients[base] = 1 - vector.reduce(0, +) }
        return coefficients
    }

    /// The point on the sphere whose distances to the inputs have the least squares, times the mean of the norms.
    private func karcher(_ pass: TensorPass) throws(MergeError) -> [Double] {
        let count = merge.inputs.count
        let tol = merge.value(.tol)
        let gram = try pass.gramMatrix(Array(merge.inputs.indices), base: nil)
        let norms = (0..<count).map { gram.norm($0) }
        let used = (0..<count).filter { norms[$0] > tol }
        guard !used.isEmpty else { return [Double](repeating: 0, count: count) }
        func unit(_ input: Int) -> [Double] { (0..<count).map { $0 == input ? 1 / norms[input] : 0 } }
        var point = [Double](repeating: 0, count: count)
        for input in used { point[input] = 1 / (norms[input] * Double(used.count)) }
        let length = gram.norm(of: point)
        point = length < tol ? unit(used[0]) : point.map { $0 / length }
        for _ in 0..<Int(merge.value(.maxIterations)) {
            var tangent = [Double](repeating: 0, count: count)
            for input in used {
                let unit = unit(input)
                let cosine = min(1, max(-1, gram.product(point, unit)))
                let angle = acos(cosine)
                guard angle >= tol else { continue }
                let factor = angle / sin(angle) / Double(used.count)
                for place in 0..<count { tangent[place] += factor * (unit[place] - cosine * point[place]) }
            }
            let step = gram.norm(of: tangent)
            guard step >= tol else { break }
            point = (0..<count).map { cos(step) * point[$0] + sin(step) * tangent[$0] / step }
            let length = gram.norm(of: point)
            if length > tol { point = point.map { $0 / length } }
        }
        let norm = norms.reduce(0, +) / Double(count)
        return point.map { norm * $0 }
    }
}

/// SLERP by weights: of whole tensors, of rows or of columns, of the inputs themselves or of what they add to a base.
struct NuSLERPMerge {
    private let merge: TensorMerge
    private let inputs: [Int]
    private let t: Double

    init(_ merge: TensorMerge) {
        self.merge = merge
        inputs = merge.others
        let weights = inputs.map { merge.value(.weight, of: $0) }
        let sum = weights[0] + weights[1]
        t = abs(sum) < 1e-6 ? 0.5 : weights[1] / sum
    }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        if merge.isSet(.nuslerpFlatten) || merge.shape.count < 2 {
            try combine(all(shares(try pass.gramMatrix(inputs, base: merge.base))), pass, output)
        } else if merge.isSet(.nuslerpRowWise) {
            try runByColumns(pass, output)
        } else {
            try pass.map(reading: Array(merge.inputs.indices), byRows: true, output) { piece, target in
                for start in stride(from: 0, to: piece.count, by: pass.rowLength) {
                    let row = start..<start + pass.rowLength
                    let coefficients = all(shares(GramMatrix(inputs, base: merge.base, of: piece, row)))
                    add(coefficients, piece, row, to: target)
                }
            }
        }
    }

    /// One vector for each place of a row; the first axis is summed over.
    private func runByColumns(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        let width = pass.rowLength
        let reading = Array(merge.inputs.indices)
        let sums = try pass.reduce(
            reading: reading, byRows: true, into: [Double](repeating: 0, count: 3 * width)
        ) { piece in
            var sums = [Double](repeating: 0, count: 3 * width)
            let (one, two) = (piece[inputs[0]], piece[inputs[1]])
            let base = merge.base.map { piece[$0] }
            for index in 0..<piece.count {
                let column = index % width
                let origin = base.map { Double($0[index]) } ?? 0
                let (left, right) = (Double(one[index]) - origin, Double(two[index]) - origin)
                sums[3 * column] += left * left
                sums[3 * column + 1] += left * right
                sums[3 * column + 2] += right * right
            }
            return sums
        } fold: { sums, piece in
            for index in sums.indices { sums[index] += piece[index] }
        }
        let coefficients = (0..<width).map { column in
            var gram = GramMatrix(count: 2)
            gram[0, 0] = sums[3 * column]
            gram[0, 1] = sums[3 * column + 1]
            gram[1, 1] = sums[3 * column + 2]
            return all(shares(gram))
        }
        try pass.map(reading: reading, byRows: true, output) { piece, target in
            for index in 0..<piece.count {
                var sum = 0.0
                for input in reading { sum += coefficients[index % width][input] * Double(piece[input][index]) }
                target[index] = Float(sum)
            }
        }
    }

    private func shares(_ gram: GramMatrix) -> (Double, Double) {
        let cosine = min(1, max(-1, gram[0, 1] / (max(gram.norm(0), 1e-7) * max(gram.norm(1), 1e-7))))
        return SphericalMerge.slerp(t, cosine: cosine, isParallel: 1 - cosine * cosine <= 1e-16)
    }

    /// The coefficients of all inputs: the base, if there is one, keeps what the others leave.
    private func all(_ shares: (Double, Double)) -> [Double] {
        var coefficients = [Double](repeating: 0, count: merge.inputs.count)
        coefficients[inputs[0]] = shares.0
        coefficients[inputs[1]] = shares.1
        if let base = merge.base { coefficients[base] = 1 - shares.0 - shares.1 }
        return coefficients
    }

    private func add(
        _ coefficients: [Double], _ piece: TensorPass.Piece, _ range: Range<Int>, to target: UnsafeMutablePointer<Float>
    ) {
        for index in range {
            var sum = 0.0
            for input in coefficients.indices { sum += coefficients[input] * Double(piece[input][index]) }
            target[index] = Float(sum)
        }
    }
}

/// Between the base and the mean of the inputs, by the angle between what they add to the base.
///
/// - SeeAlso: Jang, Yun, Han: Model Stock (arXiv:2403.19522)
struct ModelStockMerge {
    private let merge: TensorMerge
    private let inputs: [Int]

    init(_ merge: TensorMerge) {
        self.merge = merge
        inputs = merge.others
    }

    func run(
        _ pass: TensorPass, _ output: (UnsafeBufferPointer<Float>) throws(MergeError) -> Void
    ) throws(MergeError) {
        guard merge.isSet(.filterWise) else {
            return try combine(coefficients(try pass.gramMatrix(inputs, base: merge.base)), pass, output)
        }
        try pass.map(reading: Array(merge.inputs.indices), byRows: true, output) { piece, target in
            for start in stride(from: 0, to: piece.count, by: pass.rowLength) {
                let row = start..<start + pass.rowLength
                let coefficients = coefficients(GramMatrix(inputs, base: merge.base, of: piece, row))
                for index in row {
                    var sum = 0.0
                    for input in coefficients.indices { sum += coefficients[input] * Double(piece[input][index]) }
                    target[index] = Float(sum)
                }
            }
        }
    }

    private func coefficients(_ gram: GramMatrix) -> [Double] {
        let count = Double(inputs.count)
        var sum = 0.0
        var pairs = 0.0
        for left in inputs.indices {
            for right in 0..<left {
                sum += min(1, max(-1, gram[left, right] / max(gram.norm(left) * gram.norm(right), 1e-6)))
                pairs += 1
            }
        }
        let cosine = pairs > 0 ? sum / pairs : 1
        let divisor = 1 + (count - 1) * cosine
        let t = abs(divisor) < 1e-6 ? 0 : count * cosine / divisor
        var coefficients = [Double](repeating: 0, count: merge.inputs.count)
        for input in inputs { coefficients[input] = t / count }
        if let base = merge.base { coefficients[base] = 1 - t }
        return coefficients
    }
}
