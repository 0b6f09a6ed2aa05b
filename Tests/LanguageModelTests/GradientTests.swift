import LanguageModel
import Numerics
import Testing

@Suite struct GradientTests {
    /// Larger initial weights than the usual ones, so that no gradient is lost in rounding.
    static func lively(_ layout: ParameterLayout) -> FloatBuffer {
        let parameters = layout.initialParameters(seed: 11)
        for tensor in layout.tensors where tensor.isMatrix {
            for index in tensor.range { parameters[index] *= 12 }
        }
        return parameters
    }

    @Test(arguments: [true, false])
    func theWholeModelsGradientEqualsCentralDifferencesTensorByTensor(tied: Bool) throws {
        let layout = ParameterLayout(oddConfiguration(tied: tied))
        let parameters = Self.lively(layout)
        let (length, batch) = (7, 3)
        let windows = randomTokens(batch * (length + 1), below: 19, seed: 5)
        let state = TrainingState(layout: layout, parameters: parameters)
        let trainer = Trainer(
            state: state, batchSize: batch, sequenceLength: length, pool: WorkerPool(threadCount: 2))
        let loss = try trainer.accumulate(windows)
        let reference = ReferenceModel(layout: layout)
        let point = parameters.array.map(Double.init)
        #expect(abs(loss - reference.loss(point, windows, length: length)) < 1e-5)
        var random = SeededRandom(seed: 6)
        for tensor in layout.tensors {
            var (above, below, analytic) = (point, point, 0.0)
            for index in tensor.range {
                let direction = Double(random.nextNormal())
                above[index] += 1e-4 * direction
                below[index] -= 1e-4 * direction
                analytic += direction * Double(trainer.accumulatedGradient[index])
            }
            let numeric =
                (reference.loss(above, windows, length: length) - reference.loss(below, windows, length: length)) / 2e-4
            #expect(abs(numeric - analytic) < 2e-5 + 1e-3 * abs(numeric), "\(tensor.name)")
        }
    }

    @Test func logitsAndLossesEqualTheReferenceAcrossChunks() throws {
        let layout = ParameterLayout(oddConfiguration())
        let parameters = Self.lively(layout)
        let pool = WorkerPool(threadCount: 2)
        let point = parameters.array.map(Double.init)
        let reference = ReferenceModel(layout: layout)
        let tokens = randomTokens(29, below: 19, seed: 7)
        let logits = try Evaluator(layout: layout, batchSize: 1, pool: pool).logits(parameters, tokens: tokens)
        let expected = reference.logits(point, tokens[...]).flatMap { $0 }
        #expect(zip(logits, expected).allSatisfy { abs(Double($0) - $1) < 1e-4 })
        // 256 / 28 = 9 sequences per chunk, so 20 windows in batches of 12 make whole and partial chunks and batches.
        let windows = randomTokens(20 * 29, below: 19, seed: 8)
        let evaluator = Evaluator(layout: layout, batchSize: 12, sequenceLength: 28, pool: pool)
        let loss = try evaluator.meanLoss(parameters, windows: windows)
        #expect(abs(loss - reference.loss(point, windows, length: 28)) < 1e-5)
        #expect(try evaluator.windowLosses(parameters, windows: windows).count == 20)
    }
}
