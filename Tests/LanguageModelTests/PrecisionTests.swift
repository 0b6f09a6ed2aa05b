import LanguageModel
import Numerics
import Testing

@Suite struct PrecisionTests {
    private func gradient(
        _ precision: Precision, recomputing: Bool = false, threads: Int = 2, length: Int = 29, batch: Int = 25,
        kernels: Kernels = .best
    ) throws -> (loss: Double, gradient: [Float]) {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(
            state: state, batchSize: batch, sequenceLength: length, precision: precision,
            recomputesActivations: recomputing, pool: WorkerPool(threadCount: threads), kernels: kernels)
        let loss = try trainer.accumulate(randomTokens(batch * (length + 1), below: 19, seed: 5))
        return (loss, trainer.accumulatedGradient.array)
    }

    /// bfloat16 keeps 8 bits: products of rounded operands are off by some parts in a thousand of the gradient's norm.
    @Test(arguments: InstructionSet.available)
    func bfloat16GradientsLieCloseToFloat32Ones(instructionSet: InstructionSet) throws {
        let exact = try gradient(.float32)
        let rounded = try gradient(.bfloat16, kernels: .built(for: instructionSet))
        #expect(abs(exact.loss - rounded.loss) < 2e-3)
        let error = zip(exact.gradient, rounded.gradient).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        let norm = exact.gradient.reduce(0.0) { $0 + Double($1 * $1) }
        #expect(error > 0 && (error / norm).squareRoot() < 2e-2)
    }

    @Test(arguments: Precision.allCases)
    func recomputedActivationsGiveTheSameBits(precision: Precision) throws {
        let (kept, computed) = (try gradient(precision), try gradient(precision, recomputing: true))
        #expect(kept.loss == computed.loss)
        #expect(kept.gradient == computed.gradient)
    }

    @Test func bfloat16TrainingIsBitReproducibleForAnyNumberOfThreads() throws {
        let once = try gradient(.bfloat16, threads: 1)
        #expect(try gradient(.bfloat16, threads: 2) == once)
        #expect(try gradient(.bfloat16, threads: 3) == once)
    }

    @Test func windowsOfOddAndEvenLengthAreCutIntoChunksThatStartAtEvenTokens() throws {
        for (length, batch) in [(1, 3), (7, 1), (28, 11), (29, 3), (29, 19)] {
            let (exact, rounded) = (
                try gradient(.float32, length: length, batch: batch),
                try gradient(.bfloat16, length: length, batch: batch)
            )
            #expect(abs(exact.loss - rounded.loss) < 5e-3, "\(length) x \(batch)")
        }
    }
}
