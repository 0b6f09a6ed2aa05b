import Numerics
import Testing

@testable import Experts

@Suite struct MergeVectorTests {
    /// Multiples of 1/1024, which are exact in float32: the pattern of mergekit_vectors.py.
    private func pattern(_ number: Int, _ count: Int) -> [Float] {
        (0..<count).map { Float(($0 * 37 + number * 101 + $0 * $0 * (number + 3)) % 1009 - 504) / 1024 }
    }

    private func parameters(_ named: [String: Double]) throws -> MergeParameters {
        var parameters = MergeParameters()
        for (name, value) in named { parameters[try #require(MergeParameter(rawValue: name))] = value }
        return parameters
    }

    @Test func `Small merges agree with mergekit's`() throws {
        let pool = WorkerPool(threadCount: 2)
        for vector in MergeVector.all {
            let count = vector.shape.reduce(1, *)
            let merge = TensorMerge(
                try #require(MergeMethod(rawValue: vector.method)), name: "t", shape: vector.shape,
                inputs: vector.inputs.map { number, factor in
                    ListedTensor(shape: vector.shape, values: pattern(number, count).map { factor * $0 })
                }, base: vector.base, shared: try parameters(vector.shared),
                perInput: try vector.perInput.map(parameters))
            var found: [Float] = []
            try merge.run(pool) { found += $0 }
            let scale = (vector.values.reduce(0) { $0 + Double($1) * Double($1) } / Double(count)).squareRoot()
            for (one, other) in zip(found, vector.values) where abs(Double(one) - Double(other)) > 1e-6 * scale {
                Issue.record("\(vector.method) \(vector.shape) \(vector.shared): \(found) is not \(vector.values)")
                break
            }
            #expect(found.count == count)
        }
    }

    @Test func `Every deterministic method has such a merge`() {
        let random: Set<MergeMethod> = [.dareLinear, .dareTies, .della, .dellaLinear]
        #expect(
            Set(MergeVector.all.map(\.method))
                == Set(MergeMethod.allCases.filter { !random.contains($0) }.map(\.rawValue)))
    }
}
