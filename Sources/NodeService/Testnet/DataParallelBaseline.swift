import Corpus
import LanguageModel
import Numerics
import Swarm

/// One process that trains on all nodes' batches together at every step: what the swarm would do with a free network.
struct DataParallelBaseline {
    /// The nodes' text.
    var corpora: [Corpus]
    /// The nodes' cursors, one per corpus: the sequences that the nodes drew from at their first start.
    var cursors: [CorpusCursor]
    /// The swarm's charter.
    var charter: Charter
    /// Threads.
    var threads: Int

    /// Trains until `tokens` are used up and returns the parameters.
    ///
    /// - Parameter progress: called after every step with the tokens so far and the step's loss.
    mutating func train(tokens: Int, progress: (Int, Double) -> Void) throws(UserError) -> FloatBuffer {
        do {
            let model = try charter.model.configuration()
            let state = TrainingState(configuration: model, seed: charter.seed)
            let inner = charter.inner
            let trainer = Trainer(
                state: state, batchSize: inner.batchSequences * corpora.count,
                optimizer: AdamW(
                    beta1: inner.beta1, beta2: inner.beta2, epsilon: inner.epsilon, weightDecay: inner.weightDecay,
                    gradientNormMax: inner.gradientClip),
                precision: .fastest, pool: WorkerPool(threadCount: threads))
            let schedule = LearningRateSchedule(inner, tokenBudget: charter.tokenBudget)
            var trained = 0
            while trained < tokens {
                var batch: [Int32] = []
                for index in corpora.indices {
                    batch += try corpora[index].nextWindows(count: inner.batchSequences, cursor: &cursors[index]).tokens
                }
                let rate = schedule.rate(at: UInt64(trained), unit: UInt64(trainer.tokensPerBatch))
                let report = try trainer.step(batch, learningRate: rate)
                trained += trainer.tokensPerBatch
                progress(trained, report.loss)
            }
            return state.parameters
        } catch {
            throw UserError(wrapping: error)
        }
    }
}

/// The mean loss of parameters over held-out windows of several domains, each domain counting the same.
struct HeldOutLoss {
    private let evaluator: Evaluator
    private let windows: [[Int32]]

    init(
        corpus: Corpus, configuration: ModelConfiguration, windowsPerDomain: Int, threads: Int
    ) throws(CorpusError) {
        evaluator = Evaluator(
            layout: ParameterLayout(configuration), batchSize: 8, pool: WorkerPool(threadCount: threads))
        windows = try corpus.heldOutWindows(countMax: windowsPerDomain).map(\.windows.tokens)
    }

    /// Nats per token.
    func callAsFunction(_ parameters: FloatBuffer) throws(UserError) -> Double {
        var sum = 0.0
        for domain in windows {
            do { sum += try evaluator.meanLoss(parameters, windows: domain) } catch { throw UserError(wrapping: error) }
        }
        return sum / Double(windows.count)
    }
}
