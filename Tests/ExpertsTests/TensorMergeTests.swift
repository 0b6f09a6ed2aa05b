import Checkpoint
import Foundation
import Numerics
import Testing

@testable import Experts

/// A tensor in memory.
struct ListedTensor: TensorReading {
    let shape: [Int]
    let values: [Float]

    func read(_ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>) throws(CheckpointError) {
        for (place, index) in elements.enumerated() { target[place] = values[index] }
    }
}

/// The methods written down once more, plainly and in float64, from docs/merging.md.
struct PlainMerge {
    let method: MergeMethod
    let shape: [Int]
    /// Base and others apart.
    let base: [Double]
    let others: [[Double]]
    var weights: [Double] = []
    var density: [Double] = []
    var parameters: [MergeParameter: Double] = [:]

    private var count: Int { others[0].count }
    private func parameter(_ name: MergeParameter, _ standard: Double) -> Double { parameters[name] ?? standard }
    private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    private func norm(_ a: [Double]) -> Double { dot(a, a).squareRoot() }
    private func sum(_ terms: [(Double, [Double])]) -> [Double] {
        (0..<count).map { index in terms.reduce(0) { $0 + $1.0 * $1.1[index] } }
    }
    /// D in float32, as it is defined.
    private var differences: [[Double]] {
        others.map { other in zip(other, base).map { Double(Float($0) - Float($1)) } }
    }

    var result: [Double] {
        switch method {
        case .linear:
            let divisor = parameter(.normalize, 1) != 0 ? weights.reduce(0, +) : 1
            return sum(zip(weights, others).map { ($0 / divisor, $1) })
        case .slerp: return slerp(parameter(.t, 0), base, others[0], bound: 0.9995, floor: 1e-8)
        case .nearswap:
            return zip(base, others[0]).map { a, c in
                let w = min(1, max(0, parameter(.t, 0) / max(abs(a - c), 1e-6)))
                return w * c + (1 - w) * a
            }
        case .karcher: return karcher
        case .modelStock: return modelStock
        case .sce: return sce
        case .ram, .ramPlus: return ram
        default: return taskVectors
        }
    }

    private func slerp(_ t: Double, _ a: [Double], _ c: [Double], bound: Double, floor: Double) -> [Double] {
        let na = norm(a) <= floor ? 1 : norm(a)
        let nc = norm(c) <= floor ? 1 : norm(c)
        let d = min(1, max(-1, dot(a.map { $0 / na }, c.map { $0 / nc })))
        if abs(d) > bound { return sum([(1 - t, a), (t, c)]) }
        let angle = acos(d)
        return sum([(sin((1 - t) * angle) / sin(angle), a), (sin(t * angle) / sin(angle), c)])
    }

    private var karcher: [Double] {
        let units = others.map { x in x.map { $0 / norm(x) } }
        var u = sum(units.map { (1 / Double(others.count), $0) })
        u = u.map { $0 / norm(u) }
        for _ in 0..<10 {
            var g = [Double](repeating: 0, count: count)
            for unit in units {
                let d = min(1, max(-1, dot(u, unit)))
                let angle = acos(d)
                if angle < 1e-5 { continue }
                for index in 0..<count {
                    g[index] += angle / sin(angle) * (unit[index] - d * u[index]) / Double(others.count)
                }
            }
            let step = norm(g)
            if step < 1e-5 { break }
            u = zip(u, g).map { cos(step) * $0 + sin(step) * $1 / step }
            u = u.map { $0 / norm(u) }
        }
        let scale = others.reduce(0) { $0 + norm($1) } / Double(others.count)
        return u.map { scale * $0 }
    }

    private var modelStock: [Double] {
        let o = others.map { x in zip(x, base).map { $0 - $1 } }
        var cosines: [Double] = []
        for i in o.indices { for j in 0..<i { cosines.append(dot(o[i], o[j]) / max(norm(o[i]) * norm(o[j]), 1e-6)) } }
        let c = cosines.reduce(0, +) / Double(cosines.count)
        let n = Double(others.count)
        let t = n * c / (1 + (n - 1) * c)
        return sum(others.map { (t / n, $0) } + [(1 - t, base)])
    }

    private func agreeing(_ z: [[Double]], _ weights: [Double], _ election: [Double]) -> (
        sums: [Double], divisors: [Double]
    ) {
        var sums = [Double](repeating: 0, count: count)
        var divisors = sums
        for index in 0..<count {
            for (place, list) in z.enumerated() {
                let value = list[index]
                guard election[index] >= 0 ? value > 0 : value < 0 else { continue }
                sums[index] += value
                divisors[index] += weights[place]
            }
        }
        return (sums, divisors)
    }

