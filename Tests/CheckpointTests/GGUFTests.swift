import Glibc
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Checkpoint

/// Reads a GGUF file the way llama.cpp does, as far as the exporter writes it.
private struct GGUFReader {
    struct Tensor {
        var dimensions: [Int]
        var type: UInt32
        var offset: Int
    }

    let bytes: [UInt8]
    var offset = 0
    var numbers: [String: Double] = [:]
    var strings: [String: String] = [:]
    var lists: [String: [String]] = [:]
    var tensors: [String: Tensor] = [:]
    var names: [String] = []
    var dataStart = 0

    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
        #expect(try string(count: 4) == "GGUF")
        #expect(try integer(UInt32.self) == 3)
        let (tensorCount, pairCount) = (try count(), try count())
        for _ in 0..<pairCount {
            let key = try string(count: count())
            try value(key, type: integer(UInt32.self))
        }
        for _ in 0..<tensorCount {
            let name = try string(count: count())
            let dimensions = try (0..<integer(UInt32.self)).map { _ in try count() }
            tensors[name] = Tensor(
                dimensions: dimensions, type: try integer(UInt32.self), offset: try count())
            names.append(name)
        }
        dataStart = (offset + 31) / 32 * 32
    }

    private mutating func integer<Value: FixedWidthInteger>(_: Value.Type) throws -> Value {
        let size = MemoryLayout<Value>.size
        let value = try #require(Value(littleEndianBytes: bytes[offset..<min(bytes.count, offset + size)]))
        offset += size
        return value
    }

    private mutating func count() throws -> Int { Int(try integer(UInt64.self)) }

    private mutating func string(count: Int) throws -> String {
        try #require(offset + count <= bytes.count)
        offset += count
        return String(decoding: bytes[(offset - count)..<offset], as: UTF8.self)
    }

    private mutating func value(_ key: String, type: UInt32) throws {
        switch type {
        case 4: numbers[key] = Double(try integer(UInt32.self))
        case 6: numbers[key] = Double(Float(bitPattern: try integer(UInt32.self)))
        case 7: numbers[key] = Double(try integer(UInt8.self))
        case 8: strings[key] = try string(count: count())
        case 9:
            let element = try integer(UInt32.self)
            lists[key] = try (0..<count()).map { _ in
                if element == 8 { return try string(count: count()) }
                #expect(element == 5)
                return "\(try integer(Int32.self))"
            }
        default: Issue.record("type \(type) of \(key)")
        }
    }

    func values(_ name: String) throws -> [Float] {
        let tensor = try #require(tensors[name])
        let count = tensor.dimensions.reduce(1, *)
        let start = dataStart + tensor.offset
        return (0..<count).map { index in
            switch tensor.type {
            case 0: Float(bitPattern: UInt32(littleEndianBytes: bytes[(start + 4 * index)...]) ?? 0)
            case 1:
                FloatConversion.float(halfBits: UInt16(littleEndianBytes: bytes[(start + 2 * index)...]) ?? 0)
            default: Float(bitPattern: UInt32(UInt16(littleEndianBytes: bytes[(start + 2 * index)...]) ?? 0) << 16)
            }
        }
    }
}

@Suite struct GGUFTests {
    let scratch = ScratchFolder()

    private func export(_ model: ModelConfiguration, type: FloatType = .float32) throws -> GGUFReader {
        try ModelSample.write(model, to: scratch["m"])
        try GGUFExport.write(ModelFolder(scratch["m"]), to: scratch["m.gguf"], type: type)
        return try GGUFReader(ModelSample.bytes(scratch["m.gguf"]))
    }

    @Test func metadataDescribesTheModel() throws {
        let file = try export(ModelSample.model)
        #expect(file.strings["general.architecture"] == "llama")
        #expect(file.strings["general.name"] == "m")
        for (key, number) in [
            ("general.file_type", 0.0), ("llama.block_count", 2), ("llama.context_length", 16),
            ("llama.embedding_length", 8), ("llama.feed_forward_length", 12), ("llama.vocab_size", 256),
            ("llama.rope.dimension_count", 6), ("llama.rope.freq_base", 5000), ("llama.attention.head_count", 2),
            ("llama.attention.head_count_kv", 1), ("llama.attention.key_length", 6),
            ("llama.attention.value_length", 6),
            ("llama.attention.layer_norm_rms_epsilon", Double(Float(1e-5))), ("tokenizer.ggml.add_bos_token", 0),
            ("tokenizer.ggml.eos_token_id", 255), ("tokenizer.ggml.bos_token_id", 255),
        ] {
            #expect(file.numbers[key] == number, "\(key)")
        }
        #expect(file.numbers["llama.rope.scaling.factor"] == nil)
        #expect(file.strings["tokenizer.ggml.model"] == "gpt2" && file.strings["tokenizer.ggml.pre"] == "gpt-2")
        let tokens = try #require(file.lists["tokenizer.ggml.tokens"])
        #expect(tokens.count == 256 && Set(tokens).count == 256)
        #expect(tokens[0] == "\u{100}" && tokens[32] == "\u{120}" && tokens[65] == "A" && tokens[255] == "\u{FF}")
        #expect(file.lists["tokenizer.ggml.token_type"] == Array(repeating: "1", count: 256))
        #expect(file.lists["tokenizer.ggml.merges"] == [])
    }

