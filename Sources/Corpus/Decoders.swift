import CZlib
import CZstd

/// What one call of a decoder took and gave.
struct DecoderStep {
    let consumed: Int
    let produced: Int
}

/// Decompresses a format, a part of the input and a part of the output at a time.
protocol StreamDecoder: AnyObject {
    /// Whether what was begun is complete and given out, so that the input may end here.
    var isComplete: Bool { get }
    /// Takes some of the input and gives some output; neither where the input is too short.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(Unreadable) -> DecoderStep
}

/// Decompresses gzip (RFC 1952), any number of members after each other; zeros may follow, as on tapes.
final class GzipDecoder: StreamDecoder {
    /// zlib's state points back at this, so it must not move; owned here alone and freed in `deinit`.
    private let stream: UnsafeMutablePointer<z_stream>
    private var memberCount = 0
    private(set) var isComplete = false

    init() throws(Unreadable) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, all that the format has, and 16 for gzip alone, not zlib.
        guard inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw Unreadable("there is no memory for decompression")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(Unreadable) -> DecoderStep {
        var skipped = 0
        if isComplete {
            skipped = input.firstIndex { $0 != 0 } ?? input.count
            guard skipped < input.count else { return DecoderStep(consumed: skipped, produced: 0) }
            inflateReset(stream)
            isComplete = false
        }
        let rest = UnsafeRawBufferPointer(rebasing: input[skipped...])
        // zlib does not write to its input, but its C type has no const.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: rest.bindMemory(to: UInt8.self).baseAddress)
        stream.pointee.avail_in = UInt32(clamping: rest.count)
        stream.pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let result = inflate(stream, Z_NO_FLUSH)
        switch result {
        case Z_STREAM_END:
            isComplete = true
            memberCount += 1
        case Z_OK, Z_BUF_ERROR: break
        default:
            let reason = stream.pointee.msg.map { String(cString: $0) } ?? "error \(result)"
            throw Unreadable(
                memberCount > 0 && stream.pointee.total_out == 0
                    ? "something else follows the gzip data" : "its gzip data is damaged (\(reason))")
        }
        return DecoderStep(
            consumed: skipped + min(rest.count, Int(UInt32.max)) - Int(stream.pointee.avail_in),
            produced: min(output.count, Int(UInt32.max)) - Int(stream.pointee.avail_out))
    }
}

/// Decompresses Zstandard (RFC 8878), any number of frames after each other. Windows above 128 MiB are refused, as the
/// command `zstd` does: they bound the memory.
final class ZstdDecoder: StreamDecoder {
    /// Owned here alone and freed in `deinit`.
    private let context: OpaquePointer
    private(set) var isComplete = false

    init() throws(Unreadable) {
        guard let context = ZSTD_createDCtx() else { throw Unreadable("there is no memory for decompression") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(Unreadable) -> DecoderStep {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let result = ZSTD_decompressStream(context, &target, &source)
        guard ZSTD_isError(result) == 0 else {
            throw Unreadable("its zstd data is damaged (\(String(cString: ZSTD_getErrorName(result))))")
        }
        isComplete = result == 0
        return DecoderStep(consumed: source.pos, produced: target.pos)
    }
}
