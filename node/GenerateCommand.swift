import ArgumentParser
import NodeService

/// `atoll generate`
struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continue a text with a checkpoint.",
        discussion: "Example:\n  atoll generate model --prompt '#include <' --tokens 200 --temperature 0.7 --seed 1")

    @Argument(help: "The checkpoint folder.") var model: String

    @Option(name: .long, help: "The text to continue.")
    var prompt = ""

    @Option(name: .long, help: "Tokens to generate.")
    var tokens = 200

    @Option(name: .long, help: "Randomness; 0 takes the likeliest token every time.")
    var temperature: Float = 0.8

    @Option(name: .long, help: "Draw from the k likeliest tokens only; 0 for all.")
    var topK = 40

    @Option(name: .long, help: "Seed of the draws.")
    var seed: UInt64 = 0

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalGeneration.Request(
            model: model, prompt: prompt, tokens: tokens, temperature: temperature, topK: topK, seed: seed)
        if json {
            try LocalGeneration.run(request).show(json: true)
        } else {
            _ = try LocalGeneration.run(request) { (bytes) throws(UserError) in try StandardOutput.write(bytes) }
            try StandardOutput.write([UInt8(ascii: "\n")])
        }
    }
}
