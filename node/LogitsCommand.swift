import ArgumentParser
import NodeService

/// `atoll logits`
struct LogitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logits",
        abstract: "Write a checkpoint's logits, for comparison with other implementations.",
        discussion: """
            In: {"sequences": [[id, ...], ...]}; out: {"logits": [[[number, ...], ...], ...]}, the logits of the next token
            per sequence and position.

            Example:
              atoll logits model --ids ids.json --out logits.json
            """)

    @Argument(help: "The checkpoint folder.") var model: String

    @Option(name: .long, help: "File with the token ids (JSON).")
    var ids: String

    @Option(name: .long, help: "File for the logits (JSON).")
    var out: String

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        try LocalLogits.run(model: model, ids: ids, out: out, threads: threads).show(json: json)
    }
}
