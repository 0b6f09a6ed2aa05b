import ArgumentParser
import NodeService

/// `atoll bench net`
struct BenchNetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "net",
        abstract: "Measure one encrypted connection, on loopback and on a shaped link, and the caps.",
        discussion: """
            The limits of this machine (cipher, loopback TCP) and a connection are measured by turns. Then a response
            fills a link of given rate and round trip while heartbeats pass beside it. All on 127.0.0.1.

            Example:
              atoll bench net --rate 20Mbit/s --delay 150ms --json
            """)

    @Option(name: .long, help: "Seconds on the shaped link, after the first five.")
    var seconds = 30

    @Option(name: .long, help: "Rate of the shaped link.")
    var rate = "20 Mbit/s"

    @Option(name: .long, help: "Round trip of the shaped link.")
    var delay = "150ms"

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        var request = LocalNetBench.Request()
        request.seconds = seconds
        request.rate = rate
        request.delay = delay
        try await LocalNetBench.run(request) { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
