import NumericsBaseline

/// The statistical codec: rows of 4096 values, each value a code, each code the mean of the row's values under it.
///
/// A tile's bytes are the rows' tables (2^bits float32 each), then all codes; the last row may be short and is not
/// padded. How the bins are chosen is the encoder's affair. Format: protocols/payload.md.
/// - SeeAlso: MuLoCo (arXiv:2505.23725) for the bins of six sigma; Lloyd 1982 for the others.
struct Statistical {
    /// Bits of a code, 2 or 4.
    let bits: Int
    /// Rounds after which Lloyd's iterations end.
    private static let lloydRoundsMax = 24

    init(bits: UInt8) {
        precondition(bits == 2 || bits == 4, "statistical codes have 2 or 4 bits")
        self.bits = Int(bits)
    }

    private var codeCount: Int { 1 << bits }
    private var tableByteCount: Int { 4 * codeCount }

    private static func rows(ofValues count: Int) -> Int { (count + Codec.rowLength - 1) / Codec.rowLength }

    /// The size of an encoded tile.
    func byteCount(ofValues count: Int) -> Int {
        // Whole rows end at a byte's end, so all codes are one run.
        Self.rows(ofValues: count) * tableByteCount + (count * bits + 7) / 8
    }

    /// Encodes the values of one tile; `bytes` has the exact size.
    func encode(
        _ values: UnsafeBufferPointer<Float>, bins: StatisticalBins, into bytes: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        guard let input = values.baseAddress, let output = bytes.baseAddress else { return }
        let rows = Self.rows(ofValues: values.count)
        let packed = output + rows * tableByteCount
        let bad = Scratch.withScratch { scratch in
            for row in 0..<rows {
                let start = row * Codec.rowLength
                let count = min(Codec.rowLength, values.count - start)
                guard chooseCodes(input + start, count: count, bins: bins, scratch: scratch) else { return row }
                writeTable(into: output + row * tableByteCount, scratch: scratch)
                let groups = count / 8
                let target = packed + start * bits / 8
                commitPack(scratch.codes, groupCount: groups, bits: bits, packed: target)
                packRest(scratch.codes + 8 * groups, count: count - 8 * groups, into: target + groups * bits)
            }
            return -1
        }
        guard bad < 0 else { throw .firstOutOfRange(in: values, from: bad * Codec.rowLength) }
    }

    /// Sorts a row into bins; false where a value is out of range. Leaves codes, sums, counts and mean in the scratch.
    private func chooseCodes(
        _ row: UnsafePointer<Float>, count: Int, bins: StatisticalBins, scratch: Scratch
    ) -> Bool {
        let moments = commitRowMoments(row, count: count)
        guard moments.largestMagnitudeBits <= Codec.magnitudeMax.bitPattern else { return false }
        scratch.mean.pointee = moments.mean
        commitCentre(row, count: count, mean: moments.mean, centred: scratch.centred)
        switch bins {
        case .sixSigma: chooseWidth(count: count, scratch: scratch)
        case .lloyd: chooseBounds(count: count, scratch: scratch)
        }
        return true
    }

    /// Bins of a 2^bits-th of six standard deviations.
    private func chooseWidth(count: Int, scratch: Scratch) {
        let measure = commitMeasure(scratch.centred, count: count)
        let width = Float(6 * (measure.squares / Double(count)).squareRoot() / Double(codeCount))
        commitWidthCodes(
            scratch.centred, count: count, inverseWidth: width < 0x1p-100 ? 0 : 1 / width, bits: bits,
            codes: scratch.codes)
        commitCodeSums(scratch.centred, scratch.codes, count: count, sums: scratch.sums, counts: scratch.counts)
        for code in 0..<codeCount {
            var sum = 0.0
            var number: Int32 = 0
            for slot in stride(from: code, to: 64, by: 16) {
                sum += scratch.sums[slot]
                number += scratch.counts[slot]
            }
            scratch.sums[code] = sum
            scratch.counts[code] = number
        }
    }

    /// Bins by Lloyd's iterations.
    private func chooseBounds(count: Int, scratch: Scratch) {
        let largest = commitLargestMagnitudeBits(scratch.centred, count: count)
        commitFineBins(scratch.centred, count: count, largestMagnitudeBits: largest, bins: scratch.bins)
        commitFineSums(
            scratch.centred, scratch.bins, count: count, sums: scratch.fineSums, counts: scratch.fineCounts)
        commitLloydCodes(
            sums: scratch.fineSums, counts: scratch.fineCounts, largestMagnitudeBits: largest, codeCount: codeCount,
            roundsMax: Self.lloydRoundsMax, codesOfBins: scratch.codesOfBins, bounds: scratch.bounds,
            means: scratch.sums)
        commitLookUpCodes(scratch.bins, count: count, codesOfBins: scratch.codesOfBins, codes: scratch.codes)
        // The fine sums are running ones by now.
        var sum = 0.0
        var number: Int32 = 0
        for code in 0..<codeCount {
            let end = scratch.bounds[code + 1]
            let nextSum = end > 0 ? scratch.fineSums[end - 1] : 0
            let nextNumber = end > 0 ? scratch.fineCounts[end - 1] : 0
            scratch.sums[code] = nextSum - sum
            scratch.counts[code] = nextNumber - number
            sum = nextSum
            number = nextNumber
        }
    }

