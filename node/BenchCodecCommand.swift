import ArgumentParser
import NodeService

/// `atoll bench codec`
struct BenchCodecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec",
        abstract: "Measure encoding and decoding tiles by every codec, against copying the same bytes.",
        discussion: """
            Rates are gigabytes of float32 per second on one core, medians of rounds in which copying and all codecs take
            turns. Sizes are bits per value before and after the entropy stage; the error is relative, on Gaussian values.

            Example:
              atoll bench codec --json
            """)

    @Option(name: .long, help: "MiB of float32 values; more than the processor's caches hold.")
    var mib = 64

    @Option(name: .long, help: "Rounds of which the medians are taken.")
    var rounds = 5

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalCodecBench.Request(mebibytes: mib, rounds: rounds)
        try LocalCodecBench.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
