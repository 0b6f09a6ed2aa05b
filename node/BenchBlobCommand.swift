import ArgumentParser
import NodeService

/// `atoll bench blob`
struct BenchBlobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "blob",
        abstract: "Fetch a large blob from three givers, of which one is killed and one lies; measure a giver's caps.",
        discussion: """
            Givers and takers are nodes of this process that are connected over 127.0.0.1. Takes some twenty seconds,
            and twice the blob's size in $TMPDIR.

            Example:
              atoll bench blob --mib 256 --json
            """)

    @Option(name: .long, help: "Size of the blob in MiB.")
    var mib = 256

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        try await LocalBlobBench.run(mebibytes: mib) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