    private var sce: [Double] {
        var d = differences
        let topk = parameter(.selectTopK, 1)
        if topk < 1 {
            let variances = (0..<count).map { index in
                let values = d.map { $0[index] }
                let mean = values.reduce(0, +) / Double(values.count)
                return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
            }
            let kept = Int((topk * Double(variances.filter { Float($0) != 0 }.count)).rounded(.down))
            let order = (0..<count).sorted { (Float(variances[$0]), -$0) > (Float(variances[$1]), -$1) }
            for index in order.dropFirst(kept) { for place in d.indices { d[place][index] = 0 } }
        }
        let squares = d.map { dot($0, $0) / Double(count) }
        let total = squares.reduce(0, +)
        let v = squares.map { total < 1e-6 ? 1 / Double(d.count) : $0 / total }
        let (sums, divisors) = agreeing(
            zip(d, v).map { list, share in list.map { share * $0 } }, v, sum(d.map { (1, $0) }))
        return (0..<count).map { base[$0] + sums[$0] / max(divisors[$0], 1e-6) }
    }

    private var ram: [Double] {
        let d = differences
        let active = d.map { $0.map { abs($0) > parameter(.epsilon, 1e-5) } }
        let counts = (0..<count).map { index in active.filter { $0[index] }.count }
        let factors = active.map { list -> Double in
            guard method == .ramPlus else { return 1 }
            let shared = list.indices.filter { list[$0] && counts[$0] > 1 }.count
            let unique = list.indices.filter { list[$0] && counts[$0] == 1 }.count
            return 1 + 0.1 * min(Double(shared) / Double(max(1, unique)), 0.2)
        }
        return (0..<count).map { index in
            var step = 0.0
            for place in d.indices where active[place][index] {
                if counts[index] > 1 {
                    step += d[place][index] / Double(counts[index])
                } else {
                    step += factors[place] * d[place][index]
                }
            }
            return base[index] + step
        }
    }

    private var taskVectors: [Double] {
        let d = differences
        let kept = zip(d, density.isEmpty ? d.map { _ in 1 } : density).map { list, p -> [Double] in
            guard p < 1 else { return list }
            // Ascending by magnitude; of equal ones the earlier counts as larger.
            let order = list.indices.sorted { (abs(list[$0]), -$0) < (abs(list[$1]), -$1) }
            let w = Int((p * Double(count)).rounded(.down))
            let ranks: Range<Int>
            if method == .ties {
                ranks = count - max(1, w)..<count
            } else {
                let low = max(0, count - w - Int((parameter(.gamma, 0.01) * Double(count)).rounded(.down)))
                ranks = low..<min(count, low + w)
            }
            var out = [Double](repeating: 0, count: count)
            for rank in ranks { out[order[rank]] = list[order[rank]] }
            return out
        }
        let z = zip(kept, weights).map { list, weight in list.map { weight * $0 } }
        let elects = [.ties, .breadcrumbsTies].contains(method)
        var (sums, divisors) =
            elects
            ? agreeing(z, weights, sum(z.map { (1, $0) }))
            : (sum(z.map { (1, $0) }), [Double](repeating: weights.reduce(0, +), count: count))
        if parameter(.normalize, method == .ties ? 1 : 0) != 0 {
            sums = zip(sums, divisors).map { $0 / ($1 == 0 ? 1 : $1) }
        }
        return zip(base, sums).map { $0 + parameter(.lambda, 1) * $1 }
    }
}

