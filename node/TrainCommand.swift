import ArgumentParser
import NodeService

/// `atoll train`
struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model on this machine alone.",
        discussion: """
            Prints progress to standard error and the held-out loss at the end. Ctrl-C stops after the running step and
            writes the checkpoint as it is; --resume goes on from there, and ends with the very bits that the run would
            have ended with undisturbed. The same seed, text and flags give the same model, bit for bit.

            Example:
              atoll train --data '/usr/include/**/*.h' --steps 500 --out model
              atoll train --resume model
              atoll train --from model --data notes='/home/me/notes' --out tuned
            """)

    @Option(
        name: .long, parsing: .upToNextOption,
        help: "Text: globs, folders, files or prepared folders, each optionally as NAME=GLOB or NAME:WEIGHT=GLOB.")
    var data: [String] = []

    @Option(name: .long, help: "Checkpoint folder to start from, instead of a new model.")
    var from: String?

    @Option(name: .long, help: "Checkpoint folder whose run goes on; written again there, or to --out.")
    var resume: String?

    @Option(name: .long, help: "Preset of a new model: nano, micro, tiny or small. Default: nano.")
    var size: String?

    @Option(
        name: .long, help: "Tokenizer of a new model: bytes, a tokenizer.json, or a folder with one. Default: bytes.")
    var tokenizer: String?

    @Option(name: .long, help: "Optimizer steps in all. Default: 1000.")
    var steps: Int?

    @Option(name: .long, help: "Windows of text per batch. Default: 8.")
    var batch: Int?

    @Option(name: .long, help: "Batches per step, whose gradients are averaged. Default: 1.")
    var accumulate: Int?

    @Option(name: .long, help: "Seed of the initialisation and of the sampling. Default: 0.")
    var seed: UInt64?

    @Option(name: .long, help: "The highest learning rate. Default: 0.002.")
    var learningRate: Float?

    @Option(name: .long, help: "adamw, or muon for the hidden matrices. Default: adamw.")
    var optimizer: String?

    @Option(name: .long, help: "cosine, or wsd (warm-up, stable, decay in the last fifth). Default: cosine.")
    var schedule: String?

    @Option(name: .long, help: "Operands of matrix products: f32 or bf16. Default: the faster on this processor.")
    var dtype: String?

    @Flag(name: .long, help: "Compute activations again for the gradient: less memory, a fifth more time.")
    var recompute = false

    @Option(name: .long, help: "Threads; 0 takes one per core.")
    var threads: Int?

    @Option(name: .long, help: "New folder for the checkpoint.")
    var out: String?

    @Option(name: .long, help: "Write the checkpoint every so many steps, too.")
    var saveEvery: Int?

    @Option(name: .long, help: "Stop after so many steps, as Ctrl-C does.")
    var stopAfter: Int?

    @Option(name: .long, help: "File to append a line of JSON to, about once a second.")
    var log: String?

    @Flag(name: .long, help: "Print one line of JSON at the end.")
    var json = false

    func run() async throws {
        var request = LocalTraining.Request()
        (request.data, request.from, request.resume) = (data, from, resume)
        (request.size, request.tokenizer) = (size, tokenizer)
        (request.steps, request.batch, request.accumulate, request.seed) = (steps, batch, accumulate, seed)
        (request.learningRate, request.optimizer, request.schedule) = (learningRate, optimizer, schedule)
        (request.dtype, request.recompute, request.threads) = (dtype, recompute, threads)
        (request.out, request.saveEvery, request.stopAfter, request.log) = (out, saveEvery, stopAfter, log)
        let report = try LocalTraining(request) { UserError.writeToStandardError($0 + "\n") }.run()
        try report.show(json: json)
        if report.wasInterrupted { throw ExitCode(UserError.ExitCode.interrupted.rawValue) }
    }
}
