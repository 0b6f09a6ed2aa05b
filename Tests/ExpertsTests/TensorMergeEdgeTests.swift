import Checkpoint
import Numerics
import Testing

@testable import Experts

/// A tensor of ones whose values cannot all be read.
private struct DamagedTensor: TensorReading {
    let shape: [Int]
    let firstBad: Int

    func read(_ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>) throws(CheckpointError) {
        guard elements.upperBound <= firstBad else { throw .damaged(path: "a", reason: "NaN at \(elements)") }
        target.update(repeating: 1)
    }
}

@Suite struct TensorMergeEdgeTests {
    private func merge(
        _ method: MergeMethod, _ inputs: [[Float]], base: Int? = nil, shared: [MergeParameter: Double] = [:],
        own: [MergeParameter: Double] = [:], name: String = "t", seed: UInt64 = 0
    ) throws -> [Float] {
        let shape = [inputs[0].count]
        let merge = TensorMerge(
            method, name: name, shape: shape, inputs: inputs.map { ListedTensor(shape: shape, values: $0) }, base: base,
            shared: MergeParameters(shared), perInput: inputs.map { _ in MergeParameters(own) }, seed: seed)
        var result: [Float] = []
        try merge.run(WorkerPool(threadCount: 2)) { result += $0 }
        return result
    }

    private let base: [Float] = [0.5, -0.25, 0.125, 3, -1, 0.75]

    @Test func `Updates that oppose each other leave the base`() throws {
        let update: [Float] = [1, 2, -1, 0.5, 0.25, -2]
        let pair = [base, zip(base, update).map { $0 + $1 }, zip(base, update).map { $0 - $1 }]
        #expect(try merge(.modelStock, pair, base: 0) == base)
        for shared in [[MergeParameter.filterWise: 1.0], [:]] {
            #expect(try merge(.modelStock, pair, base: 0, shared: shared) == base)
        }
        #expect(try merge(.taskArithmetic, pair, base: 0, own: [.weight: 0.5]) == base)
    }

    @Test func `Opposed inputs have no direction between them, unchanged ones need none`() throws {
        let height = Float(0.75).squareRoot()
        let directions: [[Float]] = [[1, 0], [-0.5, height], [-0.5, -height]]
        #expect(throws: MergeError.opposed(tensor: "t")) {
            try merge(.multislerp, directions, shared: [.eps: 1e-6], own: [.weight: 1])
        }
        #expect(try merge(.multislerp, [base, base, base, base], base: 0, own: [.weight: 0.4]) == base)
    }

    @Test func `Nothing kept leaves the base, everything kept is the same without a mask`() throws {
        let other = base.map { 1.5 * $0 + 0.25 }
        for method in [MergeMethod.ties, .dareLinear, .dareTies, .della, .dellaLinear, .breadcrumbs, .breadcrumbsTies] {
            #expect(try merge(method, [base, other], base: 0, own: [.weight: 1, .density: 0]) == base)
            #expect(try merge(method, [base, other], base: 0, own: [.weight: 1, .density: 1]) == other)
        }
    }

    @Test func `Ranks that leave no probability are refused`() {
        for (density, epsilon) in [(0.9, 0.15), (0.1, 0.1)] {
            #expect(throws: MergeError.self) {
                try merge(.della, [base, base], base: 0, own: [.weight: 1, .density: density, .epsilon: epsilon])
            }
        }
    }

    @Test func `Masks differ by seed, tensor and input, and not by what else is merged`() throws {
        let zeros = [Float](repeating: 0, count: 4096)
        let ones = [Float](repeating: 1, count: 4096)
        let own: [MergeParameter: Double] = [.weight: 1, .density: 0.5]
        let shared: [MergeParameter: Double] = [.rescale: 0]
        func mask(_ inputs: [[Float]], name: String = "t", seed: UInt64 = 1) throws -> [Float] {
            try merge(.dareLinear, inputs, base: 0, shared: shared, own: own, name: name, seed: seed)
        }
        let first = try mask([zeros, ones])
        #expect(try mask([zeros, ones]) == first)
        #expect(try mask([zeros, ones, zeros]) == first)
        for other in [
            try mask([zeros, ones], name: "u"), try mask([zeros, ones], seed: 2), try mask([zeros, zeros, ones]),
        ] {
            let equal = zip(first, other).filter { $0 == $1 }.count
            // Masks without a bond agree in half of the places, give or take five deviations.
            #expect(abs(equal - 2048) < 160)
        }
    }

    @Test func `What cannot be read is said, and nothing of its piece is handed over`() {
        let length = 4 * TensorPass.pieceLength
        let inputs = [
            DamagedTensor(shape: [length], firstBad: length), DamagedTensor(shape: [length], firstBad: length / 2),
        ]
        let merge = TensorMerge(
            .linear, name: "t", shape: [length], inputs: inputs, base: nil,
            perInput: inputs.map { _ in MergeParameters([.weight: 1]) })
        var taken = 0
        #expect(throws: MergeError.self) { try merge.run(WorkerPool(threadCount: 2)) { taken += $0.count } }
        #expect(taken == 0)
    }

    @Test func `Stopping ends between pieces`() {
        let merge = TensorMerge(
            .passthrough, name: "t", shape: [8],
            inputs: [ListedTensor(shape: [8], values: [Float](repeating: 1, count: 8))],
            base: nil)
        #expect(throws: MergeError.cancelled) {
            try merge.run(WorkerPool(threadCount: 1), isCancelled: { true }) { _ in }
        }
    }
}
