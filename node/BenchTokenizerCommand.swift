import ArgumentParser
import NodeService

/// `atoll bench tokenizer`
struct BenchTokenizerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer",
        abstract: "Measure encoding and learning a vocabulary against reading the same bytes from memory.",
        discussion: """
            Example:
              atoll bench tokenizer --tokenizer model --data text.txt --json
            """)

    @Option(name: .long, help: "A tokenizer.json, or a folder with one; without it one is learnt from the text.")
    var tokenizer: String?

    @Option(name: .long, help: "File with text; without it 8 MB are made up.")
    var data: String?

    @Option(name: .long, help: "Ids of the vocabulary that is learnt.")
    var vocabSize = 8192

    @Option(name: .long, help: "Where text is cut before merging: gpt-2, llama-3, smollm or qwen2.")
    var pattern = "gpt-2"

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalTokenizerBench.Request(
            tokenizer: tokenizer, data: data, vocabularySize: vocabSize, pattern: pattern)
        try LocalTokenizerBench.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
