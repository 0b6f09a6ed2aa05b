import ArgumentParser
import NodeService

/// `atoll doctor`
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Find out what is wrong with this machine's node, and what to do about it.",
        discussion: """
            Looks at home, disk, processor, memory, interfaces and addresses. Asks the running node's peers, or those of
            the invite by which it came, or those named here, whether they can connect to this machine, what address
            they see, what time it is, and what version they run. Takes about ten seconds at the most.

            Ends with 0 if nothing is broken, with 1 if a fault was found.

            Example:
              atoll doctor
              atoll doctor /ip4/192.0.2.1/tcp/4650
            """)

    @OptionGroup var homeOptions: HomeOptions
    @Argument(help: "Peers to ask: invites or multiaddrs.") var targets: [String] = []
    @Flag(name: .long, help: "Print JSON.") var json = false

    func run() async throws {
        let report = try await Doctor(home: try homeOptions.nodeHome()).examine(targets)
        try report.show(json: json)
        if report.hasFault { throw ExitCode(DoctorReport.faultExitCode) }
    }
}
