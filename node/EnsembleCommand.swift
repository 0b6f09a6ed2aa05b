import ArgumentParser
import NodeService

/// `atoll ensemble`
struct EnsembleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ensemble",
        abstract: "Use several checkpoints as one model that mixes their predictions.",
        subcommands: [EvalCommand.self, GenerateCommand.self, PosteriorCommand.self])

    struct EvalCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "eval",
            abstract: "Perplexity of the mixture and of each expert, per domain.",
            discussion: """
                Text is cut into windows as atoll eval cuts it. In each the experts are weighed by how well they predicted
                what came before (--rule bayes), or the token before alone (--rule previous-token, what the released
                scorers of DEMix and c-BTM do). A window begins with the prior: the moving average of the posteriors of
                the domain's windows before (updating), equal shares (uniform), what the average has come to on up to 100
                of the domain's windows, which are then not scored (cached), or given shares.

                Example:
                  atoll ensemble eval expert-c expert-perl --data c='/usr/include/**/*.h' perl='/usr/share/perl/**/*.pm' --held-out
                """)

        @Argument(help: "The experts' checkpoint folders.") var experts: [String]

        @Option(
            name: .long, parsing: .upToNextOption,
            help:
                "Text: globs, folders, files or prepared folders, each optionally as NAME=GLOB for a domain of its own."
        )
        var data: [String] = []

        @Flag(name: .long, help: "Only the part that training on this text holds out.")
        var heldOut = false

        @Option(name: .long, help: "Most windows per domain; longer text is sampled evenly.")
        var windows = 1024

        @Option(name: .long, help: "bayes or previous-token.")
        var rule = "bayes"

        @Option(name: .long, help: "updating, uniform, cached, or a share per expert such as 0.7,0.3.")
        var prior = "updating"

        @Option(name: .long, help: "Only the k experts with the largest prior take part in a window. Default: all.")
        var topExperts: Int?

        @Option(name: .long, help: "Threads; 0 takes one per core.")
        var threads: Int?

        @Flag(name: .long, help: "Print one line of JSON.")
        var json = false

        func run() async throws {
            try LocalEnsembleEvaluation.run(
                LocalEnsembleEvaluation.Request(
                    experts: experts, data: data, heldOutOnly: heldOut, windows: windows,
                    flags: EnsembleFlags(rule: rule, prior: prior, topExperts: topExperts), threads: threads)
            ).show(json: json)
        }
    }

    struct GenerateCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "generate",
            abstract: "Continue a text, or several at once, with the mixture of experts.",
            discussion: """
                The experts are weighed by how well they predict the prompt and what has been drawn since. Tokens are drawn
                from the mixture as atoll generate draws them from one model; --top-k and --top-p mean tokens.

                Example:
                  atoll ensemble generate expert-c expert-perl --prompt '#include <' --tokens 200 --seed 1
                """)

        @Argument(help: "The experts' checkpoint folders.") var experts: [String]

        @OptionGroup var options: GenerationOptions

        @Option(name: .long, help: "bayes or previous-token.")
        var rule = "bayes"

        @Option(name: .long, help: "uniform, or a share per expert such as 0.7,0.3.")
        var prior = "uniform"

        @Option(name: .long, help: "Read and use only the k experts with the largest prior. Default: all.")
        var topExperts: Int?

        func run() async throws {
            try options.run(
                LocalGeneration.Request(
                    experts: experts, mixing: EnsembleFlags(rule: rule, prior: prior, topExperts: topExperts)))
        }
    }

    struct PosteriorCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "posterior",
            abstract: "Which experts token ids speak for: P(expert | text), by Bayes' rule.",
            discussion: """
                In: {"sequences": [[id, ...], ...]}. Out: the posterior of each sequence; their mean, which serves as weights
                for averaging parameters; and the posterior of all sequences taken as one text.

                Example:
                  atoll ensemble posterior expert-c expert-perl --ids ids.json --json
                """)

        @Argument(help: "The experts' checkpoint folders.") var experts: [String]

        @Option(name: .long, help: "File with the token ids (JSON).")
        var ids: String

        @Option(name: .long, help: "uniform, or a share per expert such as 0.7,0.3.")
        var prior = "uniform"

        @Option(name: .long, help: "Threads; 0 takes one per core.")
        var threads: Int?

        @Flag(name: .long, help: "Print one line of JSON.")
        var json = false

        func run() async throws {
            try LocalEnsemblePosterior.run(experts, ids: ids, prior: prior, threads: threads).show(json: json)
        }
    }
}
