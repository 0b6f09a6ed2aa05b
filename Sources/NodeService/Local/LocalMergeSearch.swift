import Checkpoint
import Corpus
import Experts
import JSONText
import LanguageModel
import Numerics
import Tokenizing

/// `atoll merge search`: the numbers of a recipe for which the merge predicts some text best.
package enum LocalMergeSearch {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The recipe file.
        package var recipe: String
        /// Values of `--data`.
        package var data: [String]
        /// Time to spend, such as `10m`; nil for no limit but the number of trials.
        package var budget: String?
        /// Most merges to try; nil for no limit but time.
        package var trials: Int?
        /// Most windows of text per domain, for searching and for measuring together.
        package var windows: Int
        /// Where the best merge is written; nil for nowhere.
        package var out: String?
        package var seed: UInt64
        package var dtype: String?
        package var shardSize: String?
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Wraps the fields.
        package init(
            recipe: String, data: [String], budget: String? = nil, trials: Int? = nil, windows: Int = 128,
            out: String? = nil, seed: UInt64 = 0, dtype: String? = nil, shardSize: String? = nil, threads: Int? = nil
        ) {
            self.recipe = recipe
            self.data = data
            self.budget = budget
            self.trials = trials
            self.windows = windows
            self.out = out
            self.seed = seed
            self.dtype = dtype
            self.shardSize = shardSize
            self.threads = threads
        }
    }

    /// Searches; Ctrl-C ends the search early and keeps the best so far, a second one ends the command at once.
    ///
    /// - Parameter progress: gets a line about once a second.
    package static func run(
        _ request: Request, progress: @escaping (String) -> Void
    ) throws(UserError) -> MergeSearchReport {
        let budget = try request.budget.map { text throws(UserError) in try seconds(text) }
        guard budget != nil || request.trials != nil else {
            throw UserError(
                "the search has no end", cure: "Give --budget such as 10m, or --trials", exitCode: .usage)
        }
        if let trials = request.trials { try checkFlag("--trials", trials, in: 1...10_000_000) }
        try checkFlag("--windows", request.windows, in: 2...1_000_000)
        let pool = WorkerPool(threadCount: try threadCount(request.threads))
        let sources = try DataSelection.parseUnweighted(
            request.data, for: "merge search", cure: "Write NAME=GLOB without a weight")
        let file = try RecipeFile(request.recipe)
        Interruption.catchSignals()
        do {
            guard !MixtureRecipe.describes(file.tree) else {
                throw UserError(
                    "\(request.recipe) makes a mixture of experts, which has nothing to search",
                    cure: "Name a recipe with merge_method", exitCode: .badData)
            }
            let recipe = try MergeRecipe(file.tree, file: request.recipe)
            if let out = request.out { try DurableFolder.checkUnused(out) }
            let search = try MergeSearch(
                recipe, seed: request.seed, pool: pool, isCancelled: { Interruption.isRequested })
            let text = try SearchText(
                sources, tokenizer: search.tokenizer, contextLength: search.configuration.contextLength,
                windowCount: request.windows)
            return try self.run(search, text, request, budget, pool, Ticker(report: progress))
        } catch let error as RecipeProblem {
            throw UserError(merge: .recipe(error))
        } catch let error as MergeError {
            throw UserError(merge: error)
        } catch { throw UserError(wrapping: error) }
    }

    private static func run(
        _ search: MergeSearch, _ text: SearchText, _ request: Request, _ budget: Double?, _ pool: WorkerPool,
        _ ticker: Ticker
    ) throws -> MergeSearchReport {
        let evaluator = Evaluator(
            layout: ParameterLayout(search.configuration), sequenceLength: text.contextLength, pool: pool)
        func losses(_ part: KeyPath<SearchText.Domain, [Int32]>) -> MergeSearch.Losses {
            { (parameters) throws(ModelError) in
                try text.domains.map { (domain) throws(ModelError) in
                    try evaluator.meanLoss(parameters, windows: domain[keyPath: part])
                }
            }
        }
        let start = ContinuousClock.now
        try search.run(
            domainCount: text.domains.count, losses: losses(\.searched),
            isDone: {
                Interruption.isRequested || request.trials.map { search.trials.count >= $0 } ?? false
                    || budget.map { ContinuousClock.now - start >= .seconds($0) } ?? false
            },
            report: { trial in
                ticker.tick(
                    "trial \(search.trials.count)  loss \(fixed(trial.cost, 4))  best \(fixed(search.best?.cost ?? 0, 4))"
                )
            })
        guard let best = search.best else { preconditionFailure("the recipe itself is always tried") }
        var rows = search.trials.filter { $0.origin != .search }.map { ($0, $0.origin.rawValue) }
        rows += search.frontier.prefix(MergeSearchReport.frontierCountMax).map { ($0, "frontier") }
        rows.append((best, "best"))
        let report = MergeSearchReport(
            names: search.names, domains: text.domains.map(\.name), trialCount: search.trials.count,
            rows: try rows.map { trial, name in
                MergeSearchReport.Row(
                    name: name, values: trial.values, searched: trial.losses,
                    heldOut: try search.losses(of: trial, losses(\.heldOut)))
            }, out: request.out)
        if let out = request.out {
            let plan = search.plan(of: best)
            let storage = try tensorStorage(dtype: request.dtype ?? plan.type.rawValue, shardSize: request.shardSize)
            try plan.write(
                to: out, storage: storage, seed: request.seed, recipeText: plan.recipeText, pool: pool,
                progress: ticker.tensors)
        }
        return report
    }

    /// Seconds of a text such as `90s`, `10m` or `1.5h`.
    private static func seconds(_ text: String) throws(UserError) -> Double {
        let units: [(Character, Double)] = [("s", 1), ("m", 60), ("h", 3600)]
        guard let unit = units.first(where: { text.last == $0.0 }), let number = Double(text.dropLast()),
            (0.001...1e6).contains(number)
        else {
            throw UserError("--budget \(text) is no time", cure: "Write for example 90s, 10m or 1h", exitCode: .usage)
        }
        return number * unit.1
    }
}

/// The text of a search: of each domain every other window is searched on, the rest measures what was found.
private struct SearchText {
    /// One domain.
    struct Domain {
        var name: String
        var searched: [Int32]
        var heldOut: [Int32]
    }

    var domains: [Domain]
    /// Tokens that a window predicts.
    let contextLength: Int

    init(
        _ sources: [DomainSource], tokenizer: Tokenizer, contextLength: Int, windowCount: Int
    ) throws {
        // A shorter window where the text is short, so that every domain has both parts.
        var length = contextLength
        while true {
            let text = try EvaluationText(
                sources, part: .all, tokenizer: tokenizer, contextLength: length, windowCountMax: windowCount)
            guard let short = text.domains.first(where: { $0.windows.count < 2 }) else {
                self.contextLength = text.contextLength
                domains = text.domains.map { Self.split($0, length: text.contextLength + 1) }
                return
            }
            guard text.contextLength >= 2 else {
                throw UserError(
                    "the domain \(short.name) is too short to search and to measure on", cure: "Name more text",
                    exitCode: .badData)
            }
            length = text.contextLength / 2
        }
    }

    private static func split(_ domain: EvaluationText.Domain, length: Int) -> Domain {
        var result = Domain(name: domain.name, searched: [], heldOut: [])
        let tokens = domain.windows.tokens
        for window in 0..<domain.windows.count {
            let part = tokens[(window * length)..<((window + 1) * length)]
            if window % 2 == 0 { result.searched += part } else { result.heldOut += part }
        }
        return result
    }
}
