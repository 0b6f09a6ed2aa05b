import LanguageModel
import Numerics
import Testing

@Suite struct SequenceEvaluationTests {
    @Test func unequalSequencesWeighByTheirTokens() throws {
        let layout = ParameterLayout(oddConfiguration())
        let parameters = GradientTests.lively(layout)
        let reference = ReferenceModel(layout: layout)
        let point = parameters.array.map(Double.init)
        // Of two lengths that share a batch, a short one, one that predicts nothing, and one of three windows: 29 + 29 + 12.
        let lengths = [30, 25, 4, 1, 71]
        let sequences = lengths.map { randomTokens($0, below: 19, seed: UInt64($0)) }
        var expected = 0.0
        for sequence in sequences {
            for first in stride(from: 0, to: sequence.count - 1, by: 29) {
                let window = Array(sequence[first..<min(sequence.count, first + 30)])
                let loss = reference.loss(point, window, length: window.count - 1)
                expected += loss * Double(window.count - 1)
            }
        }
        let result = try SequenceEvaluation(
            layout: layout, parameters: parameters, sequences: sequences, pool: WorkerPool(threadCount: 2))
        #expect(result.tokens == 29 + 24 + 3 + 70)
        #expect(abs(result.loss - expected) < 1e-4)
        #expect(abs(result.meanLoss - expected / 126) < 1e-6)
    }

    @Test func idsOutsideTheVocabularyAreRefused() {
        let layout = ParameterLayout(oddConfiguration())
        #expect(throws: ModelError.tokenOutOfRange(token: 19, vocabularySize: 19)) {
            try SequenceEvaluation(
                layout: layout, parameters: GradientTests.lively(layout), sequences: [[1, 19]],
                pool: WorkerPool(threadCount: 1))
        }
    }
}
