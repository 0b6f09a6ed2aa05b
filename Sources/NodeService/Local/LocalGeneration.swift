import Experts
import LanguageModel
import Numerics
import PeerNet
import Tokenizing

/// `atoll generate`: continues texts.
package struct LocalGeneration: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The checkpoint folders: one model, or the experts of an ensemble.
        package var models: [String]
        /// How experts are mixed; nil for one model.
        package var mixing: EnsembleFlags?
        /// The texts to continue.
        package var prompts: [String] = []
        /// A file with more of them.
        package var promptsFile: String?
        /// A file with token ids to continue.
        package var idsFile: String?
        /// Tokens to generate per text at most.
        package var tokens = 200
        /// Divides the logits; 0 takes the likeliest token.
        package var temperature: Float = 0.8
        /// Only the k likeliest tokens may be drawn; 0 for all.
        package var topK = 40
        /// Only the fewest likeliest tokens with this share of the probability; 1 for all.
        package var topP = 1.0
        /// Only tokens that are at least this many times as likely as the likeliest; 0 for all.
        package var minP = 0.0
        /// Makes tokens that occurred less likely; 1 for none of it.
        package var repetitionPenalty: Float = 1
        /// A text ends before the first of these.
        package var stops: [String] = []
        /// Seed of the draws.
        package var seed: UInt64 = 0
        /// Threads; nil or 0 takes one per core.
        package var threads: Int?

        /// Asks for one text from nothing.
        package init(model: String) { models = [model] }

        /// Asks an ensemble for one text from nothing.
        package init(experts: [String], mixing: EnsembleFlags) {
            models = experts
            self.mixing = mixing
        }

        fileprivate var sampling: SamplingSettings {
            SamplingSettings(
                temperature: temperature, topK: topK == 0 ? nil : topK, topP: topP, minP: minP,
                repetitionPenalty: repetitionPenalty)
        }
    }

    /// Texts that are generated at once; more are taken in turns.
    private static let batchSize = 64

    private let request: Request
    private let source: Source
    private let tokenizer: Tokenizer
    private let ends: Set<Int32>

    /// What texts are drawn from.
    private enum Source {
        case model(LoadedModel, pool: WorkerPool)
        case ensemble([ExpertSet.Loaded], prior: [Double], rule: MixtureRule, threads: Int)
    }

    private init(_ request: Request, threads: Int) throws(UserError) {
        self.request = request
        if let mixing = request.mixing {
            (source, tokenizer) = try Self.ensemble(request.models, mixing, threads: threads)
        } else {
            let model = try LoadedModel(request.models[0])
            (source, tokenizer) = (.model(model, pool: WorkerPool(threadCount: threads)), model.tokenizer)
        }
        ends = try EndTokens.read(request.models[0])
    }

    private static func ensemble(
        _ paths: [String], _ flags: EnsembleFlags, threads: Int
    ) throws(UserError) -> (Source, Tokenizer) {
        let flags = try flags.checked(expertCount: paths.count, learns: false)
        do {
            let experts = try ExpertSet(paths)
            var prior = DomainPrior(uniform: experts.count)
            if case .fixed(let shares) = flags.prior { prior = shares }
            // Who takes no part is not even read.
            let shares = prior.top(flags.topExperts)
            return (
                .ensemble(
                    try experts.load(shares), prior: shares.filter { $0 > 0 }, rule: flags.rule, threads: threads),
                experts.tokenizer
            )
        } catch { throw UserError(ensemble: error) }
    }

    private func generator(sequences: Int, firstStream: UInt64) -> any TextGenerator {
        switch source {
        case .model(let model, let pool):
            Generator(
                layout: model.layout, parameters: model.parameters, sequences: sequences, seed: request.seed,
                firstStream: firstStream, pool: pool)
        case .ensemble(let experts, let prior, let rule, let threads):
            EnsembleGenerator(
                experts, prior: prior, rule: rule, sequences: sequences, seed: request.seed, firstStream: firstStream,
                threads: threads)
        }
    }

    /// Generates; with a single prompt `emit` takes its bytes and then those of the text as they come, in whole
    /// characters and never the beginning of a stop string.
    package static func run(
        _ request: Request, emit: ([UInt8]) throws(UserError) -> Void = { _ in }
    ) throws(UserError) -> Report {
        try check(request)
        let threads = try threadCount(request.threads)
        let texts = try request.prompts + (request.promptsFile.map(TokenSequences.readPrompts) ?? [])
        let sequences = try request.idsFile.map { path throws(UserError) in try TokenSequences.read(path) } ?? []
        let generation = try LocalGeneration(request, threads: threads)
        var prompts = texts.map { generation.prompt($0) } + sequences.map { generation.prompt($0) }
        if prompts.isEmpty { prompts = [generation.prompt("")] }
        return try generation.run(prompts, emit: emit)
    }

    private static func check(_ request: Request) throws(UserError) {
        try checkFlag("--tokens", request.tokens, in: 0...100_000_000)
        try checkFlag("--top-k", request.topK, in: 0...Int(Int32.max))
        func demand(_ holds: Bool, _ rule: String, _ cure: String) throws(UserError) {
            guard holds else { throw UserError(rule, cure: cure, exitCode: .usage) }
        }
        try demand(
            request.temperature >= 0 && request.temperature.isFinite, "--temperature must be 0 or more", "Try 0.8")
        try demand(request.topP > 0 && request.topP <= 1, "--top-p must be above 0 and at most 1", "Try 0.9")
        try demand(request.minP >= 0 && request.minP <= 1, "--min-p must be 0 to 1", "Try 0.05")
        let penalty = request.repetitionPenalty
        try demand(penalty > 0 && penalty.isFinite, "--repetition-penalty must be above 0", "Try 1.1")
        try demand(!request.stops.contains(""), "--stop is empty", "Give the text to stop at")
    }

    // MARK: Prompts

    /// A text to continue.
    private struct Prompt {
        var text: String
        var tokens: [Int32]
    }

    private func prompt(_ text: String) -> Prompt {
        // Generation needs a token to start from; a line end is the least that a text can begin with.
        Prompt(text: text, tokens: tokenizer.encode(text.isEmpty ? "\n" : text))
    }

    private func prompt(_ tokens: [Int32]) -> Prompt {
        Prompt(text: String(decoding: tokens.flatMap(bytes(of:)), as: UTF8.self), tokens: tokens)
    }

    /// Ids that the model has and the tokenizer has not stand for nothing.
    private func bytes(of token: Int32) -> [UInt8] { tokenizer.decode([token]) ?? [] }

    // MARK: Generation

    private func run(_ prompts: [Prompt], emit: ([UInt8]) throws(UserError) -> Void) throws(UserError) -> Report {
        var report = Report(seed: request.seed)
        if prompts.count == 1 { try emit(Array(prompts[0].text.utf8)) }
        for first in stride(from: 0, to: prompts.count, by: Self.batchSize) {
            let batch = Array(prompts[first..<min(prompts.count, first + Self.batchSize)])
            try run(batch, firstStream: UInt64(first), into: &report) { (bytes) throws(UserError) in
                if prompts.count == 1 && !bytes.isEmpty { try emit(bytes) }
            }
        }
        return report
    }

    /// A text on its way.
    private struct Draft {
        var text: GeneratedText
        var ids: [Int32] = []
        var bytes: [UInt8] = []
        var finish = Finish.length
    }

    private func run(
        _ prompts: [Prompt], firstStream: UInt64, into report: inout Report,
        emit: ([UInt8]) throws(UserError) -> Void
    ) throws(UserError) {
        let generator = generator(sequences: prompts.count, firstStream: firstStream)
        let stops = request.stops.map { Array($0.utf8) }
        var drafts = prompts.map { _ in Draft(text: GeneratedText(stops: stops)) }
        let clock = ContinuousClock()
        let start = clock.now
        do { try generator.read(prompts.enumerated().map { ($0.offset, $0.element.tokens) }) } catch {
            throw UserError(model: error)
        }
        let decodeStart = clock.now
        var (active, count) = (Array(prompts.indices), 0)
        while count < request.tokens && !active.isEmpty {
            let drawn: [Int32]
            do { drawn = try generator.next(request.sampling, sequences: active) } catch {
                throw UserError(model: error)
            }
            // The first tokens follow from the prompts; only further ones take a step.
            if count > 0 { report.decode.tokens += active.count }
            count += 1
            var still: [Int] = []
            for (sequence, token) in zip(active, drawn) {
                let bytes = take(token, &drafts[sequence])
                drafts[sequence].bytes += bytes
                try emit(bytes)
                if drafts[sequence].finish == .length { still.append(sequence) }
            }
            active = still
        }
        report.decode.seconds += (clock.now - decodeStart).inSeconds
        report.prefill.seconds += (decodeStart - start).inSeconds
        report.prefill.tokens += prompts.reduce(0) { $0 + $1.tokens.count }
        for (prompt, var draft) in zip(prompts, drafts) {
            let rest = draft.text.finish()
            try emit(rest)
            report.results.append(
                Report.Result(
                    prompt: prompt.text, promptTokens: prompt.tokens.count, ids: draft.ids,
                    continuation: draft.bytes + rest, finish: draft.finish))
        }
    }

    /// Adds a token to a text; returns the bytes that it lets through.
    private func take(_ token: Int32, _ draft: inout Draft) -> [UInt8] {
        draft.ids.append(token)
        if ends.contains(token) {
            draft.finish = .end
            return []
        }
        let bytes = draft.text.append(bytes(of: token))
        if draft.text.isStopped { draft.finish = .stop }
        return bytes
    }
}
