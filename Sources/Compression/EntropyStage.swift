import CZstd

/// Why packed bytes could not be unpacked.
package enum EntropyError: Error, Hashable, Sendable {
    /// There is not even a flag byte.
    case empty
    /// The flag byte names no known form.
    case unknownForm(UInt8)
    /// The unpacked size is not the expected one, or above the largest (`got` is nil where the frame hides it).
    case wrongByteCount(expected: Int, got: UInt64?)
    /// The frame is cut, changed or followed by something.
    case damaged
}

/// The last stage of a payload: zstd where that makes it smaller, else the bytes as they are.
///
/// A flag byte leads: 0, the raw bytes follow; 1, one zstd frame that states its content size follows. So the result is
/// never more than one byte larger than its input.
package enum EntropyStage {
    /// Level 1: on quantized values higher levels cost time and gain nothing (zstd is a Huffman coder there).
    private static let level: Int32 = 1
    /// Below this many bytes the frame's own header eats the gain.
    private static let byteCountMin = 256

    /// Packs some bytes.
    ///
    /// - Complexity: O(n); one allocation of about the input's size.
    package static func pack(_ raw: [UInt8]) -> [UInt8] {
        if raw.count >= byteCountMin {
            let bound = ZSTD_compressBound(raw.count)
            let packed = [UInt8](unsafeUninitializedCapacity: bound + 1) { output, count in
                output[0] = 1
                let size = raw.withUnsafeBytes { input in
                    ZSTD_compress(output.baseAddress.map { $0 + 1 }, bound, input.baseAddress, input.count, level)
                }
                count = ZSTD_isError(size) == 0 ? size + 1 : 0
            }
            if !packed.isEmpty && packed.count <= raw.count { return packed }
        }
        return [0] + raw
    }

    /// Unpacks bytes from anywhere; total.
    ///
    /// - Parameter rawByteCount: the size that the result must have; nothing larger is ever allocated.
    package static func unpack(_ packed: [UInt8], rawByteCount: Int) throws(EntropyError) -> [UInt8] {
        try unpack(packed, rawByteCounts: rawByteCount...rawByteCount)
    }

    /// Unpacks bytes from anywhere, whose size the sender chose; total.
    ///
    /// - Parameter rawByteCountMax: the largest size that the result may have; nothing larger is ever allocated.
    package static func unpack(_ packed: [UInt8], rawByteCountMax: Int) throws(EntropyError) -> [UInt8] {
        try unpack(packed, rawByteCounts: 0...max(0, rawByteCountMax))
    }

    private static func unpack(_ packed: [UInt8], rawByteCounts: ClosedRange<Int>) throws(EntropyError) -> [UInt8] {
        guard let form = packed.first else { throw .empty }
        switch form {
        case 0:
            guard rawByteCounts.contains(packed.count - 1) else {
                throw .wrongByteCount(expected: rawByteCounts.upperBound, got: UInt64(packed.count - 1))
            }
            return Array(packed.dropFirst())
        case 1:
            let (raw, error) = packed.withUnsafeBytes {
                unpackFrame(UnsafeRawBufferPointer(rebasing: $0[1...]), rawByteCounts)
            }
            if let error { throw error }
            return raw
        default: throw .unknownForm(form)
        }
    }

    /// One whole zstd frame, no more and no less, of exactly the size that it states, which must be an expected one.
    private static func unpackFrame(
        _ frame: UnsafeRawBufferPointer, _ rawByteCounts: ClosedRange<Int>
    ) -> ([UInt8], EntropyError?) {
        // Skippable frames are frames to zstd, but hold nothing.
        guard frame.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) else { return ([], .damaged) }
        let stated = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        // Unknown and erroneous sizes are the two largest numbers.
        guard let rawByteCount = Int(exactly: stated), rawByteCounts.contains(rawByteCount) else {
            let hidden = stated >= UInt64.max - 1
            return ([], .wrongByteCount(expected: rawByteCounts.upperBound, got: hidden ? nil : stated))
        }
        guard ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count else { return ([], .damaged) }
        var written = 0
        let raw = [UInt8](unsafeUninitializedCapacity: rawByteCount) { output, count in
            written = ZSTD_decompress(output.baseAddress, rawByteCount, frame.baseAddress, frame.count)
            count = written == rawByteCount ? rawByteCount : 0
        }
        return written == rawByteCount ? (raw, nil) : ([], .damaged)
    }
}
