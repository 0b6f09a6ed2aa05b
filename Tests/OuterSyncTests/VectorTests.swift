import CVector
import Compression
import Glibc
import NumericsBaseline
import NumericsV3
import NumericsV4
import OuterSync
import Testing

/// protocols/vectors/payload.txt, which payload.py beside it made without any of this code.
struct Vectors {
    private var entries: [String: String] = [:]

    init(file: String = #filePath) throws {
        let folder = file.split(separator: "/").dropLast(3).joined(separator: "/")
        let stream = try #require(fopen("/\(folder)/protocols/vectors/payload.txt", "r"))
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var byte = fgetc(stream)
        while byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
            byte = fgetc(stream)
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            try #require(words.count == 3 && words[1] == "=")
            entries[String(words[0])] = String(words[2])
        }
    }

    /// The vectors' model; their fragment is the one with index 3.
    static func layout() throws -> FragmentLayout {
        try FragmentLayout(
            tensors: [0, 1, 2].map { (block: Int) in TensorDescription(name: "block.\(block)", shape: [1], block: block)
            } + [
                TensorDescription(name: "embedding", shape: [300], block: nil),
                TensorDescription(name: "norm", shape: [5], block: nil),
            ])
    }

    func text(_ key: String) throws -> String { try #require(entries[key]) }

    func bytes(_ key: String) throws -> [UInt8] {
        let digits = Array(try text(key).utf8)
        func nibble(_ digit: UInt8) -> UInt8 { digit < 0x3A ? digit - 0x30 : digit - 0x57 }
        return stride(from: 0, to: digits.count, by: 2).map { nibble(digits[$0]) << 4 | nibble(digits[$0 + 1]) }
    }

    func floats(_ key: String) throws -> [Float] {
        try bytes(key).withUnsafeBytes { raw in
            stride(from: 0, to: raw.count, by: 4).map { raw.loadUnaligned(fromByteOffset: $0, as: Float.self) }
        }
    }

    func shares(_ key: String) throws -> [TrainingShare] {
        try text(key).split(separator: ",").map { pair in
            let numbers = pair.split(separator: ":").compactMap { UInt64($0) }
            return TrainingShare(tokens: try #require(numbers.first), steps: try #require(numbers.last))
        }
    }
}

@Suite struct PayloadVectorTests {
    @Test func theCodecsBytesAreTheVectors() throws {
        let vectors = try Vectors()
        let values = try vectors.floats("e3m0.values")
        var bytes = [UInt8](repeating: 1, count: Codec.e3m0.byteCount(ofValues: values.count))
        try values.withUnsafeBufferPointer { values in
            try bytes.withUnsafeMutableBytes { try Codec.e3m0.encode(values, into: $0) }
        }
        #expect(bytes == (try vectors.bytes("e3m0.bytes")))
        var decoded = [Float](repeating: .nan, count: values.count)
        try bytes.withUnsafeBytes { bytes in
            try decoded.withUnsafeMutableBufferPointer { try Codec.e3m0.decode(bytes, into: $0) }
        }
        #expect(decoded.map(\.bitPattern) == (try vectors.floats("e3m0.decoded").map(\.bitPattern)))
    }

    @Test func theCoefficientsAreTheVectors() throws {
        let vectors = try Vectors()
        let fixed = Coefficients(try vectors.shares("coefficients.shares"), cap: 4).fixed
        #expect(fixed.map(String.init).joined(separator: ",") == (try vectors.text("coefficients.fixed")))
    }

    /// The vectors hold the stored form; what this code packs must unpack to the same bytes.
    private static func sameContent(_ packed: [UInt8], _ stored: [UInt8]) -> Bool {
        (try? EntropyStage.unpack(packed, rawByteCount: stored.count - 1)) == Array(stored.dropFirst())
    }

    @Test func oneRoundFromGenesisToTheNextHeadIsTheVectors() throws {
        let vectors = try Vectors()
        let layout = try Vectors.layout()
        let fragment = layout.fragments[3]
        let theta = samples(2, 305, 0.5)
        let genesis = FragmentHead(genesis: theta, scalars: Array("genesis".utf8), fragment: fragment)
        #expect(genesis.leaves[0].description == (try vectors.text("head.genesis.chunk0")))
        #expect(genesis.chunk(TileIndex(1), of: fragment) == (try vectors.bytes("head.genesis.chunk1")))
        #expect(genesis.digest.description == (try vectors.text("head.genesis.digest")))

        let lives = [3, 4].map { seed in zip(theta, samples(seed, 305, 0.01)).map { $0 - $1 } }
        let shares = try vectors.shares("contribution.share")
        var contributions: [Aggregation.Contribution] = []
        for (member, name) in ["contribution.a", "contribution.b"].enumerated() {
            let packed = try encodeContribution(
                head: genesis, live: lives[member], tiles: [TileIndex(0)], of: fragment, codec: .e3m0)
            let stored = try vectors.bytes(name)
            #expect(Self.sameContent(packed, stored))
            #expect(Digest(hashing: stored).description == (try vectors.text(name + ".digest")))
            contributions.append(Aggregation.Contribution(member: member, share: shares[member], bytes: stored))
        }
        let raw = try encodeContribution(
            head: genesis, live: lives[0], tiles: [TileIndex(1)], of: fragment, codec: .float32)
        #expect(Self.sameContent(raw, try vectors.bytes("contribution.raw32")))

        let rule = OuterRule(learningRate: 0.7, momentum: 0.9)
        var aggregation = Aggregation(
            fragment: fragment, codec: .e3m0, base: genesis.digest, tiles: [TileIndex(0)], rule: rule)
        let outcome = try aggregation.run(contributions)
        let result = try vectors.bytes("result")
        let packed = try #require(outcome.result)
        #expect(outcome.members == [0, 1] && Self.sameContent(packed, result))
        let payload = CommittedPayload(
            tiles: [TileIndex(0)], shares: shares,
            blob: BlobReference(digest: Digest(hashing: result), byteCount: result.count))
        let next = try genesis.advanced(
            by: OuterStepDescription(payloads: [payload], scalars: Array("after one round".utf8)), rule: rule,
            codec: .e3m0, fragment: fragment
        ) { _ in result }
        #expect(next.leaves[0].description == (try vectors.text("head.next.leaf0")))
        #expect(next.leaves[1] == genesis.leaves[1])
        #expect(next.digest.description == (try vectors.text("head.next.digest")))
    }
}

/// The commit path's loops as one instruction set built them.
private struct CommitPath: Sendable {
    var encode:
        @Sendable (
            UnsafePointer<Float>, Int, UnsafeMutableRawPointer, UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<UInt8>
        ) -> Int
    var decode: @Sendable (UnsafeRawPointer, UnsafePointer<UInt8>, Int, UnsafeMutablePointer<Float>) -> Void
    var largest: @Sendable (UnsafePointer<Float>, Int) -> UInt32
    var squares: @Sendable (UnsafePointer<Float>, Int) -> Double
    var accumulate: @Sendable (UnsafePointer<Float>, Int, Double, UnsafeMutablePointer<Int64>) -> Void
    var mean: @Sendable (UnsafePointer<Int64>, Int, Double, UnsafeMutablePointer<Float>) -> Void
    var step: @Sendable (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void
    var blend: @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void

    static let baseline = CommitPath(
        encode: { NumericsBaseline.commitE3M0Encode($0, blockCount: $1, scales: $2, codes: $3, scratch: $4) },
        decode: { NumericsBaseline.commitE3M0Decode(scales: $0, codes: $1, blockCount: $2, values: $3) },
        largest: { NumericsBaseline.commitMeasure($0, count: $1).largestMagnitudeBits },
        squares: { NumericsBaseline.commitMeasure($0, count: $1).squares },
        accumulate: { NumericsBaseline.commitAccumulate($0, count: $1, factor: $2, into: $3) },
        mean: { NumericsBaseline.commitMean($0, count: $1, quantum: $2, into: $3) },
        step: {
            NumericsBaseline.commitOuterStep(
                theta: $0, velocity: $1, delta: $2, count: $3, learningRate: 0.7, momentum: 0.9)
        },
        blend: { NumericsBaseline.commitBlend(live: $0, theta: $1, count: $2, alpha: 0.5) })

    static let v3 = CommitPath(
        encode: { NumericsV3.commitE3M0Encode($0, blockCount: $1, scales: $2, codes: $3, scratch: $4) },
        decode: { NumericsV3.commitE3M0Decode(scales: $0, codes: $1, blockCount: $2, values: $3) },
        largest: { NumericsV3.commitMeasure($0, count: $1).largestMagnitudeBits },
        squares: { NumericsV3.commitMeasure($0, count: $1).squares },
        accumulate: { NumericsV3.commitAccumulate($0, count: $1, factor: $2, into: $3) },
        mean: { NumericsV3.commitMean($0, count: $1, quantum: $2, into: $3) },
        step: {
            NumericsV3.commitOuterStep(theta: $0, velocity: $1, delta: $2, count: $3, learningRate: 0.7, momentum: 0.9)
        },
        blend: { NumericsV3.commitBlend(live: $0, theta: $1, count: $2, alpha: 0.5) })

    static let v4 = CommitPath(
        encode: { NumericsV4.commitE3M0Encode($0, blockCount: $1, scales: $2, codes: $3, scratch: $4) },
        decode: { NumericsV4.commitE3M0Decode(scales: $0, codes: $1, blockCount: $2, values: $3) },
        largest: { NumericsV4.commitMeasure($0, count: $1).largestMagnitudeBits },
        squares: { NumericsV4.commitMeasure($0, count: $1).squares },
        accumulate: { NumericsV4.commitAccumulate($0, count: $1, factor: $2, into: $3) },
        mean: { NumericsV4.commitMean($0, count: $1, quantum: $2, into: $3) },
        step: {
            NumericsV4.commitOuterStep(theta: $0, velocity: $1, delta: $2, count: $3, learningRate: 0.7, momentum: 0.9)
        },
        blend: { NumericsV4.commitBlend(live: $0, theta: $1, count: $2, alpha: 0.5) })

    /// The sets that this processor runs; on other architectures all three are built alike.
    static let available: [(name: String, path: CommitPath)] = {
        let sets = [("baseline", baseline), ("v3", v3), ("v4", v4)]
        #if arch(x86_64)
            // Level 1 is the baseline, 3 and 4 are x86-64-v3 and v4.
            return Array(sets.prefix(max(1, Int(vector_instruction_level()) - 1)))
        #else
            return sets
        #endif
    }()
}

@Suite struct CommitPathVectorTests {
    private static let count = 256 * 9 + 77

    private static func digest<Element>(_ values: [Element]) -> String {
        values.withUnsafeBytes { Digest(hashing: $0) }.description
    }

    @Test(arguments: CommitPath.available.indices)
    func everyInstructionSetGivesTheVectorsBits(set: Int) throws {
        let vectors = try Vectors()
        let path = CommitPath.available[set].path
        let count = Self.count
        let blocks = (count + 255) / 256
        let shares = (0..<5).map { TrainingShare(tokens: UInt64(1000 * $0 + 5), steps: UInt64($0 + 3)) }
        let weights = Coefficients(shares, cap: 4).fixed
        var theta = samples(10, count, 0.5)
        var velocity = [Float](repeating: 0, count: count)

        func encoded(_ values: [Float]) -> [UInt8] {
            let padded = values + [Float](repeating: 0, count: 256 * blocks - count)
            var bytes = [UInt8](repeating: 0, count: 132 * blocks)
            bytes.withUnsafeMutableBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                let codes = (start + 4 * blocks).assumingMemoryBound(to: UInt8.self)
                var scratch = [UInt8](repeating: 0xFF, count: 256)
                #expect(path.encode(padded, blocks, start, codes, &scratch) == -1)
            }
            return bytes
        }
        func decoded(_ bytes: [UInt8]) -> [Float] {
            var values = [Float](repeating: .nan, count: 256 * blocks)
            bytes.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                path.decode(start, (start + 4 * blocks).assumingMemoryBound(to: UInt8.self), blocks, &values)
            }
            return Array(values[..<count])
        }
        for turn in 0..<3 {
            let coded = (0..<5).map { encoded(samples(UInt64(100 * turn + $0), count, 0.01 * Float($0 + 1))) }
            #expect(Self.digest(coded.flatMap { $0 }) == (try vectors.text("path.\(turn).coded")))
            let values = coded.map(decoded)
            let largest = values.map { path.largest($0, count) }.max() ?? 0
            let quantum = Double(sign: .plus, exponent: Int(largest >> 23) - 127 - 44, significand: 1)
            var sums = [Int64](repeating: 0, count: count)
            for (member, weight) in zip(values, weights) {
                path.accumulate(member, count, Double(weight) / (quantum * 0x1p24), &sums)
            }
            var mean = [Float](repeating: .nan, count: count)
            path.mean(sums, count, quantum, &mean)
            #expect(Self.digest(mean) == (try vectors.text("path.\(turn).mean")))
            path.step(&theta, &velocity, decoded(encoded(mean)), count)
            #expect(Self.digest(theta) == (try vectors.text("path.\(turn).theta")))
            #expect(Self.digest(velocity) == (try vectors.text("path.\(turn).velocity")))
        }
        var blended = theta
        path.blend(&blended, velocity, count)
        #expect(Self.digest(blended) == (try vectors.text("path.blended")))
        // Sixteen lanes by index, folded in order.
        var lanes = [Double](repeating: 0, count: 16)
        for index in 0..<count { lanes[index % 16] += Double(theta[index]) * Double(theta[index]) }
        #expect(path.squares(theta, count) == lanes.reduce(0, +))
    }
}
