import Checkpoint
import Glibc
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@Suite struct ModelFolderTests {
    let scratch = ScratchFolder()
    static let model = ModelSample.model

    private func write(_ model: ModelConfiguration = model, to name: String = "m") throws {
        try ModelSample.write(model, to: scratch[name])
    }

    private func editConfig(_ edit: (inout JSONObject) -> Void) throws {
        let path = scratch["m/config.json"]
        var object = try #require(JSONValue(parsing: DurableFile.read(path, byteCountMax: 1 << 20)).object)
        edit(&object)
        try DurableFile.write(JSONValue.object(object).encoded(), to: path)
    }

    private func refusal() -> CheckpointError? { ModelSample.refusal(scratch["m"]) }

    @Test(arguments: [true, false]) func readsBackBitForBit(_ isTied: Bool) throws {
        var model = Self.model
        model.tiedEmbeddings = isTied
        try write(model)
        let folder = try ModelFolder(scratch["m"])
        #expect(folder.configuration == model)
        #expect(folder.tokenizer == .bytes)
        #expect(folder.metadata.contains { $0 == ("steps", "12") })
        #expect(
            try folder.readParameters().array.map(\.bitPattern) == ModelSample.parameters(model).array.map(\.bitPattern)
        )
    }

    @Test func theSameModelGivesTheSameBytes() throws {
        try write(to: "m")
        try write(to: "n")
        for name in try SystemFiles().list(scratch["m"]) {
            #expect(
                try DurableFile.read(scratch["m/\(name)"], byteCountMax: 1 << 20)
                    == DurableFile.read(scratch["n/\(name)"], byteCountMax: 1 << 20))
        }
    }

    @Test func configHasBothSpellings() throws {
        try write()
        let config = try JSONValue(parsing: DurableFile.read(scratch["m/config.json"], byteCountMax: 1 << 20)).object
        #expect(config?["rope_theta"] == 5000.0)
        #expect(config?["rope_parameters"]?.object?["rope_theta"] == 5000.0)
        #expect(config?["rope_scaling"] == .null)
        #expect(config?["dtype"] == "float32")
        #expect(config?["torch_dtype"] == "float32")
        #expect(config?["eos_token_id"] == .null)
    }

    static let configEdits: [(JSONString, JSONValue)] = [
        ("model_type", "mistral"), ("architectures", ["MistralForCausalLM"]), ("hidden_act", "gelu"),
        ("attention_bias", true), ("mlp_bias", true), ("pretraining_tp", 2), ("quantization_config", [:]),
        ("rope_scaling", ["rope_type": "llama3", "factor": 8.0]), ("rope_scaling", ["type": "linear", "factor": 2.0]),
        ("rope_parameters", ["rope_type": "yarn"]), ("rope_theta", 10_000.0), ("rope_theta", "x"),
        ("hidden_size", nil), ("hidden_size", 16), ("hidden_size", 8.0), ("hidden_size", -8),
        ("num_attention_heads", 0), ("num_key_value_heads", 3), ("num_hidden_layers", 3), ("num_hidden_layers", 1),
        ("vocab_size", 200), ("vocab_size", 300), ("vocab_size", 9_000_000_000_000_000_000), ("head_dim", 7),
        ("head_dim", 4), ("rms_norm_eps", -1.0), ("rms_norm_eps", "small"), ("tie_word_embeddings", "yes"),
        ("tie_word_embeddings", false), ("max_position_embeddings", 0), ("intermediate_size", 1_099_511_627_776),
    ]

    @Test(arguments: configEdits.indices) func configsThatDoNotFitAreRefused(_ index: Int) throws {
        try write()
        try editConfig { $0[Self.configEdits[index].0] = Self.configEdits[index].1 }
        #expect(refusal() != nil)
    }

    @Test func garbageIsRefused() throws {
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            for bytes in [[], [0xff, 0xfe], Array("{}".utf8), [UInt8](repeating: 0x7b, count: 5000)] {
                try write()
                try DurableFile.write(bytes, to: scratch["m/\(name)"])
                #expect(refusal() != nil)
                try SystemFiles().rename(scratch["m"], to: scratch["old"])
                for file in try SystemFiles().list(scratch["old"]) {
                    try SystemFiles().removeFile(scratch["old/\(file)"])
                }
                try SystemFiles().removeFolder(scratch["old"])
            }
        }
    }

    @Test func missingFilesAndFoldersAreNamed() throws {
        #expect(refusal() == .file(FileError(.open, scratch["m"], errno: ENOENT)))
        try write()
        try SystemFiles().removeFile(scratch["m/model.safetensors"])
        #expect(refusal() == .file(FileError(.open, scratch["m/model.safetensors"], errno: ENOENT)))
    }

    /// Replaces the tensor file by one with other tensors.
    private func replaceTensors(_ tensors: [(name: String, shape: [Int])], fill: (Int) -> Float) throws {
        var bytes = SafetensorsHeader.encode(tensors, type: .float32, metadata: [])
        let count = tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
        for index in 0..<count { withUnsafeBytes(of: fill(index)) { bytes += $0 } }
        try DurableFile.write(bytes, to: scratch["m/model.safetensors"])
    }

    @Test func missingAndExtraTensorsAndWrongShapesAreRefused() throws {
        try write()
        let tensors = ParameterLayout(Self.model).tensors.map { (name: $0.name, shape: $0.shape) }
        try replaceTensors(tensors) { Float($0) }
        #expect(refusal() == nil)
        try replaceTensors(Array(tensors.dropLast())) { Float($0) }
        #expect(refusal()?.description.contains("model.norm.weight is missing") == true)
        try replaceTensors(tensors + [("model.layers.2.mlp.up_proj.weight", [12, 8])]) { Float($0) }
        #expect(refusal()?.description.contains("not part of the model") == true)
        var transposed = tensors
        transposed[0].shape = [8, 256]
        try replaceTensors(transposed) { Float($0) }
        #expect(refusal()?.description.contains("[8, 256]") == true)
        try replaceTensors(tensors + [("model.layers.0.self_attn.rotary_emb.inv_freq", [3])]) { Float($0) }
        #expect(refusal() == nil)
    }

    @Test func aTiedHeadMayBeStoredIfItIsEqual() throws {
        try write()
        let tensors = ParameterLayout(Self.model).tensors.map { (name: $0.name, shape: $0.shape) }
        try replaceTensors(tensors + [("lm_head.weight", [256, 8])]) { _ in 1 }
        #expect(refusal() == nil)
        try replaceTensors(tensors + [("lm_head.weight", [256, 8])]) { Float($0) }
        #expect(refusal()?.description.contains("tied") == true)
    }

    @Test func notANumberIsRefused() throws {
        try write()
        let tensors = ParameterLayout(Self.model).tensors.map { (name: $0.name, shape: $0.shape) }
        for value in [Float.nan, .infinity] {
            try replaceTensors(tensors) { $0 == 1000 ? value : 0 }
            #expect(refusal()?.description.contains("NaN") == true)
        }
    }

    @Test func aFailureAtAnyOperationLeavesNothingBehind() throws {
        let healthy = FaultyFiles(failing: nil)
        func write(_ layer: FaultyFiles) throws {
            try ModelFolder.write(
                to: scratch["m"], configuration: Self.model, tokenizer: .bytes, parameters: ModelSample.parameters(),
                layer: layer)
        }
        try ModelFolder.write(
            to: scratch["n"], configuration: Self.model, tokenizer: .bytes, parameters: ModelSample.parameters(),
            layer: healthy)
        for index in 0..<healthy.operationCount {
            do {
                try write(FaultyFiles(failing: index, with: .error(ENOSPC)))
            } catch {
                #expect((error as? CheckpointError)?.description.contains("ENOSPC") == true)
            }
            // The last two operations, after the rename, can only make it less durable, not incomplete.
            if index < healthy.operationCount - 2, scratch.names.contains("m") {
                #expect(refusal() == nil)
            }
            #expect(scratch.names.allSatisfy { $0 == "m" || $0 == "n" }, "operation \(index)")
            for file in (try? SystemFiles().list(scratch["m"])) ?? [] { unlink(scratch["m/\(file)"]) }
            rmdir(scratch["m"])
        }
    }
}
