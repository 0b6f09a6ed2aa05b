import ArgumentParser
import NodeService

/// `atoll eval`
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measure a checkpoint on text: loss, perplexity, bits per byte.",
        discussion: "Example:\n  atoll eval model --data '/usr/include/**/*.h' --held-out --json")

    @Argument(help: "The checkpoint folder.") var model: String

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Text: globs, folders, files or prepared folders, each optionally as NAME=GLOB for a domain of its own.")
    var data: [String] = []

    @Flag(name: .long, help: "Only the part that training on this text holds out.")
    var heldOut = false

    @Option(name: .long, help: "Most windows per domain; longer text is sampled evenly.")
    var windows = 1024

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        try LocalEvaluation.run(
            LocalEvaluation.Request(model: model, data: data, heldOutOnly: heldOut, windows: windows, threads: threads)
        ).show(json: json)
    }
}
