import Checkpoint
import Glibc
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

/// Checkpoints in several files, and in other element types than float32.
@Suite struct ShardTests {
    let scratch = ScratchFolder()

    private var index: String { scratch["m/model.safetensors.index.json"] }

    /// A checkpoint in several files, whose names it gives.
    private func writeShards(_ byteCount: Int = 4000) throws -> [String] {
        try ModelSample.write(to: scratch["m"], storage: TensorStorage(shardByteCountMax: byteCount))
        return try SystemFiles().list(scratch["m"]).filter { $0.hasSuffix(".safetensors") }
    }

    private func editIndex(_ edit: (inout JSONObject) -> Void) throws {
        var object = try #require(JSONValue(parsing: ModelSample.bytes(index)).object)
        var map = try #require(object["weight_map"]?.object)
        edit(&map)
        object["weight_map"] = .object(map)
        try DurableFile.write(JSONValue.object(object).line, to: index)
    }

    private func refusal() -> String { ModelSample.refusal(scratch["m"])?.description ?? "" }

    @Test(arguments: [1, 300, 1000, 4000, 8192])
    func severalFilesHoldTheSameModel(_ byteCount: Int) throws {
        let files = try writeShards(byteCount)
        #expect(files.count > 1)
        #expect(files.first?.hasPrefix("model-00001-of-") == true)
        #expect(!files.contains("model.safetensors"))
        #expect(try ModelSample.bits(scratch["m"]) == ModelSample.parameters().array.map(\.bitPattern))
        var total = 0
        for file in files {
            let header = try SafetensorsFile(scratch["m/\(file)"]).header
            let bytes = header.tensors.reduce(0) { $0 + $1.range.count }
            #expect(bytes <= byteCount || header.tensors.count == 1)
            total += bytes
        }
        let root = try JSONValue(parsing: ModelSample.bytes(index))
        #expect(root.object?["metadata"]?.object?["total_size"]?.integer == total)
        #expect(total == 4 * ModelSample.model.parameterCount)
        #expect(try ModelFolder(scratch["m"]).metadata.contains { $0 == ("steps", "12") })
    }

    @Test func aModelThatFitsIsOneFile() throws {
        #expect(try writeShards(4 * ModelSample.model.parameterCount) == ["model.safetensors"])
        #expect(access(index, F_OK) != 0)
    }

    @Test(arguments: FloatType.allCases) func valuesAreRoundedToTheElementType(_ type: FloatType) throws {
        try ModelSample.write(to: scratch["m"], storage: TensorStorage(type: type, shardByteCountMax: 3000))
        let folder = try ModelFolder(scratch["m"])
        let (read, written) = (try folder.readParameters(), ModelSample.parameters())
        let spacing: Float = type == .float32 ? 0 : type == .float16 ? 0x1p-11 : 0x1p-8
        for index in 0..<read.count {
            #expect(abs(read[index] - written[index]) <= max(abs(written[index]) * spacing, spacing * 0x1p-14))
        }
        #expect(folder.config["torch_dtype"] == .text(type.rawValue))
        // What can be held exactly survives bit for bit.
        try ModelFolder.write(
            to: scratch["n"], configuration: folder.configuration, tokenizer: .bytes, parameters: read,
            storage: TensorStorage(type: type))
        #expect(try ModelSample.bits(scratch["n"]) == read.array.map(\.bitPattern))
    }

    @Test func whatCannotBeReadAgainIsNotWritten() throws {
        for (value, type) in [(Float.nan, FloatType.float32), (70_000, .float16), (.infinity, .bfloat16)] {
            let parameters = ModelSample.parameters()
            parameters[777] = value
            do {
                try ModelFolder.write(
                    to: scratch["m"], configuration: ModelSample.model, tokenizer: .bytes, parameters: parameters,
                    storage: TensorStorage(type: type))
                Issue.record("\(value) was written")
            } catch {
                #expect(error.description.contains("not finite in \(type.rawValue)"))
            }
            #expect(scratch.names.isEmpty)
        }
    }

    @Test func anIndexAndASingleFileAreRefused() throws {
        let files = try writeShards()
        try DurableFile.write(ModelSample.bytes(scratch["m/\(files[0])"]), to: scratch["m/model.safetensors"])
        #expect(refusal().contains("programs differ"))
    }

