import ArgumentParser
import NodeService

/// `atoll data`
struct DataCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Prepare text for training.",
        subcommands: [DataPrepareCommand.self, DataVerifyCommand.self])
}

/// `atoll data prepare`
struct DataPrepareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Turn text of any size into a folder of tokens, which training reads as it needs them.",
        discussion: """
            Reads plain text and JSON lines ("text" of each line), also compressed with gzip or zstd. Prints progress to
            standard error; Ctrl-C leaves nothing behind. The folder then stands wherever text is named: in --data of
            train and eval, and in a node's config.

            Example:
              atoll data prepare --data books='/data/books/**/*.txt.zst' web=/data/web.jsonl.gz --out prepared
              atoll train --data books:3=prepared web=prepared --out model
            """)

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Text: globs, folders or files, each optionally as NAME=GLOB for a domain of its own.")
    var data: [String] = []

    @Option(name: .long, help: "The model's tokenizer: bytes, a tokenizer.json, or a folder with one.")
    var tokenizer = "bytes"

    @Option(name: .long, help: "New folder for the tokens.")
    var out: String

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        try LocalDataPreparation.run(
            LocalDataPreparation.Request(data: data, tokenizer: tokenizer, out: out, threads: threads)
        ) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}

/// `atoll data verify`
struct DataVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read a prepared folder as a whole and compare it with its checksums.",
        discussion: "Example:\n  atoll data verify prepared")

    @Argument(help: "The prepared folder.") var folder: String

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        try LocalDataVerification.run(folder) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
