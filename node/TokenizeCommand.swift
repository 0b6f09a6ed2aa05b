import ArgumentParser
import NodeService

/// `atoll tokenize`
struct TokenizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Write the token ids of a file as a JSON list.",
        discussion: """
            Takes raw bytes; of what is not valid UTF-8 each broken part becomes U+FFFD first, except by the tokenizer of
            bytes. The ids are those of the Python library tokenizers.

            Example:
              atoll tokenize model --in text.txt --out ids.json
            """)

    @Argument(help: "bytes, a tokenizer.json, or a folder with one.") var tokenizer: String

    @Option(name: .customLong("in"), help: "File with the text.")
    var input: String

    @Option(name: .long, help: "File for the ids (JSON).")
    var out: String

    @Flag(name: .long, help: "With the tokens that mark begin and end, where the tokenizer adds them.")
    var addSpecialTokens = false

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        try LocalTokenization.run(
            tokenizer: tokenizer, input: input, out: out, threads: threads, addSpecialTokens: addSpecialTokens
        ).show(json: json)
    }
}
