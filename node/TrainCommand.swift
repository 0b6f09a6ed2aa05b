import ArgumentParser
import NodeService

/// `atoll train`
struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model on this machine alone.",
        discussion: """
            Prints progress to standard error and the held-out loss at the end. Ctrl-C stops after the running step and
            writes the checkpoint as it is. The same seed, text and flags give the same model, bit for bit.

            Example:
              atoll train --data '/usr/include/**/*.h' --steps 500 --out model
              atoll train --from model --data notes='/home/me/notes' --out tuned
            """)

    @Option(
        name: .long, parsing: .upToNextOption,
        help: """
            Text: globs, folders, files or prepared folders, each optionally as NAME=GLOB for a domain of its own, or as \
            NAME:WEIGHT=GLOB for one that is drawn that much more often than others.
            """)
    var data: [String] = []

    @Option(name: .long, help: "Checkpoint folder to start from, instead of a new model.")
    var from: String?

    @Option(name: .long, help: "Preset of a new model: nano, micro, tiny or small.")
    var size = "nano"

    @Option(name: .long, help: "Optimizer steps.")
    var steps = 1000

    @Option(name: .long, help: "Windows of text per step.")
    var batch = 8

    @Option(name: .long, help: "Seed of the initialisation and of the sampling.")
    var seed: UInt64 = 0

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Option(name: .long, help: "The highest learning rate.")
    var learningRate: Float = 2e-3

    @Option(name: .long, help: "New folder for the checkpoint.")
    var out: String?

    @Option(name: .long, help: "File to append a line of JSON to, about once a second.")
    var log: String?

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        let request = LocalTraining.Request(
            data: data, from: from, size: size, steps: steps, batch: batch, seed: seed, threads: threads,
            learningRate: learningRate, out: out, log: log)
        let report = try LocalTraining(request) { UserError.writeToStandardError($0 + "\n") }.run()
        try report.show(json: json)
        if report.wasInterrupted { throw ExitCode(UserError.ExitCode.interrupted.rawValue) }
    }
}
