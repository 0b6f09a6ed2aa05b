import Compression
import Testing

/// Encoders and decoders give the same bits in every instruction set that the machine has.
@Suite struct InstructionSetTests {
    private static let count = 4096
    /// Values of all sizes: a Gaussian, one with heavy tails, and bit patterns of any finite magnitude up to 2^79.
    private static let inputs: [[Float]] = {
        var random = SplitMix(99)
        let heavy = gaussian(2, count).map { $0 * $0 * $0 * $0 * $0 * 1e-3 }
        let patterns = (0..<count).map { _ in
            Float(bitPattern: UInt32(truncatingIfNeeded: random.next()) % 0x6700_0000 | UInt32(random.next() & 1) << 31)
        }
        return [gaussian(1, count), heavy, patterns]
    }()

    @Test(arguments: CodecKernels.available.indices) func halvesAndUniformLevels(set: Int) {
        let kernels = CodecKernels.available[set].kernels
        let expected = CodecKernels.baseline
        for values in Self.inputs {
            #expect(Self.halves(kernels, values) == Self.halves(expected, values))
            for bits in 1...8 { #expect(Self.uniform(kernels, values, bits) == Self.uniform(expected, values, bits)) }
        }
    }

    @Test(arguments: CodecKernels.available.indices) func statisticalRows(set: Int) {
        let kernels = CodecKernels.available[set].kernels
        let expected = CodecKernels.baseline
        for values in Self.inputs {
            for count in [4096, 4093, 77] {
                for bits in [2, 4] {
                    let row = Array(values[..<count])
                    #expect(Self.statistical(kernels, row, bits) == Self.statistical(expected, row, bits))
                }
            }
        }
    }

    @Test(arguments: CodecKernels.available.indices) func largestValues(set: Int) {
        let kernels = CodecKernels.available[set].kernels
        let expected = CodecKernels.baseline
        for values in Self.inputs {
            for kept in [2, 64, 1023] {
                #expect(Self.topK(kernels, values, kept) == Self.topK(expected, values, kept))
            }
        }
    }

    @Test(arguments: CodecKernels.available.indices) func factors(set: Int) {
        let kernels = CodecKernels.available[set].kernels
        let expected = CodecKernels.baseline
        for values in Self.inputs {
            for (columns, rank) in [(64, 4), (50, 3), (7, 7), (4096, 1)] {
                #expect(Self.lowRank(kernels, values, columns, rank) == Self.lowRank(expected, values, columns, rank))
            }
        }
    }

    // MARK: What a set gives, as bytes

    private static func append<Element>(_ values: [Element], to bytes: inout [UInt8]) {
        values.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    private static func halves(_ kernels: CodecKernels, _ values: [Float]) -> [UInt8] {
        var halves = [UInt8](repeating: 0, count: 2 * count)
        var decoded = [Float](repeating: 0, count: count)
        var trace: [UInt8] = []
        // Values that halves can hold, subnormal ones among them.
        let small = values.map { $0.magnitude <= 65_504 ? $0 : 1e-7 }
        append([kernels.halfEncode(small, count, &halves), kernels.halfDecode(halves, count, &decoded)], to: &trace)
        append(decoded, to: &trace)
        return trace + halves
    }

    private static func uniform(_ kernels: CodecKernels, _ values: [Float], _ bits: Int) -> [UInt8] {
        var headers = [UInt8](repeating: 0, count: 8 * 16)
        var codes = [UInt8](repeating: 0, count: count)
        var packed = [UInt8](repeating: 0, count: bits * count / 8)
        var unpacked = [UInt8](repeating: 0, count: count)
        var decoded = [Float](repeating: 0, count: count)
        #expect(kernels.uniformEncode(values, 16, bits, &headers, &codes) == -1)
        kernels.pack(codes, count / 8, bits, &packed)
        kernels.unpack(packed, count / 8, bits, &unpacked)
        #expect(codes == unpacked)
        kernels.uniformDecode(headers, codes, 16, &decoded)
        var trace = headers + packed
        append(decoded, to: &trace)
        return trace
    }

    private static func statistical(_ kernels: CodecKernels, _ values: [Float], _ bits: Int) -> [UInt8] {
        var trace: [UInt8] = []
        let count = values.count
        var centred = [Float](repeating: 0, count: count)
        var codes = [UInt8](repeating: 0, count: count)
        var sums = [Double](repeating: 0, count: 512)
        var counts = [Int32](repeating: 0, count: 512)
        var bins = [UInt16](repeating: 0, count: count)
        var codesOfBins = [UInt8](repeating: 0, count: 512)
        var bounds = [Int](repeating: 0, count: 17)
        var means = [Double](repeating: 0, count: 16)
        let (largest, mean) = kernels.moments(values, count)
        kernels.centre(values, count, mean, &centred)
        append([Float(bitPattern: largest), mean], to: &trace)
        append(centred, to: &trace)
        let most = kernels.largest(centred, count)
        kernels.widthCodes(centred, count, 3 / Float(bitPattern: most), bits, &codes)
        kernels.codeSums(centred, codes, count, &sums, &counts)
        append(sums, to: &trace)
        append(counts, to: &trace)
        trace += codes
        kernels.fineBins(centred, count, most, &bins)
        kernels.fineSums(centred, bins, count, &sums, &counts)
        kernels.lloydCodes(&sums, &counts, most, 1 << bits, 24, &codesOfBins, &bounds, &means)
        kernels.lookUpCodes(bins, count, codesOfBins, &codes)
        append(sums, to: &trace)
        append(bins, to: &trace)
        append(bounds, to: &trace)
        append(means, to: &trace)
        trace += codes
        var marks = [UInt8](repeating: 0, count: 16)
        kernels.tableDecode(codes, count, means.map { Float($0) }, &centred, &marks)
        append(centred, to: &trace)
        return trace + marks
    }

    private static func topK(_ kernels: CodecKernels, _ values: [Float], _ kept: Int) -> [UInt8] {
        var trace: [UInt8] = []
        var indices = [UInt16](repeating: 0, count: count)
        var scratch = [Int32](repeating: 0, count: count + 2048)
        kernels.select(values, count, kept, &indices, &scratch)
        indices = Array(indices[..<kept])
        append(indices, to: &trace)
        let selected = indices.map { values[Int($0)] }
        let all = kernels.sumAbove(0, selected, kept)
        let bound = Float(all.0 / Double(kept))
        let above = kernels.sumAbove(bound, selected, kept)
        append([all.0, above.0, Double(all.1), Double(above.1)], to: &trace)
        var codes = [UInt8](repeating: 0, count: kept)
        kernels.signCodes(selected, kept, bound, 2, &codes)
        var packed = [UInt8](repeating: 0, count: (3 * kept + 1) / 2)
        kernels.packIndices(indices, kept, &packed)
        var unpacked = [UInt16](repeating: 0, count: kept)
        #expect(kernels.unpackIndices(packed, kept, &unpacked) && unpacked == indices)
        return trace + codes + packed
    }

    private static func lowRank(
        _ kernels: CodecKernels, _ values: [Float], _ columns: Int, _ rank: Int
    ) -> [UInt8] {
        let rows = (count + columns - 1) / columns
        var right = gaussian(8, rank * columns)
        var left = [Float](repeating: 0, count: rank * rows)
        var matrix = [Float](repeating: 0, count: count)
        kernels.leftFactor(values, count, columns, right, rank, &left)
        kernels.orthonormalize(&left, rank, rows)
        kernels.rightFactor(values, count, columns, left, rank, &right)
        kernels.divide(&right, rank * columns, 3)
        kernels.multiply(&right, rank * columns, 1.7)
        kernels.product(left, right, rank, count, columns, &matrix)
        var trace: [UInt8] = []
        for values in [left, right, matrix] { append(values, to: &trace) }
        return trace
    }
}
