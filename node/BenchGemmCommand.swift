import ArgumentParser
import NodeService

/// `atoll bench gemm`
struct BenchGemmCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gemm",
        abstract: "Measure the matrix products of training, one by one, against this machine's matrix peak.",
        discussion: "Takes some ten seconds.\n\nExample:\n  atoll bench gemm --size tiny --json")

    @Option(name: .long, help: "Preset whose shapes are multiplied: nano, micro, tiny or small.")
    var size = "micro"

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws { try LocalGemmBench.run(size: size, threads: threads).show(json: json) }
}
