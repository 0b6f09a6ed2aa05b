import Checkpoint
package import LanguageModel
package import Numerics
package import Tokenizing

/// Searches the weights, densities, scales and shares of a recipe for the merge that predicts some text best.
///
/// The inputs are held in memory, as is each merge that is tried. Equal seeds, recipes and texts give equal searches, as
/// far as both go.
package final class MergeSearch {
    /// A merge that was tried.
    package struct Trial: Sendable {
        /// What its numbers are from.
        package let origin: Origin
        /// Its numbers, in the order of `names`.
        package let values: [Double]
        /// Mean loss per token on each domain, in nats.
        package let losses: [Double]
        let point: [Double]

        /// What the search makes small: the mean over the domains.
        package var cost: Double { losses.reduce(0, +) / Double(losses.count) }

        /// Whether another trial is better somewhere and worse nowhere.
        func isDominated(by other: Trial) -> Bool {
            zip(losses, other.losses).allSatisfy { $0 >= $1 } && losses != other.losses
        }
    }

    /// Where a trial's numbers come from.
    package enum Origin: String, Sendable {
        case recipe, uniform, search
    }

    /// What tells one domain's losses from parameters.
    package typealias Losses = (FloatBuffer) throws(ModelError) -> [Double]

    private let plan: MergePlan
    private let space: SearchSpace
    private let seed: UInt64
    private let pool: WorkerPool
    /// The inputs of every part.
    private let inputs: [[MemoryTensor]]
    private let parameters: FloatBuffer
    private var domainCount = 1

    /// What was tried, in order.
    package private(set) var trials: [Trial] = []

    /// Opens the models of a recipe and reads what goes into the merge.
    package init(
        _ recipe: MergeRecipe, seed: UInt64, pool: WorkerPool, isCancelled: () -> Bool = { false }
    ) throws(MergeError) {
        do { space = try SearchSpace(recipe) } catch { throw .recipe(error) }
        plan = try MergePlan(space.recipe)
        self.seed = seed
        self.pool = pool
        var inputs: [[MemoryTensor]] = []
        for merge in try plan.tensorMerges(seed: seed) {
            if isCancelled() { throw .cancelled }
            do {
                inputs.append(try merge.inputs.map { (input) throws(CheckpointError) in try MemoryTensor(input) })
            } catch { throw .checkpoint(error) }
        }
        self.inputs = inputs
        parameters = FloatBuffer(count: plan.configuration.parameterCount)
    }

    /// The shape of the merges.
    package var configuration: ModelConfiguration { plan.configuration }

    /// The tokenizer of the merges.
    package var tokenizer: Tokenizer { plan.vocabulary.tokenizer }

    /// What each number of a trial is.
    package var names: [String] {
        space.axes.map { axis in
            let place: String
            switch axis.scope {
            case .recipe: place = "recipe"
            case .slice(let slice): place = "slice \(slice)"
            case .source(let slice, let source):
                let model = space.recipe.slices[slice].sources[source].model
                place = space.recipe.slices.count > 1 ? "\(model) in slice \(slice)" : model
            }
            let isSingle = space.axes.count { $0.scope == axis.scope && $0.parameter == axis.parameter } == 1
            return "\(axis.parameter.rawValue) of \(place)" + (isSingle ? "" : " [\(axis.condition).\(axis.point)]")
        }
    }

    /// The merge of a trial, ready to be written.
    package func plan(of trial: Trial) -> MergePlan { plan.with(space.recipe(at: trial.point)) }

    /// Tries merges until told to stop: the recipe's own numbers, equal weights, then what CMA-ES asks for.
    ///
    /// - Parameters:
    ///   - domainCount: domains that `losses` measures.
    ///   - losses: per domain the mean loss of a model.
    ///   - isDone: asked before each trial but the first.
    ///   - report: sees each trial.
    package func run(
        domainCount: Int, losses: Losses, isDone: () -> Bool, report: (Trial) -> Void = { _ in }
    ) throws(MergeError) {
        self.domainCount = domainCount
        try attempt(space.start, .recipe, losses, report)
        if let uniform = space.uniform, !isDone() { try attempt(uniform, .uniform, losses, report) }
        for restart in 0... {
            guard let best, !isDone() else { return }
            var strategy = EvolutionStrategy(start: best.point, seed: seed &+ UInt64(restart))
            // A search that has come together starts anew around the best, in case it came together too early.
            while strategy.stepSize > 2e-3 {
                let points = strategy.ask()
                var costs: [Double] = []
                for point in points {
                    if isDone() { return }
                    try attempt(point, .search, losses, report)
                    costs.append(trials[trials.count - 1].cost)
                }
                strategy.tell(points, costs: costs)
            }
        }
    }

    /// The trial of least cost; of equal ones the first.
    package var best: Trial? { trials.min { $0.cost < $1.cost } }

    /// The trials that no other one dominates, by cost.
    package var frontier: [Trial] {
        trials.filter { trial in !trials.contains { trial.isDominated(by: $0) } }.sorted { $0.cost < $1.cost }
    }

    /// Measures a merge again, on other text.
    package func losses(of trial: Trial, _ losses: Losses) throws(MergeError) -> [Double] {
        guard try merge(at: trial.point) else { return trial.losses.map { _ in .infinity } }
        return try measure(losses)
    }

    private func attempt(
        _ point: [Double], _ origin: Origin, _ losses: Losses, _ report: (Trial) -> Void
    ) throws(MergeError) {
        let point = point.map { min(1, max(0, $0)) }
        let isUsable = try merge(at: point)
        let domains = isUsable ? try measure(losses) : Array(repeating: .infinity, count: domainCount)
        let trial = Trial(origin: origin, values: space.values(at: point), losses: domains, point: point)
        trials.append(trial)
        report(trial)
    }

    private func measure(_ losses: Losses) throws(MergeError) -> [Double] {
        do { return try losses(parameters).map { $0.isFinite ? $0 : .infinity } } catch {
            throw .parameters(tensor: "the merged model", reason: "\(error)")
        }
    }

    /// Merges in memory; false for numbers that make no merge, such as weights that are all zero.
    private func merge(at point: [Double]) throws(MergeError) -> Bool {
        let merges: [TensorMerge]
        do { merges = try plan.with(space.recipe(at: point)).tensorMerges(seed: seed) } catch {
            if case .recipe = error { return false }
            throw error
        }
        for (index, merge) in merges.enumerated() {
            var merge = merge
            merge.inputs = inputs[index]
            var target = parameters.pointer + plan.parts[index].tensor.offset
            do {
                try merge.run(pool) { (values) throws(MergeError) in
                    guard let start = values.baseAddress else { return }
                    target.update(from: start, count: values.count)
                    target += values.count
                }
            } catch {
                switch error {
                case .weightsSumToZero, .opposed, .parameters: return false
                default: throw error
                }
            }
        }
        return true
    }
}

/// A tensor in memory.
private struct MemoryTensor: TensorReading {
    let shape: [Int]
    private let values: FloatBuffer

    init(_ tensor: any TensorReading) throws(CheckpointError) {
        shape = tensor.shape
        values = FloatBuffer(count: tensor.count)
        try tensor.read(
            0..<tensor.count, into: UnsafeMutableBufferPointer(start: values.pointer, count: tensor.count))
    }

    func read(
        _ elements: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        target.baseAddress?.update(from: values.pointer + elements.lowerBound, count: elements.count)
    }
}
