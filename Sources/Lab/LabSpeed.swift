import LanguageModel
import Numerics

/// How long runs will take, from this machine's own steps.
package enum LabSpeed {
    /// Seconds of one thread for one inner step of a configuration's worker.
    package static func secondsPerStep(_ settings: LabSettings) throws -> Double {
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
        let clock = ContinuousClock()
        _ = try trainer.step(tokens, learningRate: 1e-6)
        let start = clock.now
        var steps = 0
        repeat {
            _ = try trainer.step(tokens, learningRate: 1e-6)
            steps += 1
        } while clock.now - start < .milliseconds(300)
        let (seconds, attoseconds) = (clock.now - start).components
        return (Double(seconds) + Double(attoseconds) * 1e-18) / Double(steps)
    }

    /// Inner steps of one run, of all workers together.
    package static func stepCount(_ settings: LabSettings) -> Int {
        switch settings.method {
        case .dataParallel: settings.steps
        case .alone, .rounds: settings.steps * settings.workers
        }
    }
}