    /// Writes every code's mean; 0 where it does not occur.
    private func writeTable(into table: UnsafeMutableRawPointer, scratch: Scratch) {
        let mean = Double(scratch.mean.pointee)
        for code in 0..<codeCount {
            let count = scratch.counts[code]
            // The mean of values in range is in range, but for the rounding of what it is a sum of.
            let entry = count == 0 ? 0 : Float(mean + scratch.sums[code] / Double(count))
            table.store(max(-Codec.magnitudeMax, min(entry, Codec.magnitudeMax)), at: 4 * code)
        }
    }

    /// Packs fewer than eight codes, the padding 0.
    private func packRest(_ codes: UnsafePointer<UInt8>, count: Int, into packed: UnsafeMutableRawPointer) {
        var word: UInt32 = 0
        for index in 0..<count { word |= UInt32(codes[index]) << UInt32(index * bits) }
        for byte in 0..<(count * bits + 7) / 8 {
            packed.storeBytes(
                of: UInt8(truncatingIfNeeded: word >> UInt32(8 * byte)), toByteOffset: byte, as: UInt8.self)
        }
    }

    /// Decodes one tile; `bytes` has the exact size.
    func decode(_ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<Float>) throws(CodecError) {
        guard let input = bytes.baseAddress, let output = values.baseAddress else { return }
        let rows = Self.rows(ofValues: values.count)
        let packed = input + rows * tableByteCount
        let error = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Codec.rowLength) { codes -> CodecError? in
            guard let codes = codes.baseAddress else { return nil }
            for row in 0..<rows {
                let start = row * Codec.rowLength
                let count = min(Codec.rowLength, values.count - start)
                let source = packed + start * bits / 8
                let groups = count / 8
                commitUnpack(source, groupCount: groups, bits: bits, codes: codes)
                guard
                    unpackRest(source + groups * bits, count: count - 8 * groups, codes: codes + 8 * groups)
                else { return .notCanonical(blockIndex: row) }
                let error = lookUp(
                    codes, count: count, table: input + row * tableByteCount, row: row, values: output + start)
                if let error { return error }
            }
            return nil
        }
        if let error { throw error }
    }

    /// Decodes a row, whose table is checked first, and whose codes decide which entries must be 0.
    private func lookUp(
        _ codes: UnsafePointer<UInt8>, count: Int, table bytes: UnsafeRawPointer, row: Int,
        values: UnsafeMutablePointer<Float>
    ) -> CodecError? {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 16) { table in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { marks in
                guard let table = table.baseAddress, let marks = marks.baseAddress else { return nil }
                for code in 0..<codeCount {
                    table[code] = bytes.float(at: 4 * code)
                    marks[code] = 0
                    guard table[code].magnitude <= Codec.magnitudeMax else { return .badScale(blockIndex: row) }
                }
                commitTableDecode(codes, count: count, table: table, values: values, marks: marks)
                for code in 0..<codeCount where marks[code] == 0 && table[code].bitPattern != 0 {
                    return .notCanonical(blockIndex: row)
                }
                return nil
            }
        }
    }

    /// Unpacks fewer than eight codes; false unless the padding is 0.
    private func unpackRest(
        _ packed: UnsafeRawPointer, count: Int, codes: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        var word: UInt32 = 0
        for byte in 0..<(count * bits + 7) / 8 {
            word |= UInt32(packed.load(fromByteOffset: byte, as: UInt8.self)) << UInt32(8 * byte)
        }
        for index in 0..<count {
            codes[index] = UInt8(truncatingIfNeeded: word) & UInt8(codeCount - 1)
            word >>= UInt32(bits)
        }
        return word == 0
    }

    /// What the encoder needs for a row.
    private struct Scratch {
        let mean: UnsafeMutablePointer<Float>
        let centred: UnsafeMutablePointer<Float>
        let bins: UnsafeMutablePointer<UInt16>
        let codes: UnsafeMutablePointer<UInt8>
        let fineSums: UnsafeMutablePointer<Double>
        let fineCounts: UnsafeMutablePointer<Int32>
        let codesOfBins: UnsafeMutablePointer<UInt8>
        let sums: UnsafeMutablePointer<Double>
        let counts: UnsafeMutablePointer<Int32>
        let bounds: UnsafeMutablePointer<Int>

        /// Cuts one allocation into parts, those with the widest elements first.
        static func withScratch<Result>(_ body: (Scratch) -> Result) -> Result {
            let row = Codec.rowLength
            let byteCount = 8 * 512 + 8 * 64 + 8 * 24 + 4 * 512 + 4 * 64 + 4 * row + 4 * 16 + 2 * row + row + 512
            return withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: 16) { bytes in
                var rest = bytes
                func take<Element>(_ type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element> {
                    let size = count * MemoryLayout<Element>.stride
                    let part = UnsafeMutableRawBufferPointer(rebasing: rest[..<size]).bindMemory(to: type)
                    rest = UnsafeMutableRawBufferPointer(rebasing: rest[size...])
                    guard let start = part.baseAddress else { preconditionFailure("the scratch has all its parts") }
                    return start
                }
                let fineSums = take(Double.self, 512)
                let sums = take(Double.self, 64)
                let bounds = take(Int.self, 24)
                let fineCounts = take(Int32.self, 512)
                let counts = take(Int32.self, 64)
                let centred = take(Float.self, row)
                let mean = take(Float.self, 16)
                let bins = take(UInt16.self, row)
                let codes = take(UInt8.self, row)
                let codesOfBins = take(UInt8.self, 512)
                return body(
                    Scratch(
                        mean: mean, centred: centred, bins: bins, codes: codes, fineSums: fineSums,
                        fineCounts: fineCounts, codesOfBins: codesOfBins, sums: sums, counts: counts, bounds: bounds))
            }
        }
    }
}
