import Checkpoint
import JSONText
import Testing

/// A file with the given header text and as many bytes of data.
private func file(_ header: String, data: [UInt8]) -> [UInt8] {
    let text = Array(header.utf8)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text + data
}

@Suite struct SafetensorsTests {
    let scratch = ScratchFolder()

    private func open(_ header: String, data: [UInt8] = []) throws -> SafetensorsFile {
        try DurableFile.write(file(header, data: data), to: scratch["t"])
        return try SafetensorsFile(scratch["t"])
    }

    private func values(_ file: SafetensorsFile, _ name: String) throws -> [Float] {
        let tensor = try #require(file.header.tensors.first { $0.name.string == name })
        var values = [Float](repeating: .nan, count: tensor.count)
        var thrown: (any Error)?
        values.withUnsafeMutableBufferPointer { buffer in
            do { try file.read(tensor, into: buffer) } catch { thrown = error }
        }
        if let thrown { throw thrown }
        return values
    }

    @Test func readsAnyOrderPaddingAndOddAlignment() throws {
        let header =
            #"  {"b":{"dtype":"F32","shape":[1,2],"data_offsets":[1,9]},"#
            + #""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":{"k":"v"}}   "#
        let opened = try open(header, data: [7, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0])
        #expect(try values(opened, "b") == [1, -2])
        #expect(opened.header.metadata.map(\.value) == ["v"])
        #expect(throws: CheckpointError.self) { try self.values(opened, "a") }
    }

    @Test func takesScalarsAndEmptyTensors() throws {
        let header =
            #"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"#
            + #""e":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]}}"#
        let opened = try open(header, data: [0, 0, 0x80, 0x3f])
        #expect(try values(opened, "s") == [1])
        #expect(try values(opened, "e") == [])
        #expect(try open("{}").header.tensors.isEmpty)
    }

    @Test func convertsHalfAndDoublePrecision() throws {
        let halves: [UInt8] = [0x00, 0x3c, 0x01, 0x00, 0xff, 0x7b, 0x00, 0xc0, 0x00, 0x80, 0x00, 0x04]
        let f16 = try open(#"{"x":{"dtype":"F16","shape":[6],"data_offsets":[0,12]}}"#, data: halves)
        #expect(try values(f16, "x") == [1, 0x1p-24, 65504, -2, -0.0, 0x1p-14])
        let bf16 = try open(
            #"{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#, data: [0x80, 0x3f, 0x20, 0xc0])
        #expect(try values(bf16, "x") == [1, -2.5])
        let f64 = try open(
            #"{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#,
            data: withUnsafeBytes(of: (0.1).bitPattern.littleEndian) { Array($0) })
        #expect(try values(f64, "x") == [0.1])
    }

    static let lies = [
        // Gap, overlap, not from 0, past the end, short of the end.
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        // Size that does not follow from type and shape, overflow, negative numbers.
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#,
        #"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,8]}}"#,
        // Wrong types and fields.
        #"{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#,
        #"{"a":{"dtype":"F32","shape":[2]}}"#,
        #"{"a":[]}"#, #"[]"#, #""#, #"{"#,
        // Names that occur twice, also after unescaping.
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        // Metadata other than strings.
        #"{"__metadata__":{"a":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        #"{"__metadata__":[],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
    ]

    @Test(arguments: lies.indices) func refusesEveryLie(_ index: Int) throws {
        #expect(throws: CheckpointError.self) { try self.open(Self.lies[index], data: [UInt8](repeating: 0, count: 8)) }
    }

    @Test func refusesLengthsBeyondTheFileBeforeTakingMemory() throws {
        for length in [UInt64.max, 1 << 63, 100_000_001, 100_000_000, 9] {
            let bytes = withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array("{}".utf8)
            try DurableFile.write(bytes, to: scratch["t"])
            #expect(throws: CheckpointError.self) { try SafetensorsFile(self.scratch["t"]) }
        }
    }

    static let sample = file(
        #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#,
        data: [UInt8](repeating: 0, count: 8))

    @Test func refusesEveryTruncationAndSurvivesEveryChangedByte() throws {
        let header = Array(Self.sample.dropFirst(8).dropLast(8))
        for count in 0..<Self.sample.count {
            try DurableFile.write(Array(Self.sample.prefix(count)), to: scratch["t"])
            #expect(throws: CheckpointError.self) { try SafetensorsFile(self.scratch["t"]) }
        }
        for index in header.indices {
            for value in UInt8.min...UInt8.max {
                var changed = header
                changed[index] = value
                guard let read = try? SafetensorsHeader(parsing: changed, dataByteCount: 8) else { continue }
                #expect(read.tensors.reduce(0) { $0 + $1.range.count } == 8)
            }
        }
    }
}
