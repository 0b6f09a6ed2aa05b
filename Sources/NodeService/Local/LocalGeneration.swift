package import JSONText
import LanguageModel
import Numerics
import Tokenizing

/// `atoll generate`: continues a text.
package struct LocalGeneration: Sendable {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// The checkpoint folder.
        package var model: String
        /// The text to continue.
        package var prompt: String
        /// Tokens to generate.
        package var tokens: Int
        /// 0 takes the likeliest token.
        package var temperature: Float
        /// Only the k likeliest tokens may be drawn; nil or 0 for all.
        package var topK: Int?
        /// Seed of the draws.
        package var seed: UInt64

        /// Wraps the fields.
        package init(
            model: String, prompt: String, tokens: Int = 200, temperature: Float = 0.8, topK: Int? = 40,
            seed: UInt64 = 0
        ) {
            self.model = model
            self.prompt = prompt
            self.tokens = tokens
            self.temperature = temperature
            self.topK = topK
            self.seed = seed
        }
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// The text to continue.
        package var prompt: String
        /// What was generated, as bytes: they need not be valid UTF-8.
        package var continuation: [UInt8]
        /// Tokens generated.
        package var tokens: Int
        /// Seed of the draws.
        package var seed: UInt64

        package var text: String { prompt + String(decoding: continuation, as: UTF8.self) }

        package var json: JSONValue {
            [
                "prompt": .text(prompt), "text": .text(String(decoding: continuation, as: UTF8.self)),
                "tokens": .integer(Int64(tokens)), "seed": .text("\(seed)"),
            ]
        }
    }

    /// Generates; `emit` takes the bytes of each token as it comes, the prompt's first.
    package static func run(
        _ request: Request, emit: ([UInt8]) throws(UserError) -> Void = { _ in }
    ) throws(UserError) -> Report {
        try checkFlag("--tokens", request.tokens, in: 0...100_000_000)
        try checkFlag("--top-k", request.topK ?? 0, in: 0...Int(Int32.max))
        guard request.temperature >= 0, request.temperature.isFinite else {
            throw UserError("--temperature must be 0 or more", cure: "Try 0.8", exitCode: .usage)
        }
        let model = try LoadedModel(request.model)
        // Generation needs a token to start from; a line end is the least that a text can begin with.
        let prompt = request.prompt.isEmpty ? "\n" : request.prompt
        let generator = Generator(layout: model.layout, parameters: model.parameters, seed: request.seed)
        do { try generator.read(model.tokenizer.encode(prompt)) } catch { throw UserError(model: error) }
        try emit(Array(request.prompt.utf8))
        let settings = SamplingSettings(
            temperature: request.temperature, topK: request.topK.flatMap { $0 == 0 ? nil : $0 })
        var continuation: [UInt8] = []
        for _ in 0..<request.tokens {
            // Ids that the model has and the tokenizer has not stand for nothing.
            let bytes = model.tokenizer.decode([generator.next(settings)]) ?? []
            continuation += bytes
            try emit(bytes)
        }
        return Report(prompt: request.prompt, continuation: continuation, tokens: request.tokens, seed: request.seed)
    }
}
