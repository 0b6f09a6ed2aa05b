import ArgumentParser
import NodeService

/// The `atoll` command.
@main
struct Atoll: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "atoll",
        abstract: "Train one language model on many machines, over ordinary internet links.",
        discussion: """
            Two commands start a swarm:
              atoll swarm new                 on one machine: forms a swarm, prints an invite, trains
              atoll swarm join INVITE         on every other machine

            Exit codes are listed in docs/operations.md.
            """,
        version: AtollVersion.text,
        subcommands: [
            InitCommand.self, SwarmCommand.self, BranchCommand.self, ExpertCommand.self, NodeCommand.self,
            PeersCommand.self, LinksCommand.self,
            PingCommand.self, NetCommand.self, PlanCommand.self, DoctorCommand.self,
            CheckpointCommand.self,
            DataCommand.self, TrainCommand.self, EvalCommand.self, GenerateCommand.self, MergeCommand.self,
            EnsembleCommand.self, LogitsCommand.self,
            ExportCommand.self, TokenizerCommand.self, TokenizeCommand.self, BenchCommand.self,
            TestnetCommand.self, LabCommand.self,
        ])

    /// Runs the command named on the command line; every failure ends as one line on standard error and its exit code.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as UserError {
            error.report()
            Self.exit(withError: ExitCode(error.exitCode.rawValue))
        } catch {
            Self.exit(withError: error)
        }
    }
}

/// Where the node's home is.
struct HomeOptions: ParsableArguments {
    @Option(name: .long, help: "The node's home folder. Default: $ATOLL_HOME, else ~/.atoll.")
    var home: String?

    /// The home.
    func nodeHome() throws -> NodeHome { try NodeHome(path: home) }
}
