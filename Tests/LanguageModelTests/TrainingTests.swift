import LanguageModel
import Numerics
import Testing

/// A model small enough for finite differences, with every size odd in some way.
func oddConfiguration(tied: Bool = true, layers: Int = 2) -> ModelConfiguration {
    ModelConfiguration(
        vocabularySize: 19, width: 20, layerCount: layers, headCount: 4, keyValueHeadCount: 2, headWidth: 6,
        feedForwardWidth: 27, contextLength: 29, tiedEmbeddings: tied)
}

/// Seeded token ids.
func randomTokens(_ count: Int, below bound: Int, seed: UInt64) -> [Int32] {
    var random = SeededRandom(seed: seed)
    return (0..<count).map { _ in Int32(random.nextIndex(below: bound)) }
}

@Suite struct TrainingTests {
    @Test func lossFallsOnATinyProblem() throws {
        let configuration = oddConfiguration()
        let state = TrainingState(configuration: configuration, seed: 1)
        let trainer = Trainer(state: state, batchSize: 3, pool: WorkerPool(threadCount: 2))
        let windows = randomTokens(3 * 30, below: 19, seed: 2)
        var losses: [Double] = []
        for _ in 0..<120 { losses.append(try trainer.step(windows, learningRate: 0.01).loss) }
        #expect(abs(losses[0] - 2.944) < 0.1)
        #expect(losses[119] < 0.5)
    }

    /// Parameters after some steps.
    private func trained(threads: Int, steps: Int = 4) throws -> [Float] {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(state: state, batchSize: 25, pool: WorkerPool(threadCount: threads))
        for step in 0..<steps {
            _ = try trainer.step(randomTokens(25 * 30, below: 19, seed: UInt64(step)), learningRate: 0.003)
        }
        return state.parameters.array + state.firstMoment.array + state.secondMoment.array
    }

    @Test func trainingIsBitReproducibleForAnyNumberOfThreads() throws {
        let once = try trained(threads: 1)
        #expect(try trained(threads: 1) == once)
        #expect(try trained(threads: 2) == once)
        #expect(try trained(threads: 3) == once)
    }

    @Test(arguments: Precision.allCases)
    func aBatchWithManyActivationsEqualsItsPartsAccumulated(precision: Precision) throws {
        let configuration = ModelConfiguration(
            vocabularySize: 19, width: 12, layerCount: 1, headCount: 2, feedForwardWidth: 20, contextLength: 64)
        func trainer(_ batchSize: Int, activationValuesMax: Int, recomputing: Bool = false) -> Trainer {
            Trainer(
                state: TrainingState(configuration: configuration, seed: 1), batchSize: batchSize, precision: precision,
                recomputesActivations: recomputing, activationValuesMax: activationValuesMax,
                pool: WorkerPool(threadCount: 2))
        }
        // A token keeps 2 * (12 + 20) + 4 * 12 values, a window 64 times as many.
        #expect(trainer(48, activationValuesMax: 24 * 64 * 112).partSize == 24)
        #expect(trainer(48, activationValuesMax: 24 * 64 * 112 - 1).partSize == 16)
        #expect(trainer(48, activationValuesMax: 1).partSize == 16)
        #expect(trainer(7, activationValuesMax: 1).partSize == 7)

        let windows = randomTokens(32 * 65, below: 19, seed: 3)
        let halves = [Array(windows[..<(16 * 65)]), Array(windows[(16 * 65)...])]
        let (whole, part) = (trainer(32, activationValuesMax: 1), trainer(16, activationValuesMax: 1))
        let loss = try whole.accumulate(windows)
        let losses = try halves.map { try part.accumulate($0) }
        #expect(abs(loss - (losses[0] + losses[1]) / 2) < 1e-12)
        #expect(whole.accumulatedGradient.array == part.accumulatedGradient.array)
        let recomputing = trainer(32, activationValuesMax: 24 * 64 * 112, recomputing: true)
        #expect(try recomputing.accumulate(windows) == loss)
        #expect(recomputing.accumulatedGradient.array == whole.accumulatedGradient.array)
        #expect(whole.applyUpdate(learningRate: 1e-3) == part.applyUpdate(learningRate: 1e-3))
        #expect(whole.state.parameters.array == part.state.parameters.array)
    }

    @Test func aRestoredStateContinuesBitByBit() throws {
        let windows = (0..<4).map { randomTokens(2 * 30, below: 19, seed: UInt64($0)) }
        let pool = WorkerPool(threadCount: 1)
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(state: state, batchSize: 2, pool: pool)
        for batch in windows[..<2] { _ = try trainer.step(batch, learningRate: 0.01) }
        let restored = TrainingState(
            layout: state.layout, parameters: FloatBuffer(state.parameters.array),
            firstMoment: FloatBuffer(state.firstMoment.array), secondMoment: FloatBuffer(state.secondMoment.array),
            updateCount: state.updateCount)
        let second = Trainer(state: restored, batchSize: 2, pool: pool)
        for batch in windows[2...] {
            let reports = (try trainer.step(batch, learningRate: 0.01), try second.step(batch, learningRate: 0.01))
            #expect(reports.0 == reports.1)
        }
        #expect(restored.parameters.array == state.parameters.array)
    }

