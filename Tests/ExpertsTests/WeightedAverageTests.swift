import Checkpoint
import Experts
import Glibc
import LanguageModel
import Numerics
import Testing
import Tokenizing

@Suite final class WeightedAverageTests {
    let folder: String
    let model = ModelConfiguration(
        vocabularySize: 256, width: 8, layerCount: 2, headCount: 2, keyValueHeadCount: 1, feedForwardWidth: 12,
        contextLength: 16)

    init() {
        var template = Array("/tmp/atoll-merge-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a scratch folder must be made")
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in (try? SystemFiles().list(folder)) ?? [] {
            for file in (try? SystemFiles().list("\(folder)/\(name)")) ?? [] { unlink("\(folder)/\(name)/\(file)") }
            rmdir("\(folder)/\(name)")
        }
        rmdir(folder)
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    @discardableResult
    private func expert(
        _ name: String, seed: UInt64, model: ModelConfiguration? = nil, edit: (FloatBuffer) -> Void = { _ in }
    ) throws -> [Float] {
        let model = model ?? self.model
        let parameters = FloatBuffer(count: model.parameterCount)
        var random = SeededRandom(seed: seed)
        for index in 0..<parameters.count { parameters[index] = random.nextNormal() }
        parameters[3] = -0.0
        edit(parameters)
        try ModelFolder.write(to: path(name), configuration: model, tokenizer: .bytes, parameters: parameters)
        return parameters.array
    }

    private func merge(_ names: [String], _ weights: [Double]? = nil, to out: String) throws(MergeError) {
        try WeightedAverage(of: names.map(path), weights: weights).write(to: path(out))
    }

    private func parameters(_ name: String) throws -> [Float] {
        try ModelFolder(path(name)).readParameters().array
    }

    private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

    @Test func averagesInDoublePrecisionAndRoundsOnce() throws {
        let a = try expert("a", seed: 1)
        let b = try expert("b", seed: 2)
        try merge(["a", "b"], [3, 1], to: "out")
        let expected = zip(a, b).map { $0 == $1 ? $0 : Float((3 * Double($0) + Double($1)) / 4) }
        #expect(bits(try parameters("out")) == bits(expected))
        #expect(try ModelFolder(path("out")).configuration == model)
        #expect(try SystemFiles().list(folder) == ["a", "b", "out"])
        #expect(
            try SystemFiles().list(path("out")) == [
                "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
            ])
    }

    @Test func equalInputsGiveTheInputBitForBit() throws {
        let a = try expert("a", seed: 1)
        try expert("b", seed: 1)
        try expert("c", seed: 1)
        for (index, weights) in [nil, [0.1, 0.2, 0.7], [5, -3, 0.3], [1e-9, 1, 1e9]].enumerated() {
            try merge(["a", "b", "c"], weights, to: "out\(index)")
            #expect(bits(try parameters("out\(index)")) == bits(a))
        }
    }

    @Test func aOneHotWeightGivesThatExpertBitForBit() throws {
        try expert("a", seed: 1)
        let b = try expert("b", seed: 2) { $0[7] = -0.0 }
        try merge(["a", "b"], [0, 0.25], to: "out")
        #expect(bits(try parameters("out")) == bits(b))
    }

    @Test func equalArgumentsGiveEqualFiles() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        try merge(["a", "b"], to: "one")
        try merge(["a", "b"], to: "two")
        for name in try SystemFiles().list(path("one")) {
            #expect(
                try DurableFile.read(path("one/\(name)"), byteCountMax: 1 << 20)
                    == DurableFile.read(path("two/\(name)"), byteCountMax: 1 << 20))
        }
    }

    @Test func uselessWeightsAreRefused() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        #expect(throws: MergeError.weightsSumToZero) { try self.merge(["a", "b"], [1, -1], to: "out") }
        #expect(throws: MergeError.weightsSumToZero) { try self.merge(["a", "b"], [0, 0], to: "out") }
        #expect(throws: MergeError.weightsSumToZero) { try self.merge(["a", "b"], [0.3, -0.1 - 0.2], to: "out") }
        #expect(throws: MergeError.weightNotFinite) { try self.merge(["a", "b"], [1, .nan], to: "out") }
        #expect(throws: MergeError.weightCount(given: 1, expected: 2)) { try self.merge(["a", "b"], [1], to: "out") }
        #expect(throws: MergeError.noInputs) { try self.merge([], to: "out") }
        #expect(try SystemFiles().list(folder) == ["a", "b"])
    }

    @Test func differentModelsAreRefused() throws {
        try expert("a", seed: 1)
        var changes: [(String, ModelConfiguration)] = []
        func change(_ what: String, _ edit: (inout ModelConfiguration) -> Void) {
            var other = model
            edit(&other)
            changes.append((what, other))
        }
        change("the vocabulary size") { $0.vocabularySize = 300 }
        change("the rotary base") { $0.ropeTheta = 5000 }
        change("the number of layers") { $0.layerCount = 3 }
        change("whether the embeddings are tied") { $0.tiedEmbeddings = false }
        change("the model configuration") { $0.contextLength = 32 }
        for (index, (what, other)) in changes.enumerated() {
            try expert("b\(index)", seed: 2, model: other)
            #expect(throws: MergeError.different(path("a"), path("b\(index)"), what: what)) {
                try self.merge(["a", "b\(index)"], to: "out")
            }
        }
    }

    @Test func usedOutputsAndInputsAsOutputsAreRefused() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        #expect(throws: MergeError.outputIsInput(path("b"))) { try self.merge(["a", "b"], to: "b") }
        #expect(throws: MergeError.outputIsInput(path("a/../b/"))) { try self.merge(["a", "b"], to: "a/../b/") }
        try expert("c", seed: 3)
        #expect(throws: MergeError.self) { try self.merge(["a", "b"], to: "c") }
        #expect(throws: MergeError.self) { try self.merge(["a", "none"], to: "out") }
    }

    @Test func notANumberIsRefusedAndLeavesNothing() throws {
        try expert("a", seed: 1)
        try expert("b", seed: 2)
        let tensors = path("b/model.safetensors")
        let bytes = try DurableFile.read(tensors, byteCountMax: 1 << 24)
        try DurableFile.write(bytes.dropLast(4) + [0, 0, 0xc0, 0x7f], to: tensors)
        #expect(throws: MergeError.self) { try self.merge(["a", "b"], to: "out") }
        try expert("c", seed: 2) { $0[5] = .greatestFiniteMagnitude }
        #expect(throws: MergeError.self) { try self.merge(["a", "c"], [-1, 1.5], to: "out") }
        #expect(try SystemFiles().list(folder) == ["a", "b", "c"])
    }
}
