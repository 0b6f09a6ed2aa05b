import ArgumentParser
import NodeService

/// `atoll tokenizer`
struct TokenizerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer", abstract: "Make tokenizers.", subcommands: [TokenizerTrainCommand.self])
}

/// `atoll tokenizer train`
struct TokenizerTrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Learn a byte-level BPE vocabulary from text.",
        discussion: """
            Writes a tokenizer.json that transformers, tokenizers and llama.cpp's formats know. The same text and flags give
            the same file, whatever the number of threads. Ctrl-C leaves nothing behind.

            Example:
              atoll tokenizer train --data '/usr/include/**/*.h' --vocab-size 8192 --out tokenizer
              atoll tokenizer train --data web.jsonl.zst --vocab-size 32000 --pattern llama-3 --out tokenizer.json
            """)

    @Option(name: .long, parsing: .upToNextOption, help: "Text: globs, folders or files.")
    var data: [String] = []

    @Option(name: .long, help: "Ids of the vocabulary, special tokens included.")
    var vocabSize = 32_000

    @Option(name: .long, help: "Where text is cut before merging: gpt-2, llama-3, smollm or qwen2.")
    var pattern = "gpt-2"

    @Option(
        name: .customLong("special"), help: "A special token; give it several times for more. Default: <|endoftext|>.")
    var special: [String] = []

    @Option(name: .long, help: "Pairs that come less often are not merged.")
    var minFrequency = 2

    @Option(name: .long, help: "New folder, or a file whose name ends in .json.")
    var out: String

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalTokenizerTraining.Request(
            data: data, vocabularySize: vocabSize, pattern: pattern,
            specialTokens: special.isEmpty ? ["<|endoftext|>"] : special, countMin: minFrequency, out: out,
            threads: threads)
        try LocalTokenizerTraining.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