    @Test(arguments: FloatType.allCases, [true, false])
    func tensorsLieWhereTheHeaderSays(_ type: FloatType, isTied: Bool) throws {
        var model = ModelSample.model
        model.tiedEmbeddings = isTied
        let file = try export(model, type: type)
        let parameters = ModelSample.parameters(model)
        let layout = ParameterLayout(model)
        #expect(file.names.count == layout.tensors.count)
        #expect((file.tensors["output.weight"] == nil) == isTied)
        func stored(_ name: String) throws -> [Float] {
            let tensor = try #require(layout.tensor(named: name))
            let values = Array(parameters.array[tensor.range])
            guard tensor.isMatrix, type != .float32 else { return values }
            var raw = [UInt8](repeating: 0, count: 2 * values.count)
            return values.withUnsafeBufferPointer { source in
                raw.withUnsafeMutableBytes { target in
                    var narrowed = [Float](repeating: 0, count: source.count)
                    #expect(FloatConversion.narrow(source, type, into: target))
                    narrowed.withUnsafeMutableBufferPointer {
                        FloatConversion.widen(UnsafeRawBufferPointer(target), type.elementType, into: $0)
                    }
                    return narrowed
                }
            }
        }
        let pairs = [
            ("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"),
            ("blk.1.attn_norm", "model.layers.1.input_layernorm"), ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"),
            ("blk.1.attn_output", "model.layers.1.self_attn.o_proj"),
            ("blk.0.ffn_norm", "model.layers.0.post_attention_layernorm"),
            ("blk.0.ffn_gate", "model.layers.0.mlp.gate_proj"), ("blk.1.ffn_up", "model.layers.1.mlp.up_proj"),
            ("blk.1.ffn_down", "model.layers.1.mlp.down_proj"),
        ]
        for (name, source) in pairs { #expect(try file.values(name + ".weight") == stored(source + ".weight")) }
        #expect(file.tensors["blk.0.ffn_down.weight"]?.dimensions == [12, 8])
        #expect(file.tensors["output_norm.weight"]?.type == 0)
        // Query rows of two heads of six: pairs that lay three apart lie side by side.
        let query = try stored("model.layers.1.self_attn.q_proj.weight")
        let order = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
        #expect(
            try file.values("blk.1.attn_q.weight") == order.flatMap { Array(query[($0 * 8)..<($0 * 8 + 8)]) })
        let key = try stored("model.layers.1.self_attn.k_proj.weight")
        #expect(
            try file.values("blk.1.attn_k.weight") == order.prefix(6).flatMap { Array(key[($0 * 8)..<($0 * 8 + 8)]) })
        #expect(file.tensors.values.allSatisfy { $0.offset % 32 == 0 })
        #expect(file.bytes.count % 32 == 0)
    }

    @Test func scalingsAreExpressedAsLlamaCppHasThem() throws {
        var model = ModelSample.model
        model.ropeScaling = .llama3(
            factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 16)
        var file = try export(model)
        let divisors = try file.values("rope_freqs.weight")
        // 16 positions turn the three pairs by 2.5, 0.149 and 0.0087 rounds: the first is between, the others are slow.
        let share = (16 / (2 * Float.pi) - 1) / 3
        #expect(abs(divisors[0] - 1 / ((1 - share) / 8 + share)) < 1e-5)
        #expect(divisors[1...] == [8, 8])
        #expect(file.strings["llama.rope.scaling.type"] == nil)

        func again(_ scaling: RopeScaling) throws -> GGUFReader {
            for name in try SystemFiles().list(scratch["m"]) { try SystemFiles().removeFile(scratch["m/\(name)"]) }
            model.ropeScaling = scaling
            return try export(model)
        }
        file = try again(.linear(factor: 4))
        #expect(file.strings["llama.rope.scaling.type"] == "linear")
        #expect(file.numbers["llama.rope.scaling.factor"] == 4)
        file = try again(.dynamic(factor: 4))
        #expect(file.strings["llama.rope.scaling.type"] == nil && file.tensors["rope_freqs.weight"] == nil)
        file = try again(.yarn(.init(factor: 4, originalContextLength: 8)))
        #expect(file.strings["llama.rope.scaling.type"] == "yarn")
        #expect(file.numbers["llama.rope.scaling.original_context_length"] == 8)
        #expect(file.numbers["llama.rope.scaling.attn_factor"] == nil)
        // Numbers that llama.cpp has no keys for become divisors.
        file = try again(.yarn(.init(factor: 4, originalContextLength: 8, attentionFactor: 2, truncatesRange: false)))
        #expect(file.strings["llama.rope.scaling.type"] == nil)
        #expect(file.numbers["llama.rope.scaling.attn_factor"] == 2)
        let found = try file.values("rope_freqs.weight")
        #expect(found.count == 3 && found[2] == 4 && found.allSatisfy { (1...4).contains($0) })
    }

    @Test func aModelWithMoreIDsThanItsTokenizerGetsUnusedOnes() throws {
        var model = ModelSample.model
        model.vocabularySize = 260
        let file = try export(model)
        #expect(file.lists["tokenizer.ggml.tokens"]?.suffix(4) == ["[PAD256]", "[PAD257]", "[PAD258]", "[PAD259]"])
        #expect(file.lists["tokenizer.ggml.token_type"]?.suffix(4) == ["5", "5", "5", "5"])
    }

    @Test func cancellingLeavesNothing() throws {
        try ModelSample.write(to: scratch["m"])
        var calls = 0
        #expect(throws: CheckpointError.cancelled(path: scratch["m.gguf"])) {
            try GGUFExport.write(ModelFolder(scratch["m"]), to: scratch["m.gguf"]) {
                calls += 1
                return calls == 5
            }
        }
        #expect(scratch.names == ["m"])
    }

    // MARK: Vocabularies from files

    private func companions(
        _ tokenizer: String, config: JSONObject = JSONObject(), tokenizerConfig: String? = nil
    ) throws -> Companions {
        try ModelSample.write(to: scratch["m"])
        var companions = try ModelFolder(scratch["m"]).companions()
        companions.config = config
        companions.files["tokenizer.json"] = Array(tokenizer.utf8)
        companions.files["tokenizer_config.json"] = tokenizerConfig.map { Array($0.utf8) }
        return companions
    }

    private static let bpe = #"""
        {"added_tokens":[{"id":4,"content":"<|begin|>","special":true},{"id":6,"content":"<x>","special":false}],
        "post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"<|begin|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}]},
        "model":{"ignore_merges":IGNORE,"vocab":{"a":0,"b":1,"ÿ":3,"ab":2},"merges":MERGES}}
        """#

    private static func bpe(ignoresMerges: Bool = false, merges: String = #"["a b"]"#) -> String {
        bpe.replacing("IGNORE", with: "\(ignoresMerges)").replacing("MERGES", with: merges)
    }

    @Test func vocabularyMergesAndSpecialTokensComeFromTheFiles() throws {
        var config = JSONObject()
        config["bos_token_id"] = 4
        config["eos_token_id"] = [2, 0]
        let companions = try companions(
            Self.bpe(), config: config,
            tokenizerConfig: #"{"eos_token":{"content":"<x>"},"chat_template":"{{x}}"}"#)
        let found = try GGUFVocabulary(companions, preTokenizer: "gpt-2")
        #expect(
            found.tokens.map { String(decoding: $0.text, as: UTF8.self) } == [
                "a", "b", "ab", "ÿ", "<|begin|>", "[PAD5]", "<x>",
            ])
        #expect(found.tokens.map(\.kind) == [.normal, .normal, .normal, .normal, .control, .unused, .userDefined])
        #expect(found.merges == [Array("a b".utf8)])
        #expect(found.beginID == 4 && found.addsBegin && found.endID == 6 && found.paddingID == nil)
        #expect(found.chatTemplate == Array("{{x}}".utf8))
        #expect(found.objection == nil)
    }

    @Test func mergesAreTakenInBothForms() throws {
        var config = JSONObject()
        config["bos_token_id"] = 4
        let companions = try companions(Self.bpe(ignoresMerges: true, merges: #"[["a","b"]]"#), config: config)
        let found = try GGUFVocabulary(companions, preTokenizer: "llama-bpe")
        #expect(found.merges == [Array("a b".utf8)])
    }

    @Test func whatLlamaCppWouldDoDifferentlyIsRefused() throws {
        var config = JSONObject()
        config["bos_token_id"] = 4
        for (text, pre) in [
            (Self.bpe(), "llama-bpe"), (Self.bpe(ignoresMerges: true), "gpt-2"),
            (Self.bpe(merges: #"[["a ","b"]]"#), "gpt-2"), (Self.bpe(merges: #"["ab"]"#), "gpt-2"), ("{}", "gpt-2"),
            (#"{"model":{"vocab":{"a":-1}}}"#, "gpt-2"), (#"{"model":{"vocab":{"a":99999999999}}}"#, "gpt-2"),
        ] {
            let companions = try companions(text, config: config)
            #expect(throws: GGUFVocabulary.Refusal.self) { try GGUFVocabulary(companions, preTokenizer: pre) }
            for name in try SystemFiles().list(scratch["m"]) { unlink(scratch["m/\(name)"]) }
        }
        let vocabulary = GGUFVocabulary(
            preTokenizer: "gpt-2",
            tokens: [.init(text: [97], kind: .normal), .init(text: [97], kind: .control)], merges: [], addsBegin: false)
        #expect(vocabulary.objection?.contains("token 1") == true)
    }
}
