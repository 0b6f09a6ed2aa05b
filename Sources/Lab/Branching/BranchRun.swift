package import Corpus
import LanguageModel
import Numerics

/// One seed of a Branch-Train-Merge experiment: trains the seed model once along all steps, and lets experts branch off
/// where the settings say.
///
/// The seed model's batch is the experts' batches together, window for window, so experts go on with the text where it
/// stood. A random split deals the same windows to random experts.
package struct BranchRun {
    private let settings: BranchSettings
    private let seed: UInt64
    private let corpora: [Corpus]
    private let score: BranchScore

    /// Prepares a run; each corpus has one domain, in windows of `settings.windowTokens`.
    package init(_ settings: BranchSettings, seed: UInt64, corpora: [Corpus]) throws {
        precondition(
            corpora.allSatisfy { $0.domains.count == 1 && $0.contextLength == settings.windowTokens },
            "each corpus must have one domain, cut as the run reads it")
        precondition(
            !corpora.isEmpty && settings.globalBatch % corpora.count == 0,
            "a batch must have as many windows of each domain")
        self.settings = settings
        self.seed = seed
        self.corpora = corpora
        score = try BranchScore(
            corpora, layout: ParameterLayout(settings.model), windows: settings.heldOutWindows)
    }

    private var expertBatch: Int { settings.globalBatch / corpora.count }

    /// Trains and scores the parts that are wanted, and hands over each when it is done.
    ///
    /// - Parameter progress: called every few steps; throwing ends the run.
    package func run(
        _ wanted: Set<BranchSettings.Part>, progress: () throws -> Void,
        emit: (BranchSettings.Part, [BranchResult.Method: [Double]]) throws -> Void
    ) throws {
        var place = Place(
            state: TrainingState(configuration: settings.model, seed: seed),
            cursors: corpora.indices.map { CorpusCursor(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64($0)) })
        let trainer = trainer(place.state, batch: settings.globalBatch)
        for part in settings.parts {
            while place.step < settings.seedSteps(part.fraction) {
                let windows = try place.next(corpora, count: expertBatch)
                try step(trainer, windows.flatMap { $0 }, place.step - 1)
                if place.step % 16 == 0 { try progress() }
            }
            guard wanted.contains(part) else { continue }
            if part.fraction == 1 {
                try emit(part, [.dense: score.losses(place.state.parameters)])
            } else {
                try emit(part, score.losses(experts: try branch(place, part.split, progress)))
            }
        }
    }

    /// A state of training and its place in the text.
    private struct Place {
        var state: TrainingState
        var cursors: [CorpusCursor]
        var step = 0

        /// The windows of the next step: [domains][count windows].
        mutating func next(_ corpora: [Corpus], count: Int) throws -> [[Int32]] {
            step += 1
            var windows: [[Int32]] = []
            for index in corpora.indices {
                windows.append(try corpora[index].nextWindows(count: count, cursor: &cursors[index]).tokens)
            }
            return windows
        }
    }

    /// Trains one expert per domain from a place to the end.
    private func branch(
        _ place: Place, _ split: BranchSettings.Split, _ progress: () throws -> Void
    ) throws -> [FloatBuffer] {
        var place = place
        let trainers = corpora.map { _ in trainer(Self.copy(place.state), batch: expertBatch) }
        while place.step < settings.steps {
            var windows = try place.next(corpora, count: expertBatch)
            if split == .random { windows = deal(windows, step: place.step) }
            for (trainer, tokens) in zip(trainers, windows) { try step(trainer, tokens, place.step - 1) }
            if place.step % 16 == 0 { try progress() }
        }
        return trainers.map(\.state.parameters)
    }

    /// The windows of a step in random order, in as many equal parts.
    private func deal(_ windows: [[Int32]], step: Int) -> [[Int32]] {
        let length = settings.windowTokens + 1
        var all = windows.flatMap { tokens in
            stride(from: 0, to: tokens.count, by: length).map { Array(tokens[$0..<$0 + length]) }
        }
        var random = SeededRandom(seed: seed, stream: UInt64(step))
        all.shuffle(using: &random)
        return windows.indices.map { all[$0 * expertBatch..<($0 + 1) * expertBatch].flatMap { $0 } }
    }

    private func step(_ trainer: Trainer, _ tokens: [Int32], _ done: Int) throws {
        let schedule = LearningRateSchedule(
            peak: settings.inner.learningRate, finalFraction: settings.inner.finalShare,
            warmUp: UInt64(settings.inner.warmUpShare * Double(settings.steps)), total: UInt64(settings.steps))
        guard try trainer.step(tokens, learningRate: schedule.rate(at: UInt64(done))).applied else {
            throw LabError("the training loss is no longer finite")
        }
    }

    private func trainer(_ state: TrainingState, batch: Int) -> Trainer {
        Trainer(
            state: state, batchSize: batch, sequenceLength: settings.windowTokens,
            optimizer: AdamW(beta2: 0.95, weightDecay: settings.inner.weightDecay, gradientNormMax: 1),
            muon: settings.inner.muon ? Muon() : nil, precision: .fastest, pool: WorkerPool(threadCount: 1))
    }

    private static func copy(_ state: TrainingState) -> TrainingState {
        func copy(_ buffer: FloatBuffer) -> FloatBuffer {
            let copy = FloatBuffer(count: buffer.count)
            copy.copy(from: buffer)
            return copy
        }
        return TrainingState(
            layout: state.layout, parameters: copy(state.parameters), firstMoment: copy(state.firstMoment),
            secondMoment: copy(state.secondMoment), updateCount: state.updateCount)
    }
}
