import LanguageModel
import Numerics

/// How long runs will take, from this machine's own steps.
package enum LabSpeed {
    /// Seconds of one thread for one inner step of a configuration's worker.
    ///
    /// - Parameter now: a clock's time, in seconds.
    package static func secondsPerStep(_ settings: LabSettings, now: () -> Double) throws -> Double {
        let batch =
            switch settings.method {
            case .dataParallel: settings.globalBatch
            case .alone, .rounds: settings.workerBatch
            }
        let trainer = Trainer(
            state: TrainingState(configuration: settings.model, seed: 1), batchSize: batch,
            sequenceLength: settings.windowTokens, muon: settings.inner.muon ? Muon() : nil, precision: .fastest,
            pool: WorkerPool(threadCount: 1))
        let tokens = (0..<batch * (settings.windowTokens + 1)).map {
            Int32($0 * 7919 % settings.model.vocabularySize)
        }
        _ = try trainer.step(tokens, learningRate: 1e-6)
        let start = now()
        var steps = 0
        repeat {
            _ = try trainer.step(tokens, learningRate: 1e-6)
            steps += 1
        } while now() - start < 0.3
        return (now() - start) / Double(steps)
    }

    /// Inner steps of one run, of all workers together.
    package static func stepCount(_ settings: LabSettings) -> Int {
        switch settings.method {
        case .dataParallel: settings.steps
        case .alone, .rounds: settings.steps * settings.workers
        }
    }
}
