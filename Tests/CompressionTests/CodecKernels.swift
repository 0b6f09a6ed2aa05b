import CVector
import NumericsBaseline
import NumericsV3
import NumericsV4

/// The codecs' loops as one instruction set built them.
struct CodecKernels: Sendable {
    var halfEncode: @Sendable (UnsafePointer<Float>, Int, UnsafeMutableRawPointer) -> UInt32
    var halfDecode: @Sendable (UnsafeRawPointer, Int, UnsafeMutablePointer<Float>) -> UInt32
    var pack: @Sendable (UnsafePointer<UInt8>, Int, Int, UnsafeMutableRawPointer) -> Void
    var unpack: @Sendable (UnsafeRawPointer, Int, Int, UnsafeMutablePointer<UInt8>) -> Void
    var uniformEncode:
        @Sendable (UnsafePointer<Float>, Int, Int, UnsafeMutableRawPointer, UnsafeMutablePointer<UInt8>) -> Int
    var uniformDecode: @Sendable (UnsafeRawPointer, UnsafePointer<UInt8>, Int, UnsafeMutablePointer<Float>) -> Void
    var centre: @Sendable (UnsafePointer<Float>, Int, Float, UnsafeMutablePointer<Float>) -> Void
    var widthCodes: @Sendable (UnsafePointer<Float>, Int, Float, Int, UnsafeMutablePointer<UInt8>) -> Void
    var codeSums:
        @Sendable (
            UnsafePointer<Float>, UnsafePointer<UInt8>, Int, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Int32>
        ) -> Void
    var fineBins: @Sendable (UnsafePointer<Float>, Int, UInt32, UnsafeMutablePointer<UInt16>) -> Void
    var fineSums:
        @Sendable (
            UnsafePointer<Float>, UnsafePointer<UInt16>, Int, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Int32>
        ) -> Void
    var lloydCodes:
        @Sendable (
            UnsafeMutablePointer<Double>, UnsafeMutablePointer<Int32>, UInt32, Int, Int, UnsafeMutablePointer<UInt8>,
            UnsafeMutablePointer<Int>, UnsafeMutablePointer<Double>
        ) -> Void
    var lookUpCodes: @Sendable (UnsafePointer<UInt16>, Int, UnsafePointer<UInt8>, UnsafeMutablePointer<UInt8>) -> Void
    var tableDecode:
        @Sendable (
            UnsafePointer<UInt8>, Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt8>
        ) -> Void
    var largest: @Sendable (UnsafePointer<Float>, Int) -> UInt32
    var select:
        @Sendable (UnsafePointer<Float>, Int, Int, UnsafeMutablePointer<UInt16>, UnsafeMutablePointer<Int32>) -> Void
    var signCodes: @Sendable (UnsafePointer<Float>, Int, Float, UInt8, UnsafeMutablePointer<UInt8>) -> Void
    var packIndices: @Sendable (UnsafePointer<UInt16>, Int, UnsafeMutablePointer<UInt8>) -> Void
    var unpackIndices: @Sendable (UnsafePointer<UInt8>, Int, UnsafeMutablePointer<UInt16>) -> Bool
    var leftFactor:
        @Sendable (UnsafePointer<Float>, Int, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void
    var rightFactor:
        @Sendable (UnsafePointer<Float>, Int, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void
    var orthonormalize: @Sendable (UnsafeMutablePointer<Float>, Int, Int) -> Void
    var divide: @Sendable (UnsafeMutablePointer<Float>, Int, Float) -> Void
    var multiply: @Sendable (UnsafeMutablePointer<Float>, Int, Float) -> Void
    var product:
        @Sendable (UnsafePointer<Float>, UnsafePointer<Float>, Int, Int, Int, UnsafeMutablePointer<Float>) -> Void
    var moments: @Sendable (UnsafePointer<Float>, Int) -> (UInt32, Float)
    var sumAbove: @Sendable (Float, UnsafePointer<Float>, Int) -> (Double, Int)

    static let baseline = CodecKernels(
        halfEncode: NumericsBaseline.commitHalfEncode(_:count:halves:),
        halfDecode: NumericsBaseline.commitHalfDecode(_:count:values:),
        pack: NumericsBaseline.commitPack(_:groupCount:bits:packed:),
        unpack: NumericsBaseline.commitUnpack(_:groupCount:bits:codes:),
        uniformEncode: NumericsBaseline.commitUniformEncode(_:blockCount:bits:headers:codes:),
        uniformDecode: NumericsBaseline.commitUniformDecode(headers:codes:blockCount:values:),
        centre: NumericsBaseline.commitCentre(_:count:mean:centred:),
        widthCodes: NumericsBaseline.commitWidthCodes(_:count:inverseWidth:bits:codes:),
        codeSums: NumericsBaseline.commitCodeSums(_:_:count:sums:counts:),
        fineBins: NumericsBaseline.commitFineBins(_:count:largestMagnitudeBits:bins:),
        fineSums: NumericsBaseline.commitFineSums(_:_:count:sums:counts:),
        lloydCodes: NumericsBaseline.commitLloydCodes(
            sums:counts:largestMagnitudeBits:codeCount:roundsMax:codesOfBins:bounds:means:),
        lookUpCodes: NumericsBaseline.commitLookUpCodes(_:count:codesOfBins:codes:),
        tableDecode: NumericsBaseline.commitTableDecode(_:count:table:values:marks:),
        largest: NumericsBaseline.commitLargestMagnitudeBits(_:count:),
        select: NumericsBaseline.commitSelectLargest(_:count:kept:indices:scratch:),
        signCodes: NumericsBaseline.commitSignCodes(_:count:bound:signOfSmall:codes:),
        packIndices: NumericsBaseline.commitPackIndices(_:count:packed:),
        unpackIndices: NumericsBaseline.commitUnpackIndices(_:count:indices:),
        leftFactor: NumericsBaseline.commitLeftFactor(_:count:columns:right:rank:left:),
        rightFactor: NumericsBaseline.commitRightFactor(_:count:columns:left:rank:right:),
        orthonormalize: NumericsBaseline.commitOrthonormalize(_:rank:length:),
        divide: NumericsBaseline.commitDivide(_:count:by:),
        multiply: NumericsBaseline.commitMultiply(_:count:by:),
        product: NumericsBaseline.commitFactorProduct(left:right:rank:count:columns:matrix:),
        moments: {
            let moments = NumericsBaseline.commitRowMoments($0, count: $1)
            return (moments.largestMagnitudeBits, moments.mean)
        },
        sumAbove: {
            let above = NumericsBaseline.commitSumAbove($0, $1, count: $2)
            return (above.sum, above.count)
        })

    static let v3 = CodecKernels(
        halfEncode: NumericsV3.commitHalfEncode(_:count:halves:),
        halfDecode: NumericsV3.commitHalfDecode(_:count:values:),
        pack: NumericsV3.commitPack(_:groupCount:bits:packed:),
        unpack: NumericsV3.commitUnpack(_:groupCount:bits:codes:),
        uniformEncode: NumericsV3.commitUniformEncode(_:blockCount:bits:headers:codes:),
        uniformDecode: NumericsV3.commitUniformDecode(headers:codes:blockCount:values:),
        centre: NumericsV3.commitCentre(_:count:mean:centred:),
        widthCodes: NumericsV3.commitWidthCodes(_:count:inverseWidth:bits:codes:),
        codeSums: NumericsV3.commitCodeSums(_:_:count:sums:counts:),
        fineBins: NumericsV3.commitFineBins(_:count:largestMagnitudeBits:bins:),
        fineSums: NumericsV3.commitFineSums(_:_:count:sums:counts:),
        lloydCodes: NumericsV3.commitLloydCodes(
            sums:counts:largestMagnitudeBits:codeCount:roundsMax:codesOfBins:bounds:means:),
        lookUpCodes: NumericsV3.commitLookUpCodes(_:count:codesOfBins:codes:),
        tableDecode: NumericsV3.commitTableDecode(_:count:table:values:marks:),
        largest: NumericsV3.commitLargestMagnitudeBits(_:count:),
        select: NumericsV3.commitSelectLargest(_:count:kept:indices:scratch:),
        signCodes: NumericsV3.commitSignCodes(_:count:bound:signOfSmall:codes:),
        packIndices: NumericsV3.commitPackIndices(_:count:packed:),
        unpackIndices: NumericsV3.commitUnpackIndices(_:count:indices:),
        leftFactor: NumericsV3.commitLeftFactor(_:count:columns:right:rank:left:),
        rightFactor: NumericsV3.commitRightFactor(_:count:columns:left:rank:right:),
        orthonormalize: NumericsV3.commitOrthonormalize(_:rank:length:),
        divide: NumericsV3.commitDivide(_:count:by:),
        multiply: NumericsV3.commitMultiply(_:count:by:),
        product: NumericsV3.commitFactorProduct(left:right:rank:count:columns:matrix:),
        moments: {
            let moments = NumericsV3.commitRowMoments($0, count: $1)
            return (moments.largestMagnitudeBits, moments.mean)
        },
        sumAbove: {
            let above = NumericsV3.commitSumAbove($0, $1, count: $2)
            return (above.sum, above.count)
        })

    static let v4 = CodecKernels(
        halfEncode: NumericsV4.commitHalfEncode(_:count:halves:),
        halfDecode: NumericsV4.commitHalfDecode(_:count:values:),
        pack: NumericsV4.commitPack(_:groupCount:bits:packed:),
        unpack: NumericsV4.commitUnpack(_:groupCount:bits:codes:),
        uniformEncode: NumericsV4.commitUniformEncode(_:blockCount:bits:headers:codes:),
        uniformDecode: NumericsV4.commitUniformDecode(headers:codes:blockCount:values:),
        centre: NumericsV4.commitCentre(_:count:mean:centred:),
        widthCodes: NumericsV4.commitWidthCodes(_:count:inverseWidth:bits:codes:),
        codeSums: NumericsV4.commitCodeSums(_:_:count:sums:counts:),
        fineBins: NumericsV4.commitFineBins(_:count:largestMagnitudeBits:bins:),
        fineSums: NumericsV4.commitFineSums(_:_:count:sums:counts:),
        lloydCodes: NumericsV4.commitLloydCodes(
            sums:counts:largestMagnitudeBits:codeCount:roundsMax:codesOfBins:bounds:means:),
        lookUpCodes: NumericsV4.commitLookUpCodes(_:count:codesOfBins:codes:),
        tableDecode: NumericsV4.commitTableDecode(_:count:table:values:marks:),
        largest: NumericsV4.commitLargestMagnitudeBits(_:count:),
        select: NumericsV4.commitSelectLargest(_:count:kept:indices:scratch:),
        signCodes: NumericsV4.commitSignCodes(_:count:bound:signOfSmall:codes:),
        packIndices: NumericsV4.commitPackIndices(_:count:packed:),
        unpackIndices: NumericsV4.commitUnpackIndices(_:count:indices:),
        leftFactor: NumericsV4.commitLeftFactor(_:count:columns:right:rank:left:),
        rightFactor: NumericsV4.commitRightFactor(_:count:columns:left:rank:right:),
        orthonormalize: NumericsV4.commitOrthonormalize(_:rank:length:),
        divide: NumericsV4.commitDivide(_:count:by:),
        multiply: NumericsV4.commitMultiply(_:count:by:),
        product: NumericsV4.commitFactorProduct(left:right:rank:count:columns:matrix:),
        moments: {
            let moments = NumericsV4.commitRowMoments($0, count: $1)
            return (moments.largestMagnitudeBits, moments.mean)
        },
        sumAbove: {
            let above = NumericsV4.commitSumAbove($0, $1, count: $2)
            return (above.sum, above.count)
        })

    /// The sets that this processor runs; on other architectures all three are built alike.
    static let available: [(name: String, kernels: CodecKernels)] = {
        let sets = [("baseline", baseline), ("v3", v3), ("v4", v4)]
        #if arch(x86_64)
            // Level 1 is the baseline, 3 and 4 are x86-64-v3 and v4.
            return Array(sets.prefix(max(1, Int(vector_instruction_level()) - 1)))
        #else
            return sets
        #endif
    }()
}
