package import Compression
package import LanguageModel
package import OuterSync

/// One configuration of the learning laboratory: what is trained, by how many workers, and how they exchange.
package struct LabSettings: Hashable, Sendable {
    /// Its name in tables and plots, unique within a grid.
    package var name = "run"
    /// The model.
    package var model = ModelConfiguration.nano
    /// Tokens of a window; at most the model's context.
    package var windowTokens = 64
    /// Windows of all workers together in one inner step at mean speed; a multiple of the workers.
    package var globalBatch = 16
    /// Workers (M).
    package var workers = 4
    /// Inner steps of a worker of mean speed.
    package var steps = 3000
    /// The inner optimizer.
    package var inner = Inner()
    /// How workers learn from each other.
    package var method = Method.rounds(Rounds())
    /// Relative speeds of the workers; empty: all equal.
    package var speeds: [Double] = []
    /// Held-out losses taken along the run, evenly in tokens, the last at its end.
    package var evaluations = 10
    /// Held-out windows per domain.
    package var heldOutWindows = 64

    /// The inner optimizer and its schedule over the run's tokens.
    package struct Inner: Hashable, Sendable {
        /// Whether hidden matrices are updated by Muon instead of AdamW.
        package var muon = false
        /// Peak learning rate.
        package var learningRate: Float = 3e-3
        /// Share of the peak that is left at the end.
        package var finalShare: Float = 0.1
        /// Share of the run over which the rate rises.
        package var warmUpShare = 0.05
        /// Decoupled weight decay.
        package var weightDecay: Float = 0.1

        /// The defaults.
        package init() {}
    }

    /// How workers learn from each other.
    package enum Method: Hashable, Sendable {
        /// All windows of a step in one batch: float32 gradients all-reduced at every step.
        case dataParallel
        /// One worker with its own small batch and as many steps as all of them have together.
        case alone
        /// Rounds of outer gradients.
        case rounds(Rounds)
    }

    /// Rounds of outer gradients.
    package struct Rounds: Hashable, Sendable {
        /// H.
        package var innerSteps: UInt64 = 30
        /// How the model is cut.
        package var fragments = FragmentRule.whole
        /// When a round's result is applied, and how.
        package var overlap = Overlap.steps(0, alpha: 0)
        /// How heads move.
        package var rule = OuterRule(learningRate: 0.7, momentum: 0.6)
        /// How outer gradients are encoded.
        package var codec = Codec.float32
        /// How they meet.
        package var exchange = Exchange.scatter(result: .float32, ownerFeedback: 0)
        /// Decay of the workers' error feedback; 0: none.
        package var feedback: Float = 0
        /// Whether what encoding has left over stays in the live value.
        package var residualStaysLive = false
        /// What L-GreCo may choose for a tile of a contribution instead of `codec`; empty: nothing.
        package var ladder: [Codec] = []
        /// What it chooses for.
        package var objective = CodecTables.Objective.fewestBytes

        /// Plain DiLoCo.
        package init() {}

        /// How contributions are encoded.
        package var encoding: PayloadEncoding {
            PayloadEncoding(contribution: codec, result: codec, feedback: feedback, ladder: ladder)
        }
    }

    /// When a round's result is applied, and how.
    package enum Overlap: Hashable, Sendable {
        /// So many inner steps after the snapshot, blended into the live value with this weight of the latter.
        case steps(UInt64, alpha: Float)
        /// At the end of the next round: the live value is overwritten by the head.
        case wholeRound
        /// At the end of the next round, with the worker's own share fresh.
        case eager
    }

    /// How outer gradients meet.
    package enum Exchange: Hashable, Sendable {
        /// Each tile has an owner, who gets all contributions and publishes their mean in this codec; with so much of what its
        /// last one left over.
        case scatter(result: Codec, ownerFeedback: Float)
        /// Everybody gets every message and averages them alike.
        case gather
    }

    /// The defaults.
    package init() {}

    /// Windows of one worker in one step.
    package var workerBatch: Int { globalBatch / workers }
    /// Tokens that all workers train in the whole run.
    package var tokens: Int { globalBatch * windowTokens * steps }
}
