import JSONText
import Numerics
import Testing

@testable import Checkpoint

@Suite struct FloatConversionTests {
    private func widen(_ words: [UInt16], _ type: ElementType) -> [Float] {
        var values = [Float](repeating: .nan, count: words.count)
        words.withUnsafeBytes { raw in
            values.withUnsafeMutableBufferPointer { FloatConversion.widen(raw, type, into: $0) }
        }
        return values
    }

    /// nil if a value does not fit.
    private func narrow(_ values: [Float], _ type: FloatType) -> [UInt16]? {
        var words = [UInt16](repeating: 0, count: values.count)
        let fits = words.withUnsafeMutableBytes { raw in
            values.withUnsafeBufferPointer { FloatConversion.narrow($0, type, into: raw) }
        }
        return fits ? words : nil
    }

    @Test func everyHalfAndBrainFloatSurvives() {
        let all = (0...UInt16.max).map { $0 }
        for (type, narrowType, mask) in [
            (ElementType.f16, FloatType.float16, UInt16(0x7c00)), (.bf16, .bfloat16, 0x7f80),
        ] {
            let finite = all.filter { $0 & mask != mask }
            #expect(narrow(widen(finite, type), narrowType) == finite)
            for word in all where word & mask == mask { #expect(!widen([word], type)[0].isFinite) }
        }
    }

    #if !((os(macOS) || targetEnvironment(macCatalyst)) && arch(x86_64))
        @Test func halvesAreThoseOfTheProcessor() {
            for word in UInt16.min...UInt16.max {
                let ours = FloatConversion.float(halfBits: word)
                let theirs = Float(Float16(bitPattern: word))
                #expect(ours.bitPattern == theirs.bitPattern || (ours.isNaN && theirs.isNaN))
            }
            var random = SeededRandom(seed: 3)
            for _ in 0..<200_000 {
                // All exponents that half precision has, and its neighbours.
                let bits = UInt32(truncatingIfNeeded: random.next())
                let exponent = 100 + (bits >> 23) % 45
                let value = Float(bitPattern: bits & 0x807f_ffff | exponent << 23)
                #expect(FloatConversion.halfBits(value) == Float16(value).bitPattern)
            }
        }
    #endif

    @Test func tiesGoToEven() {
        // 1 + 1/2048 lies between 1 and the next half; 1 + 3/2048 between that and the one after.
        #expect(narrow([1 + 0x1p-11, 1 + 3 * 0x1p-11, 1 + 0x1p-11 + 0x1p-20], .float16) == [0x3c00, 0x3c02, 0x3c01])
        #expect(narrow([0x1p-25, 3 * 0x1p-25, -0.0, 0x1p-14 - 0x1p-26], .float16) == [0, 2, 0x8000, 0x0400])
        #expect(narrow([1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-8 + 0x1p-20], .bfloat16) == [0x3f80, 0x3f82, 0x3f81])
        #expect(narrow([65504, 65519.996], .float16) == [0x7bff, 0x7bff])
    }

    @Test func valuesBeyondTheRangeAreNoticedAnywhere() {
        for position in 0..<70 {
            var values = [Float](repeating: 1, count: 70)
            for value in [65520, 1e30, -65536, Float.infinity, -.infinity, .nan] {
                values[position] = value
                #expect(narrow(values, .float16) == nil)
                #expect(values.withUnsafeBufferPointer { FloatConversion.areFinite($0) } == value.isFinite)
            }
            values[position] = -Float.greatestFiniteMagnitude
            #expect(narrow(values, .bfloat16) == nil)
        }
        #expect([Float]().withUnsafeBufferPointer { FloatConversion.areFinite($0) })
    }

    @Test func doublesAreRoundedOnce() {
        let doubles = [0.1, 1 + 0x1p-24, 1 + 3 * 0x1p-24, 1e-50]
        var values = [Float](repeating: 0, count: 4)
        // At an odd address.
        let bytes: [UInt8] = [0] + doubles.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian) { Array($0) } }
        bytes.withUnsafeBytes { raw in
            values.withUnsafeMutableBufferPointer {
                FloatConversion.widen(UnsafeRawBufferPointer(rebasing: raw[1...]), .f64, into: $0)
            }
        }
        #expect(values == [0.1, 1, 1 + 0x1p-22, 0])
    }
}