    @Test func aMissingFileIsNamed() throws {
        let files = try writeShards()
        try SystemFiles().removeFile(scratch["m/\(files[1])"])
        #expect(ModelSample.refusal(scratch["m"]) == .file(FileError(.open, scratch["m/\(files[1])"], errno: ENOENT)))
    }

    @Test func indexAndFilesMustAgree() throws {
        let files = try writeShards()
        let good = try ModelSample.bytes(index)
        let name: JSONString = "model.norm.weight"
        func expect(_ words: String, _ edit: (inout JSONObject) -> Void) throws {
            try DurableFile.write(good, to: index)
            try editIndex(edit)
            #expect(refusal().contains(words), "\(refusal())")
        }
        try expect("the index does not name") { $0[name] = nil }
        try expect("the index promises it") { $0["model.more.weight"] = .text(files[0]) }
        try expect("the index promises it") { $0[name] = .text(files[0]) }
        // The same tensors in two files, of which the index names the second for one of them.
        try DurableFile.write(good, to: index)
        try DurableFile.write(ModelSample.bytes(scratch["m/\(files[1])"]), to: scratch["m/x.safetensors"])
        #expect(refusal() == "")
        try editIndex { map in
            let members = map.members.filter { $0.value == .text(files[1]) }
            #expect(members.count > 1)
            map[members[0].key] = "x.safetensors"
        }
        #expect(refusal().contains("the index has it in"))
    }

    @Test func onlyPlainNamesAreFollowed() throws {
        let files = try writeShards()
        let good = try ModelSample.bytes(index)
        try SystemFiles().rename(scratch["m/\(files[0])"], to: scratch[files[0]])
        for name in [
            "../\(files[0])", "\(scratch.path)/\(files[0])", "./\(files[1])", "", ".safetensors", "..", "config.json",
            String(repeating: "a", count: 300) + ".safetensors", "a\u{0}.safetensors",
        ] {
            try DurableFile.write(good, to: index)
            try editIndex { map in
                for member in map.members where member.value == .text(files[0]) { map[member.key] = .text(name) }
            }
            #expect(refusal().contains("no plain name"), "\(name)")
        }
    }

    static let brokenIndexes = [
        "", "{", "[]", "{}", #"{"weight_map":[]}"#, #"{"weight_map":{}}"#, #"{"weight_map":{"a":1}}"#,
        #"{"weight_map":{"a":"b.safetensors","a":"b.safetensors"}}"#,
        #"{"weight_map":{"a":"b.safetensors","\u0061":"b.safetensors"}}"#,
    ]

    @Test(arguments: brokenIndexes.indices) func brokenIndexesAreRefused(_ index: Int) throws {
        #expect(throws: SafetensorsIndex.Malformed.self) {
            try SafetensorsIndex(parsing: Array(Self.brokenIndexes[index].utf8))
        }
    }

    @Test func aTiedHeadInAnotherTypeMayBeStoredIfItIsEqual() throws {
        try ModelSample.write(to: scratch["m"], storage: TensorStorage(type: .bfloat16))
        let parameters = try ModelFolder(scratch["m"]).readParameters()
        let rest = scratch["m/b.safetensors"]
        try SystemFiles().rename(scratch["m/model.safetensors"], to: rest)
        func store(_ change: Float) throws {
            var bytes = SafetensorsHeader.encode([("lm_head.weight", [256, 8])], type: .float32, metadata: [])
            for index in 0..<2048 {
                withUnsafeBytes(of: parameters[index] + (index == 2047 ? change : 0)) { bytes += $0 }
            }
            try DurableFile.write(bytes, to: scratch["m/a.safetensors"])
        }
        var map = JSONObject()
        map["lm_head.weight"] = "a.safetensors"
        for tensor in ParameterLayout(ModelSample.model).tensors { map[JSONString(tensor.name)] = "b.safetensors" }
        let root: JSONValue = ["weight_map": .object(map)]
        try DurableFile.write(root.line, to: index)
        try store(0)
        #expect(refusal() == "")
        try store(1)
        #expect(refusal().contains("tied"))
    }
}
