import Compression
package import JSONText
import Numerics
import PeerNet

/// `atoll bench codec`: how fast one core encodes and decodes tiles, beside how fast it copies them.
package enum LocalCodecBench {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Size of the values in MiB.
        package var mebibytes: Int
        /// Rounds of which medians are taken.
        package var rounds: Int

        /// Wraps the fields.
        package init(mebibytes: Int = 64, rounds: Int = 5) {
            self.mebibytes = mebibytes
            self.rounds = rounds
        }
    }

    /// One codec's measures; rates in bytes of float32 per second.
    package struct Row: Sendable {
        /// Family and level.
        package var name: String
        /// Median rates.
        package var encodeRate: Double
        package var decodeRate: Double
        /// Bits per value as encoded, and behind the entropy stage.
        package var bitsPerValue: Double
        package var packedBitsPerValue: Double
        /// The norm of the error over the norm of the values.
        package var relativeError: Double
    }

    /// What came of it.
    package struct Report: CommandReport {
        /// Bytes of float32 values.
        package var byteCount: Int
        /// Median rate of copying them.
        package var copyRate: Double
        /// One per codec.
        package var rows: [Row]

        package var text: String {
            let head =
                "\(byteCount >> 20) MiB of float32 in tiles of \(tileLength) values, one core; copying "
                + "\(fixed(copyRate / 1e9, 2)) GB/s"
            let title =
                padded("codec", 16) + padded("encode GB/s", 13) + padded("decode GB/s", 13) + padded("bits", 9)
                + padded("packed", 9) + "error"
            let lines = rows.map { row in
                padded(row.name, 16) + padded(fixed(row.encodeRate / 1e9, 2), 13)
                    + padded(fixed(row.decodeRate / 1e9, 2), 13) + padded(fixed(row.bitsPerValue, 3), 9)
                    + padded(fixed(row.packedBitsPerValue, 3), 9) + fixed(row.relativeError, 4)
            }
            return ([head, title] + lines).joined(separator: "\n")
        }

        package var json: JSONValue {
            [
                "bytes": .integer(Int64(byteCount)), "copy_bytes_per_second": .number(copyRate),
                "codecs": .array(
                    rows.map { row in
                        [
                            "codec": .text(row.name), "encode_bytes_per_second": .number(row.encodeRate),
                            "decode_bytes_per_second": .number(row.decodeRate),
                            "bits_per_value": .number(row.bitsPerValue),
                            "packed_bits_per_value": .number(row.packedBitsPerValue),
                            "relative_error": .number(row.relativeError),
                        ]
                    }),
            ]
        }
    }

    private static let tileLength = 65_536
    private static let codecs: [(name: String, codec: Codec)] =
        [("float32", .float32), ("float16", .float16), ("e3m0", .e3m0)]
        + ([1, 2, 3, 4, 5, 6, 7, 8] as [UInt8]).map { ("uniform \($0)", .uniform(bits: $0)) }
        + ([2, 4] as [UInt8]).map { ("statistical \($0)", .statistical(bits: $0)) }
        + ([16, 64, 256, 1024] as [UInt16]).map { ("top-k \($0)", .topK(kept: $0)) }
        + ([1, 2, 4, 8] as [UInt8]).map { ("low rank \($0)", .lowRank(rank: $0)) }

    /// Measures copying and every codec by turns, so that all see the same machine.
    package static func run(_ request: Request, progress: (String) -> Void) throws(UserError) -> Report {
        guard (1...4096).contains(request.mebibytes), (1...1000).contains(request.rounds) else {
            throw UserError(
                "there are 1 to 4096 MiB and 1 to 1000 rounds", cure: "Choose others", exitCode: .usage)
        }
        var bench = Bench(tiles: request.mebibytes * (1 << 18) / tileLength)
        var copies: [Double] = []
        var encodings = codecs.map { _ in [Double]() }
        var decodings = codecs.map { _ in [Double]() }
        var rows: [Row] = []
        for round in 1...request.rounds {
            copies.append(bench.copy())
            for (index, (name, codec)) in codecs.enumerated() {
                encodings[index].append(bench.encode(codec))
                decodings[index].append(bench.decode(codec))
                if round == 1 { rows.append(bench.row(name, codec)) }
            }
            progress("round \(round) of \(request.rounds)")
        }
        for index in rows.indices {
            rows[index].encodeRate = Double(bench.byteCount) / median(encodings[index])
            rows[index].decodeRate = Double(bench.byteCount) / median(decodings[index])
        }
        return Report(byteCount: bench.byteCount, copyRate: Double(bench.byteCount) / median(copies), rows: rows)
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    /// The buffers, touched once before anything is measured.
    private struct Bench {
        private let values: [Float]
        private var decoded: [Float]
        private var encoded: [UInt8]
        private let tiles: Int
        private let shape = TileShape(count: tileLength, columns: 512)

        init(tiles: Int) {
            self.tiles = tiles
            var random = SeededRandom(seed: 1)
            values = (0..<tiles * tileLength).map { _ in random.nextNormal() }
            decoded = values
            encoded = [UInt8](repeating: 1, count: 4 * values.count)
        }

        var byteCount: Int { 4 * values.count }

        private static func seconds(_ body: () -> Void) -> Double {
            let clock = ContinuousClock()
            let start = clock.now
            body()
            return max((clock.now - start).inSeconds, 1e-9)
        }

        mutating func copy() -> Double {
            values.withUnsafeBytes { source in
                decoded.withUnsafeMutableBytes { target in Self.seconds { target.copyMemory(from: source) } }
            }
        }

        /// Encodes every tile, each by an encoder that has seen none before.
        mutating func encode(_ codec: Codec) -> Double {
            let size = codec.byteCount(of: shape)
            return values.withUnsafeBufferPointer { values in
                encoded.withUnsafeMutableBytes { encoded in
                    Self.seconds {
                        for tile in 0..<tiles {
                            var memory = EncoderMemory()
                            let source = UnsafeBufferPointer(
                                rebasing: values[tile * tileLength..<(tile + 1) * tileLength])
                            let target = UnsafeMutableRawBufferPointer(
                                rebasing: encoded[tile * size..<(tile + 1) * size])
                            do throws(CodecError) {
                                try codec.encode(source, shape: shape, memory: &memory, into: target)
                            } catch { preconditionFailure("finite values are encoded: \(error)") }
                        }
                    }
                }
            }
        }

        /// Decodes what `encode` wrote last.
        mutating func decode(_ codec: Codec) -> Double {
            let size = codec.byteCount(of: shape)
            return encoded.withUnsafeBytes { encoded in
                decoded.withUnsafeMutableBufferPointer { decoded in
                    Self.seconds {
                        for tile in 0..<tiles {
                            let source = UnsafeRawBufferPointer(rebasing: encoded[tile * size..<(tile + 1) * size])
                            let target = UnsafeMutableBufferPointer(
                                rebasing: decoded[tile * tileLength..<(tile + 1) * tileLength])
                            do throws(CodecError) {
                                try codec.decode(source, shape: shape, into: target)
                            } catch { preconditionFailure("what was encoded decodes: \(error)") }
                        }
                    }
                }
            }
        }

        /// Sizes and error of what was encoded and decoded last.
        func row(_ name: String, _ codec: Codec) -> Row {
            let bytes = Array(encoded[..<(tiles * codec.byteCount(of: shape))])
            var error = 0.0
            var norm = 0.0
            for (value, other) in zip(values, decoded) {
                let difference = Double(other) - Double(value)
                error += difference * difference
                norm += Double(value) * Double(value)
            }
            return Row(
                name: name, encodeRate: 0, decodeRate: 0,
                bitsPerValue: Double(8 * bytes.count) / Double(values.count),
                packedBitsPerValue: Double(8 * EntropyStage.pack(bytes).count) / Double(values.count),
                relativeError: (error / norm).squareRoot())
        }
    }
}
