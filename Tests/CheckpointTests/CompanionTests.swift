import Checkpoint
import Glibc
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

/// What a checkpoint made of another one keeps of it.
@Suite struct CompanionTests {
    let scratch = ScratchFolder()

    /// A checkpoint with files and keys that mean nothing here.
    private func makeOrigin() throws -> ModelFolder {
        try ModelSample.write(to: scratch["m"])
        var config = try #require(JSONValue(parsing: ModelSample.bytes(scratch["m/config.json"])).object)
        config["their_key"] = ["a": [1, 2.5]]
        config["eos_token_id"] = [10, 0]
        try DurableFile.write(JSONValue.object(config).line, to: scratch["m/config.json"])
        for (name, text) in [
            ("generation_config.json", #"{"temperature": 0.6,"eos_token_id":[10,0]}"#),
            ("chat_template.jinja", "{{ bos_token }}"), ("special_tokens_map.json", "{}"),
            ("README.md", "not one of ours"),
        ] {
            try DurableFile.write(Array(text.utf8), to: scratch["m/\(name)"])
        }
        // Another layout of the same tokenizer: it is carried as it is.
        let tokenizer = try JSONValue(parsing: ModelSample.bytes(scratch["m/tokenizer.json"]))
        try DurableFile.write(tokenizer.line, to: scratch["m/tokenizer.json"])
        return try ModelFolder(scratch["m"])
    }

    private func write(_ folder: ModelFolder, companions: Companions?) throws -> ModelFolder {
        try ModelFolder.write(
            to: scratch["n"], configuration: folder.configuration, tokenizer: folder.tokenizer,
            parameters: folder.readParameters(), companions: companions)
        return try ModelFolder(scratch["n"])
    }

    @Test func sideFilesAndUnknownKeysAreCarriedAlong() throws {
        let origin = try makeOrigin()
        let copy = try write(origin, companions: origin.companions())
        #expect(copy.configuration == origin.configuration)
        #expect(copy.config["their_key"] == origin.config["their_key"])
        #expect(copy.config["eos_token_id"] == [10, 0])
        for name in [
            "generation_config.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer.json",
            "tokenizer_config.json",
        ] {
            #expect(try ModelSample.bytes(scratch["n/\(name)"]) == ModelSample.bytes(scratch["m/\(name)"]), "\(name)")
        }
        #expect(access(scratch["n/README.md"], F_OK) != 0)
        #expect(try ModelSample.bits(scratch["n"]) == ModelSample.bits(scratch["m"]))
    }

    @Test func whatIsNotThereStaysAway() throws {
        let origin = try makeOrigin()
        for name in ["generation_config.json", "tokenizer_config.json"] {
            try SystemFiles().removeFile(scratch["m/\(name)"])
        }
        _ = try write(origin, companions: origin.companions())
        for name in ["generation_config.json", "tokenizer_config.json"] {
            #expect(access(scratch["n/\(name)"], F_OK) != 0)
        }
    }

    @Test func aModelOfItsOwnGetsItsOwnFiles() throws {
        let copy = try write(makeOrigin(), companions: nil)
        #expect(copy.config["their_key"] == nil)
        #expect(copy.config["eos_token_id"] == .null)
        #expect(try ModelSample.bytes(scratch["n/generation_config.json"]) == LlamaConfig.generationConfig)
    }
}
