import Numerics
import Testing

@testable import LanguageModel

@Suite struct MuonTests {
    private func orthogonalized(_ rows: Int, _ columns: Int, _ values: [Float]) -> [Float] {
        let matrix = FloatBuffer(values)
        let side = min(rows, columns)
        let (x, square) = (FloatBuffer(count: values.count), FloatBuffer(count: side * side))
        let polynomial = FloatBuffer(count: side * side)
        withExtendedLifetime((x, square, polynomial)) {
            newtonSchulz(
                rows, columns, matrix.pointer, x: x.pointer, square: square.pointer, polynomial: polynomial.pointer,
                .best)
        }
        return matrix.array
    }

    /// The reference's golden value, in float64 there.
    @Test func theIterationGivesTheGoldenMatrixWideAndTall() {
        let golden: [Float] = [-0.65918, 0.19967, 0.5525, 0.55837, 0.31845, 0.34463]
        let wide = orthogonalized(2, 3, [1, 2, 3, 4, 5, 7])
        let tall = orthogonalized(3, 2, [1, 4, 2, 5, 3, 7])
        for row in 0..<2 {
            for column in 0..<3 {
                #expect(abs(wide[row * 3 + column] - golden[row * 3 + column]) < 2e-4)
                #expect(abs(tall[column * 2 + row] - golden[row * 3 + column]) < 2e-4)
            }
        }
    }

    /// One step from fresh state: W - rate * (0.2 sqrt(max) NS(1.95 G) + decay W), q, k, v, gate and up one by one; other
    /// tensors move as AdamW moves them.
    @Test func hiddenMatricesMoveByTheOrthogonalGradientAndTheRestByAdamW() throws {
        let configuration = oddConfiguration(tied: false)
        let windows = randomTokens(3 * 30, below: 19, seed: 2)
        func stepped(_ muon: Muon?) throws -> (before: [Float], after: [Float], gradient: [Float]) {
            let state = TrainingState(configuration: configuration, seed: 1)
            let before = state.parameters.array
            let trainer = Trainer(
                state: state, batchSize: 3, optimizer: AdamW(gradientNormMax: .infinity), muon: muon,
                pool: WorkerPool(threadCount: 2))
            _ = try trainer.step(windows, learningRate: 0.01)
            return (before, state.parameters.array, trainer.accumulatedGradient.array)
        }
        let (adam, muon) = (try stepped(nil), try stepped(Muon()))
        for tensor in ParameterLayout(configuration).tensors {
            guard tensor.isMatrix, tensor.block != nil else {
                #expect(adam.after[tensor.range] == muon.after[tensor.range])
                continue
            }
            let direction = orthogonalized(
                tensor.shape[0], tensor.shape[1], muon.gradient[tensor.range].map { 1.95 * $0 })
            let scale = 0.2 * Float(max(tensor.shape[0], tensor.shape[1])).squareRoot()
            for (index, place) in tensor.range.enumerated() {
                let expected = muon.before[place] * (1 - 0.01 * 0.1) - 0.01 * scale * direction[index]
                #expect(abs(muon.after[place] - expected) < 2e-5)
            }
        }
    }

    @Test func lossFallsOnATinyProblemWithMuon() throws {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(state: state, batchSize: 3, muon: Muon(), pool: WorkerPool(threadCount: 2))
        let windows = randomTokens(3 * 30, below: 19, seed: 2)
        var losses: [Double] = []
        for _ in 0..<120 { losses.append(try trainer.step(windows, learningRate: 0.01).loss) }
        #expect(losses[119] < 0.5)
    }
}