    @Test func accumulatedBatchesActLikeOneLargeBatch() throws {
        let windows = randomTokens(4 * 30, below: 19, seed: 9)
        let pool = WorkerPool(threadCount: 1)
        let large = TrainingState(configuration: oddConfiguration(), seed: 1)
        let report = try Trainer(state: large, batchSize: 4, pool: pool).step(windows, learningRate: 0.01)
        let parts = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(state: parts, batchSize: 2, pool: pool)
        try trainer.accumulate(Array(windows[..<60]))
        try trainer.accumulate(Array(windows[60...]))
        let accumulated = trainer.applyUpdate(learningRate: 0.01)
        #expect(abs(report.loss - accumulated.loss) < 1e-6)
        #expect(abs(report.gradientNorm - accumulated.gradientNorm) < 1e-5 * report.gradientNorm)
        #expect(zip(large.firstMoment.array, parts.firstMoment.array).allSatisfy { abs($0 - $1) < 1e-6 })
    }

    @Test func aGradientThatIsNotFiniteChangesNothing() throws {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let trainer = Trainer(state: state, batchSize: 2, pool: WorkerPool(threadCount: 1))
        let windows = randomTokens(2 * 30, below: 19, seed: 1)
        let kept = state.parameters[500]
        state.parameters[500] = .nan
        let before = state.parameters.array.map(\.bitPattern)
        #expect(try trainer.step(windows, learningRate: 0.01).applied == false)
        #expect(state.parameters.array.map(\.bitPattern) == before && state.updateCount == 0)
        state.parameters[500] = kept
        #expect(try trainer.step(windows, learningRate: 0.01).applied)
        #expect(state.parameters.array.allSatisfy { $0.isFinite })
    }

    @Test func tokensOutsideTheVocabularyAndWrongCountsAreRefused() throws {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let pool = WorkerPool(threadCount: 1)
        let trainer = Trainer(state: state, batchSize: 1, pool: pool)
        var windows = randomTokens(30, below: 19, seed: 1)
        #expect(throws: ModelError.wrongTokenCount(given: 29, expected: "1 x 30")) {
            try trainer.accumulate(Array(windows.dropLast()))
        }
        for bad: Int32 in [19, -1, .max, .min] {
            windows[7] = bad
            #expect(throws: ModelError.tokenOutOfRange(token: bad, vocabularySize: 19)) {
                try trainer.accumulate(windows)
            }
            let evaluator = Evaluator(layout: state.layout, batchSize: 1, pool: pool)
            #expect(throws: ModelError.tokenOutOfRange(token: bad, vocabularySize: 19)) {
                try evaluator.meanLoss(state.parameters, windows: windows)
            }
        }
    }

    @Test func rangesAreReadAndBlendedExactly() {
        let state = TrainingState(configuration: oddConfiguration(), seed: 1)
        let before = state.parameters.array
        var read = [Float](repeating: 0, count: 40)
        read.withUnsafeMutableBufferPointer { state.readRange(100..<140, into: $0) }
        #expect(read == Array(before[100..<140]))
        let target = [Float](repeating: 3, count: 40)
        target.withUnsafeBufferPointer { state.blendRange(100..<140, with: $0, keeping: 0.25) }
        let quarter: Float = 0.25
        #expect(Array(state.parameters.array[100..<140]) == before[100..<140].map { quarter * $0 + (1 - quarter) * 3 })
        target.withUnsafeBufferPointer { state.blendRange(100..<140, with: $0, keeping: 0) }
        #expect(state.parameters.array == before[..<100] + target + before[140...])
    }

    @Test func warmUpStableDecayHoldsThePeakAndFallsInAStraightLine() {
        let schedule = LearningRateSchedule(
            peak: 1, finalFraction: 0.1, warmUp: 10, total: 100, shape: .stableThenDecay(part: 0.2))
        let longer = LearningRateSchedule(
            peak: 1, finalFraction: 0.1, warmUp: 10, total: 1000, shape: .stableThenDecay(part: 0.2))
        #expect(schedule.rate(at: 0) == 0.1)
        for step in 10...80 { #expect(schedule.rate(at: UInt64(step)) == 1) }
        for step in 0...80 { #expect(schedule.rate(at: UInt64(step)) == longer.rate(at: UInt64(step))) }
        #expect(abs(schedule.rate(at: 90) - 0.55) < 1e-6)
        #expect(abs(schedule.rate(at: 99) - 0.145) < 1e-6)
        #expect(schedule.rate(at: 100) == 0.1)
    }
}
