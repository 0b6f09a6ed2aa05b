import ArgumentParser
import NodeService

/// `atoll bench`
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure this machine.",
        subcommands: [
            BenchTrainCommand.self, BenchGemmCommand.self, BenchGenerateCommand.self, BenchTokenizerCommand.self,
            BenchNetCommand.self, BenchIdleCommand.self, BenchBlobCommand.self, BenchCodecCommand.self,
        ])
}

/// `atoll bench train`
struct BenchTrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Measure training against this machine's matrix peak.",
        discussion: """
            Trains on random tokens and multiplies large matrices by turns, so that both see the same machine.

            Example:
              atoll bench train --size micro --json
            """)

    @Option(name: .long, help: "Preset to train: nano, micro, tiny or small.")
    var size = "micro"

    @Option(name: .long, help: "Windows per step. Default: 16, or 4 for small.")
    var batch: Int?

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Option(name: .long, help: "Operands of matrix products: f32 or bf16. Default: the faster on this processor.")
    var dtype: String?

    @Option(name: .long, help: "Seconds to spend, half on training and half on the peak.")
    var seconds = 20

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalBench.Request(size: size, batch: batch, threads: threads, seconds: seconds, dtype: dtype)
        let report = try LocalBench(request) { UserError.writeToStandardError($0 + "\n") }.run()
        try report.show(json: json)
    }
}
