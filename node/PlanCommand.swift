import ArgumentParser
import NodeService

/// `atoll plan`
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say what a swarm will send and how long it will take, before it starts.",
        discussion: """
            Trains for some steps on this machine's text to measure a step and to encode a real outer gradient; then says
            what every round costs, the least link rate for 50, 90 and 99 % utilisation, time and traffic of the whole run.
            Without SPEC it plans the swarm that this node is in, and puts beside it what the running node has measured.

            Example:
              atoll plan spec.yaml --members 8 --link '20 Mbit/s' --rtt 30
            """)

    @OptionGroup var homeOptions: HomeOptions

    @Argument(help: "The swarm's specification (YAML).")
    var spec: String?

    @Option(name: .long, help: "Nodes that train. Default: those of the swarm now, else 4.")
    var members: Int?

    @Option(name: .long, help: "A node's link, such as '20 Mbit/s', to say what it gives.")
    var link: String?

    @Option(name: .long, help: "Round trip between nodes in milliseconds.")
    var rtt = 0.0

    @Option(name: .long, help: "Inner steps to measure. Default: H, at most 60.")
    var steps: Int?

    @Flag(name: .long, help: "Print one line of JSON.")
    var json = false

    func run() async throws {
        Interruption.catchSignals()
        let request = LocalPlan.Request(
            home: try homeOptions.nodeHome(), specificationPath: spec, members: members, link: link,
            roundTripMilliseconds: rtt, steps: steps)
        try await LocalPlan(request).run { UserError.writeToStandardError($0 + "\n") }.show(json: json)
    }
}
