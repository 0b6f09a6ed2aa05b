import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

/// Thousands of damaged files: each is taken for what it says or refused with an error, never more.
@Suite struct HostileFileTests {
    let scratch = ScratchFolder()

    /// Changes, cuts, doubles or swaps some bytes, or puts in what JSON and numbers are made of.
    private func mutate(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        let words = [
            "\"", "{", "}", "[", "]", ",", ":", "\\u0061", "null", "-1", "1e999", "9223372036854775807", "0.5", "00",
            "18446744073709551616", "[[[[", "\"model.norm.weight\"", "F16", "\u{7f}",
        ]
        var bytes = bytes
        for _ in 0...random.next() % 3 {
            guard !bytes.isEmpty else { break }
            let place = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 6 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] ^= 1 << (random.next() % 8)
            case 2: bytes.remove(at: place)
            case 3: bytes.insert(contentsOf: words[Int(random.next() % UInt64(words.count))].utf8, at: place)
            case 4: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 40)))
            default:
                let other = Int(random.next() % UInt64(bytes.count))
                let count = min(Int(random.next() % 60), bytes.count - other)
                bytes.insert(contentsOf: bytes[other..<(other + count)], at: place)
            }
        }
        return bytes
    }

    @Test func headersAreRefusedOrTrue() throws {
        let tensors = ParameterLayout(ModelSample.model).tensors.prefix(6).map { (name: $0.name, shape: $0.shape) }
        let file = SafetensorsHeader.encode(Array(tensors), type: .bfloat16, metadata: [("a", "b")])
        let text = Array(file.dropFirst(8))
        let byteCount = tensors.reduce(0) { $0 + 2 * $1.shape.reduce(1, *) }
        var random = SeededRandom(seed: 1)
        var taken = 0
        for _ in 0..<6000 {
            guard let read = try? SafetensorsHeader(parsing: mutate(text, &random), dataByteCount: byteCount) else {
                continue
            }
            taken += 1
            // Whatever is taken covers the data exactly, by types and shapes that fit.
            #expect(read.tensors.reduce(0) { $0 + $1.range.count } == byteCount)
            for tensor in read.tensors {
                #expect(tensor.range.count * 8 == tensor.count * tensor.type.bits)
                #expect(read[tensor.name] == tensor)
            }
        }
        #expect((1..<6000).contains(taken))
    }

    @Test func configurationsAreRefusedOrValid() throws {
        var model = ModelSample.model
        model.ropeScaling = .yarn(.init(factor: 4, originalContextLength: 4, attentionFactor: 1.5))
        var random = SeededRandom(seed: 2)
        var taken = 0
        for _ in 0..<6000 {
            guard let read = try? LlamaConfig.decode(mutate(LlamaConfig.encode(model), &random)) else { continue }
            taken += 1
            try read.validate()
            #expect(try LlamaConfig.decode(LlamaConfig.encode(read)) == read)
        }
        #expect((1..<6000).contains(taken))
    }

    @Test func indexesAreRefusedOrNameFiles() throws {
        let text =
            #"{"metadata":{"total_size":12},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#
        var random = SeededRandom(seed: 3)
        var taken = 0
        for _ in 0..<6000 {
            guard let read = try? SafetensorsIndex(parsing: mutate(Array(text.utf8), &random)) else { continue }
            taken += 1
            #expect(read.places.values.allSatisfy { read.files.indices.contains($0) })
            #expect(read.files.allSatisfy { !$0.bytes.contains(UInt8(ascii: "/")) })
        }
        #expect((1..<6000).contains(taken))
    }

    /// Whole folders, from the disk, with a file damaged anywhere.
    @Test func foldersAreRefusedOrGiveFiniteValues() throws {
        try ModelSample.write(to: scratch["m"], storage: TensorStorage(type: .float16, shardByteCountMax: 4000))
        let names = try SystemFiles().list(scratch["m"])
        var random = SeededRandom(seed: 4)
        for name in names {
            let path = scratch["m/\(name)"]
            let good = try ModelSample.bytes(path)
            for _ in 0..<60 {
                try DurableFile.write(mutate(good, &random), to: path)
                do {
                    let folder = try ModelFolder(scratch["m"])
                    #expect(try folder.readParameters().array.allSatisfy(\.isFinite))
                } catch {
                    #expect(error.description.contains(scratch["m"]))
                }
            }
            try DurableFile.write(good, to: path)
        }
        #expect(ModelSample.refusal(scratch["m"]) == nil)
    }

    @Test func aFileThatShrinksWhileItIsReadGivesAnError() throws {
        try ModelSample.write(to: scratch["m"])
        let folder = try ModelFolder(scratch["m"])
        let path = scratch["m/model.safetensors"]
        let descriptor = try SystemFiles().open(path, .append)
        defer { SystemFiles().close(descriptor) }
        try SystemFiles().truncate(descriptor, to: 4000, path: path)
        do {
            _ = try folder.readParameters()
            Issue.record("it was read")
        } catch {
            #expect(error == .damaged(path: path, reason: "it ends too early"))
        }
    }

    /// A configuration may claim billions of parameters: memory is taken only for what the files hold.
    @Test func claimsBeyondTheFilesTakeNoMemory() throws {
        try ModelSample.write(to: scratch["m"])
        var huge = ModelSample.model
        (huge.width, huge.headWidth, huge.feedForwardWidth) = (32_768, 1024, 65_536)
        try huge.validate()
        try DurableFile.write(LlamaConfig.encode(huge), to: scratch["m/config.json"])
        #expect(ModelSample.refusal(scratch["m"])?.description.contains("config.json asks for") == true)
    }
}
