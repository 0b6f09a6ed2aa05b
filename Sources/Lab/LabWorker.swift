import Corpus
import LanguageModel
import Numerics
import OuterSync

/// One simulated worker: a model, a place in the text, and its own side of every fragment.
final class LabWorker {
    private let trainer: Trainer
    private let corpus: Corpus
    private var cursor: CorpusCursor
    private let speed: Double
    private var ticks = 0.0
    /// Training since each fragment's last snapshot.
    private var shares: [TrainingShare]
    /// Its own side of each fragment.
    var fragments: [LocalFragment]
    /// The eager rule's copy of each fragment; empty under other rules.
    var eager: [EagerFragment]

    init(
        trainer: Trainer, corpus: Corpus, cursor: CorpusCursor, speed: Double, fragments: [LocalFragment],
        eager: [EagerFragment]
    ) {
        self.trainer = trainer
        self.corpus = corpus
        self.cursor = cursor
        self.speed = speed
        self.fragments = fragments
        self.eager = eager
        shares = fragments.map { _ in TrainingShare(tokens: 0, steps: 0) }
    }

    /// As many inner steps as fall into one tick at its speed.
    func tick(learningRate: Float) throws {
        ticks += speed
        while ticks >= 1 {
            ticks -= 1
            let windows = try corpus.nextWindows(count: trainer.batchSize, cursor: &cursor)
            let report = try trainer.step(windows.tokens, learningRate: learningRate)
            guard report.applied else { throw LabError("the training loss is no longer finite") }
            for index in shares.indices {
                shares[index].steps += 1
                shares[index].tokens += UInt64(trainer.tokensPerBatch)
            }
        }
    }

    /// What it has trained since the fragment's last snapshot; counts from 0 again.
    func takeShare(_ fragment: FragmentIndex) -> TrainingShare {
        defer { shares[fragment.value] = TrainingShare(tokens: 0, steps: 0) }
        return shares[fragment.value]
    }

    /// A copy of the live fragment.
    func live(_ fragment: FragmentLayout.Fragment) -> [Float] { fragment.gather(from: model) }

    /// Blends a head into the live fragment.
    func blend(_ fragment: FragmentLayout.Fragment, _ theta: [Float], alpha: Float) {
        fragment.blend(
            fragment.tiles.indices.map(TileIndex.init), of: theta,
            into: UnsafeMutableBufferPointer(start: buffer.pointer, count: buffer.count), alpha: alpha)
    }

    private var buffer: FloatBuffer { trainer.state.parameters }
    private var model: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: buffer.pointer, count: buffer.count)
    }
}
