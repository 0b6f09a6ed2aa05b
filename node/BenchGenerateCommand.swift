import ArgumentParser
import NodeService

/// `atoll bench generate`
struct BenchGenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Measure generation against this machine's matrix peak and memory bandwidth.",
        discussion: """
            Reads prompts, takes steps, multiplies large matrices and reads memory by turns, so that all see the same
            machine.

            Example:
              atoll bench generate --size small --json
            """)

    @Argument(help: "A checkpoint folder; without one a preset is measured.") var model: String?

    @Option(name: .long, help: "Preset: nano, micro, tiny or small.")
    var size = "small"

    @Option(name: .long, help: "Texts that take steps together.")
    var sequences = 1

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Option(name: .long, help: "Seconds to spend, a quarter on each part.")
    var seconds = 12

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        var request = LocalGenerationBench.Request()
        request.model = model
        request.size = size
        request.sequences = sequences
        request.threads = threads
        request.seconds = seconds
        let report = try LocalGenerationBench.run(request) { UserError.writeToStandardError($0 + "\n") }
        try report.show(json: json)
    }
}
