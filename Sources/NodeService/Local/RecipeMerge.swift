import Checkpoint
import Experts
import JSONText
import LanguageModel
import Numerics

/// `atoll merge RECIPE`: what a recipe describes, by a method or as a mixture of experts.
enum RecipeMerge {
    /// What came of it.
    struct Report: CommandReport {
        /// The method, or `mixture`.
        var method: String
        /// The folders that went in.
        var models: [String]
        /// The new folder.
        var out: String
        /// The element type of its tensors.
        var type: FloatType
        var parameterCount: Int
        var seed: UInt64
        /// What a person should know about the result.
        var notes: [String]

        var text: String {
            (notes + [
                "\(method) of \(models.joined(separator: ", "))",
                "merged into \(out): \(parameterCount) parameters in \(type.rawValue)",
            ]).joined(separator: "\n")
        }

        var json: JSONValue {
            [
                "method": .text(method), "inputs": .array(models.map { .text($0) }), "out": .text(out),
                "dtype": .text(type.rawValue), "parameters": .integer(Int64(parameterCount)),
                "seed": Int64(exactly: seed).map { JSONValue.integer($0) } ?? .text("\(seed)"),
                "notes": .array(notes.map { .text($0) }),
            ]
        }
    }

    /// Reads the recipe and merges.
    static func run(
        _ path: String, _ request: LocalMerge.Request, progress: @escaping (String) -> Void
    ) throws(UserError) -> Report {
        let file = try RecipeFile(path)
        Interruption.catchSignals()
        let pool = WorkerPool(threadCount: WorkerPool.processorCount)
        let ticker = Ticker(report: progress)
        do {
            if MixtureRecipe.describes(file.tree) {
                return try mixture(MixtureRecipe(file.tree, file: path), file, request, pool, ticker)
            }
            return try merge(MergeRecipe(file.tree, file: path), file, request, pool, ticker)
        } catch let error as RecipeProblem {
            throw UserError(merge: .recipe(error))
        } catch let error as MergeError {
            throw UserError(merge: error)
        } catch { throw UserError(wrapping: error) }
    }

    private static func merge(
        _ recipe: MergeRecipe, _ file: RecipeFile, _ request: LocalMerge.Request, _ pool: WorkerPool, _ ticker: Ticker
    ) throws -> Report {
        let plan = try MergePlan(recipe)
        let storage = try storage(request, plan.type)
        try plan.write(
            to: request.out, storage: storage, seed: request.seed, recipeText: file.text, pool: pool,
            progress: ticker.tensors, isCancelled: { Interruption.isRequested })
        let unknown = plan.unknownTokenCount
        return Report(
            method: recipe.method.rawValue, models: recipe.models.map(\.name), out: request.out, type: storage.type,
            parameterCount: plan.configuration.parameterCount, seed: request.seed,
            notes: unknown == 0 ? [] : ["\(unknown) tokens are in no model: their rows are zero"])
    }

    private static func mixture(
        _ recipe: MixtureRecipe, _ file: RecipeFile, _ request: LocalMerge.Request, _ pool: WorkerPool,
        _ ticker: Ticker
    ) throws -> Report {
        let mixture = try MixtureMerge(recipe)
        let storage = try storage(request, mixture.type)
        try mixture.write(
            to: request.out, storage: storage, seed: request.seed, recipeText: file.text, pool: pool,
            progress: ticker.tensors, isCancelled: { Interruption.isRequested })
        return Report(
            method: "mixture", models: recipe.models.map(\.name), out: request.out, type: storage.type,
            parameterCount: mixture.parameterCount, seed: request.seed,
            notes: mixture.hasUnusualCount
                ? ["\(recipe.experts.count) experts are no power of two, which some GPU kernels of llama.cpp refuse"]
                : [])
    }

    private static func storage(_ request: LocalMerge.Request, _ type: FloatType) throws(UserError) -> TensorStorage {
        try tensorStorage(dtype: request.dtype ?? type.rawValue, shardSize: request.shardSize)
    }
}

/// Says about once a second how far work is.
struct Ticker {
    private final class Last {
        var line = ContinuousClock.now
    }

    private let last = Last()
    private let report: (String) -> Void

    init(report: @escaping (String) -> Void) { self.report = report }

    /// A line, if the last one is a second ago.
    func tick(_ line: @autoclosure () -> String) {
        let now = ContinuousClock.now
        guard now - last.line >= .seconds(1) else { return }
        last.line = now
        report(line())
    }

    /// The number of tensors that are done.
    func tensors(_ done: Int, _ count: Int) { tick("tensor \(done)/\(count)") }
}
