import ArgumentParser
import NodeService

/// `atoll export`
struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a checkpoint in another form.",
        subcommands: [GGUF.self, Safetensors.self])

    /// `atoll export gguf`
    struct GGUF: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "gguf",
            abstract: "Write a GGUF file for llama.cpp, with the tokenizer inside.",
            discussion:
                "Example:\n  atoll export gguf model --out model.gguf\n  llama-cli -m model.gguf -p '#include <'")

        @Argument(help: "The checkpoint folder.") var model: String

        @Option(name: .long, help: "The file to write; it must not exist. Default: the folder's name with .gguf.")
        var out: String?

        @Option(name: .long, help: "Element type of the matrices: float16, bfloat16 or float32.")
        var dtype = "float16"

        @Flag(name: .long, help: "Print one line of JSON.")
        var json = false

        func run() async throws {
            try LocalExport(model, dtype: dtype) { UserError.writeToStandardError($0 + "\n") }
                .gguf(out: out).show(json: json)
        }
    }

    /// `atoll export safetensors`
    struct Safetensors: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "safetensors",
            abstract: "Write a Hugging Face folder with another element type, or in files of another size.",
            discussion: """
                Tokenizer, chat template and unknown configuration keys are carried along.

                Example:
                  atoll export safetensors model --dtype bfloat16 --shard-size 2GB --out model-bf16
                """)

        @Argument(help: "The checkpoint folder.") var model: String

        @Option(name: .long, help: "New folder for the checkpoint.")
        var out: String

        @Option(name: .long, help: "Element type: float32, float16 or bfloat16.")
        var dtype = "float32"

        @Option(name: .long, help: "Most bytes per tensor file, such as 500MB. Default: 5GB.")
        var shardSize: String?

        @Flag(name: .long, help: "Print one line of JSON.")
        var json = false

        func run() async throws {
            try LocalExport(model, dtype: dtype) { UserError.writeToStandardError($0 + "\n") }
                .safetensors(out: out, shardSize: shardSize).show(json: json)
        }
    }
}
