import ArgumentParser
import NodeService

/// `atoll eval`
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measure a checkpoint on text: loss, perplexity, bits per byte.",
        discussion: """
            With --ids, the perplexity of token ids: every id but the first of its sequence is predicted once; a sequence
            longer than the context is cut into windows that share one id.

            Examples:
              atoll eval model --data '/usr/include/**/*.h' --held-out --json
              atoll eval model --ids ids.json --json
            """)

    @Argument(help: "The checkpoint folder.") var model: String

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Text: globs, folders, files or prepared folders, each optionally as NAME=GLOB for a domain of its own.")
    var data: [String] = []

    @Option(name: .long, help: "File with token ids in place of text (JSON: {\"sequences\": [[1, 2, 3]]}).")
    var ids: String?

    @Flag(name: .long, help: "Only the part that training on this text holds out.")
    var heldOut = false

    @Option(name: .long, help: "Most windows per domain; longer text is sampled evenly.")
    var windows = 1024

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        if let ids {
            guard data.isEmpty && !heldOut else {
                throw UserError("--ids and --data exclude each other", cure: "Give one of them", exitCode: .usage)
            }
            try LocalSequenceEvaluation.run(model: model, ids: ids, threads: threads).show(json: json)
            return
        }
        try LocalEvaluation.run(
            LocalEvaluation.Request(model: model, data: data, heldOutOnly: heldOut, windows: windows, threads: threads)
        ).show(json: json)
    }
}