@Suite struct TensorMergeTests {
    private func tensors(_ count: Int, of length: Int, seed: UInt64, near base: [Float]? = nil) -> [[Float]] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in (0..<length).map { 0.1 * random.nextNormal() + (base?[$0] ?? 0) } }
    }

    private func run(
        _ method: MergeMethod, shape: [Int], _ inputs: [[Float]], base: Int? = nil,
        shared: [MergeParameter: Double] = [:], perInput: [[MergeParameter: Double]]? = nil, seed: UInt64 = 0,
        threads: Int = 2
    ) throws -> [Float] {
        let merge = TensorMerge(
            method, name: "model.layers.0.mlp.up_proj.weight", shape: shape,
            inputs: inputs.map { ListedTensor(shape: shape, values: $0) }, base: base, shared: MergeParameters(shared),
            perInput: perInput?.map { MergeParameters($0) }, seed: seed)
        var result: [Float] = []
        try merge.run(WorkerPool(threadCount: threads)) { result += $0 }
        #expect(result.count == shape.reduce(1, *))
        return result
    }

    private func expectNear(_ found: [Float], _ wanted: [Double], _ comment: Comment? = nil) {
        let scale = (wanted.reduce(0) { $0 + $1 * $1 } / Double(wanted.count)).squareRoot()
        for (one, two) in zip(found, wanted) where abs(Double(one) - two) > 2e-7 * max(scale, abs(two)) {
            Issue.record("\(one) is not \(two): \(comment ?? "")")
            return
        }
    }

    /// Small ones, a vector, one value, and one of several pieces whose last one is not full.
    static let shapes = [[6, 5], [7], [1], [129, 128]]

    @Test(arguments: shapes) func `Methods give what their equations say`(shape: [Int]) throws {
        let length = shape.reduce(1, *)
        let base = tensors(1, of: length, seed: 1)[0]
        var others = tensors(3, of: length, seed: 2, near: base)
        // Ties, zeros and equal values.
        for index in stride(from: 0, to: length, by: 3) { others[1][index] = base[index] }
        for index in stride(from: 0, to: length, by: 5) { others[2][index] = others[0][index] }
        let weights = [0.7, 0.4, -0.2]
        let doubles = others.map { $0.map(Double.init) }
        func plain(_ method: MergeMethod, _ weights: [Double], _ density: [Double] = []) -> PlainMerge {
            PlainMerge(
                method: method, shape: shape, base: base.map(Double.init), others: doubles, weights: weights,
                density: density)
        }
        expectNear(
            try run(.linear, shape: shape, others, perInput: weights.map { [.weight: $0] }),
            plain(.linear, weights).result, "linear")
        for method in [MergeMethod.taskArithmetic, .ties, .breadcrumbs, .breadcrumbsTies] {
            // Plain sorting of many values takes its time.
            for density in length < 100 ? [1, 0.5, 0.21] : [0.21] {
                for normalize in length < 100 ? [0.0, 1] : [1] {
                    var reference = plain(method, weights, others.map { _ in density })
                    if method == .taskArithmetic { reference.density = [] }
                    reference.parameters = [.normalize: normalize, .lambda: 0.8, .gamma: 0.1]
                    var own = weights.map { [MergeParameter.weight: $0, .density: density, .gamma: 0.1] }
                    own.append([:])
                    // The base stands last here, first below.
                    expectNear(
                        try run(
                            method, shape: shape, others + [base], base: 3,
                            shared: [.normalize: normalize, .lambda: 0.8], perInput: own),
                        reference.result, "\(method) \(density) \(normalize)")
                }
            }
        }
        for topk in [1, 0.4] {
            var reference = plain(.sce, [])
            reference.parameters = [.selectTopK: topk]
            expectNear(
                try run(.sce, shape: shape, [base] + others, base: 0, shared: [.selectTopK: topk]), reference.result,
                "sce \(topk)")
        }
        for method in [MergeMethod.ram, .ramPlus, .modelStock] {
            expectNear(
                try run(method, shape: shape, [base] + others, base: 0), plain(method, []).result, "\(method)")
        }
        expectNear(try run(.karcher, shape: shape, others), plain(.karcher, []).result, "karcher")
        for t in [0, 0.3, 1, 1.4] {
            var reference = plain(.slerp, [])
            reference.parameters = [.t: t]
            expectNear(
                try run(.slerp, shape: shape, [others[0], base], base: 1, shared: [.t: t]), reference.result, "slerp")
        }
        var reference = plain(.nearswap, [])
        reference.parameters = [.t: 0.02]
        expectNear(
            try run(.nearswap, shape: shape, [others[0], base], base: 1, shared: [.t: 0.02]), reference.result,
            "nearswap")
    }

    @Test(arguments: MergeMethod.allCases) func `Threads do not change the result, and equal inputs give the input`(
        method: MergeMethod
    ) throws {
        let shape = [210, 131]
        let length = shape.reduce(1, *)
        let base = tensors(1, of: length, seed: 3)[0]
        let count = min(3, method.inputCount.upperBound)
        let own: [MergeParameter: Double] = [.weight: 0.5, .density: 0.6, .epsilon: 0.1]
        let shared: [MergeParameter: Double] = [.t: 0.3]
        let hasBase = method.baseUse != .unused
        func merge(_ others: [[Float]], threads: Int, seed: UInt64 = 7) throws -> [Float] {
            var mine = [[MergeParameter: Double]](repeating: own, count: others.count + (hasBase ? 1 : 0))
            if method == .ram || method == .ramPlus { mine = mine.map { _ in [:] } }
            return try run(
                method, shape: shape, (hasBase ? [base] : []) + others, base: hasBase ? 0 : nil, shared: shared,
                perInput: mine, seed: seed, threads: threads)
        }
        let others = tensors(count, of: length, seed: 4, near: base)
        let one = try merge(others, threads: 1)
        #expect(try merge(others, threads: 3) == one)
        #expect(try merge(others, threads: 2) == one)
        #expect(!one.contains { !$0.isFinite })
        if method.rules.contains(where: { $0.parameter == .rescale }), method != .taskArithmetic,
            method != .ties, method != .breadcrumbs, method != .breadcrumbsTies
        {
            #expect(try merge(others, threads: 2, seed: 8) != one)
        }
        // What changes nothing gives the base back.
        let same = try merge([[Float]](repeating: base, count: count), threads: 2)
        for (left, right) in zip(same, base) where abs(left - right) > 1e-7 * max(abs(right), 0.1) {
            Issue.record("\(method): \(left) is not \(right)")
            return
        }
    }

    @Test func `A weight of one alone gives that input, bit for bit`() throws {
        let inputs = tensors(3, of: 40, seed: 5)
        for index in 0..<3 {
            let weights = (0..<3).map { [MergeParameter.weight: $0 == index ? 1.0 : 0] }
            #expect(try run(.linear, shape: [8, 5], inputs, perInput: weights) == inputs[index])
        }
    }

    @Test func `Weights that cancel out have no average`() {
        let inputs = tensors(2, of: 6, seed: 6)
        #expect(throws: MergeError.weightsSumToZero) {
            try run(.linear, shape: [6], inputs, perInput: [[.weight: 1], [.weight: -1]])
        }
    }

    @Test func `A random mask keeps what its density says and rescales to the same norm`() throws {
        let shape = [400, 250]
        let length = shape.reduce(1, *)
        let base = [Float](repeating: 0, count: length)
        let other = tensors(1, of: length, seed: 9)[0]
        for method in [MergeMethod.dareLinear, .dellaLinear] {
            let found = try run(
                method, shape: shape, [base, other], base: 0,
                perInput: [[:], [.weight: 1, .density: 0.3, .epsilon: 0.1]])
            let kept = Double(found.filter { $0 != 0 }.count) / Double(length)
            #expect(abs(kept - 0.3) < 0.01)
            let sizes = (found.reduce(0) { $0 + Double(abs($1)) }, other.reduce(0) { $0 + Double(abs($1)) })
            #expect(abs(sizes.0 / sizes.1 - 1) < 1e-5)
            guard method == .dellaLinear else { continue }
            // The larger half of each row is kept more often.
            var large = 0
            for row in 0..<400 {
                let order = (0..<250).sorted { abs(other[250 * row + $0]) > abs(other[250 * row + $1]) }
                large += order.prefix(125).filter { found[250 * row + $0] != 0 }.count
            }
            #expect(Double(large) / (kept * Double(length)) > 0.55)
        }
    }

    @Test func `Of equal magnitudes the earlier ones are the larger`() throws {
        let base = [Float](repeating: 0, count: 8)
        let other: [Float] = [1, -2, 2, 1, 2, 1, -1, 0]
        // 4 of 8: the three of magnitude 2, and the first of magnitude 1.
        let found = try run(
            .ties, shape: [8], [base, other], base: 0, perInput: [[:], [.weight: 1, .density: 0.5]])
        #expect(found == [1, -2, 2, 0, 2, 0, 0, 0])
    }

    @Test func `Rows and columns are turned by themselves`() throws {
        let inputs = tensors(2, of: 12, seed: 10)
        let weights: [[MergeParameter: Double]] = [[.weight: 0.6], [.weight: 0.4]]
        let rows = try run(
            .nuslerp, shape: [3, 4], inputs, shared: [.nuslerpFlatten: 0], perInput: weights)
        for row in 0..<3 {
            let part = inputs.map { Array($0[4 * row..<4 * row + 4]) }
            #expect(try run(.nuslerp, shape: [4], part, perInput: weights) == Array(rows[4 * row..<4 * row + 4]))
        }
        let columns = try run(
            .nuslerp, shape: [3, 4], inputs, shared: [.nuslerpFlatten: 0, .nuslerpRowWise: 1], perInput: weights)
        for column in 0..<4 {
            let part = inputs.map { input in (0..<3).map { input[4 * $0 + column] } }
            let found = try run(.nuslerp, shape: [3], part, perInput: weights)
            for row in 0..<3 { #expect(abs(found[row] - columns[4 * row + column]) < 1e-7) }
        }
        let stock = tensors(3, of: 12, seed: 11)
        let filtered = try run(.modelStock, shape: [3, 4], stock, base: 0, shared: [.filterWise: 1])
        for row in 0..<3 {
            let part = stock.map { Array($0[4 * row..<4 * row + 4]) }
            #expect(
                try run(.modelStock, shape: [4], part, base: 0) == Array(filtered[4 * row..<4 * row + 4]))
        }
    }

    @Test func `Fusion takes the outliers of change and leaves the rest`() throws {
        let base = tensors(1, of: 400, seed: 12)[0]
        var other = base
        for index in 0..<400 { other[index] += 1e-4 * Float(index % 7) }
        for index in [3, 77, 240] { other[index] += 2 }
        let found = try run(.arceeFusion, shape: [20, 20], [base, other], base: 0)
        for index in [3, 77, 240] { #expect(found[index] == other[index]) }
        #expect(zip(found, base).filter { $0 != $1 }.count < 120)
    }
}
