import ArgumentParser
import LanguageModel
import NodeService

/// `atoll generate`
struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continue a text, or several at once, with a checkpoint.",
        discussion: """
            Tokens are drawn as transformers draws them: repetition penalty, temperature, top-k, top-p, min-p, in this
            order. A text ends after --tokens tokens, with an end token of the checkpoint, or before a stop string.

            Example:
              atoll generate model --prompt '#include <' --tokens 200 --temperature 0.7 --top-p 0.9 --seed 1
            """)

    @Argument(help: "The checkpoint folder.") var model: String

    @OptionGroup var options: GenerationOptions

    func run() async throws { try options.run(LocalGeneration.Request(model: model)) }
}

/// What is continued, how tokens are drawn, and what is printed.
struct GenerationOptions: ParsableArguments {
    @Option(name: .long, help: "The text to continue; may be repeated.")
    var prompt: [String] = []

    @Option(name: .long, help: "File with texts to continue (JSON: {\"prompts\": [\"one\", \"two\"]}).")
    var prompts: String?

    @Option(name: .long, help: "File with token ids to continue (JSON: {\"sequences\": [[1, 2, 3]]}).")
    var ids: String?

    @Option(name: .long, help: "Tokens to generate at most.")
    var tokens = 200

    @Option(name: .long, help: "Randomness; 0 takes the likeliest token every time.")
    var temperature: Float = 0.8

    @Option(name: .long, help: "Draw from the k likeliest tokens only; 0 for all.")
    var topK = 40

    @Option(name: .long, help: "Draw from the fewest likeliest tokens with this share of the probability; 1 for all.")
    var topP = 1.0

    @Option(name: .long, help: "Draw only tokens at least this many times as likely as the likeliest; 0 for all.")
    var minP = 0.0

    @Option(name: .long, help: "Make tokens that occurred less likely; 1 for none of it.")
    var repetitionPenalty: Float = 1

    @Option(name: .long, help: "End before this text; may be repeated.")
    var stop: [String] = []

    @Option(name: .long, help: "Seed of the draws.")
    var seed: UInt64 = 0

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    /// Generates what a request and these options ask for.
    func run(_ request: LocalGeneration.Request) throws {
        var request = request
        request.prompts = prompt
        request.promptsFile = prompts
        request.idsFile = ids
        request.tokens = tokens
        request.temperature = temperature
        request.topK = topK
        request.topP = topP
        request.minP = minP
        request.repetitionPenalty = repetitionPenalty
        request.stops = stop
        request.seed = seed
        request.threads = threads
        if json {
            try LocalGeneration.run(request).show(json: true)
            return
        }
        let report = try LocalGeneration.run(request) { (bytes) throws(UserError) in try StandardOutput.write(bytes) }
        if report.results.count == 1 {
            try StandardOutput.write([UInt8(ascii: "\n")])
        } else {
            try report.show(json: false)
        }
    }
}
