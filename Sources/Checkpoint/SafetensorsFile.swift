import Glibc

/// An open safetensors file, read in blocks.
///
/// It is not mapped into memory: a mapped file that another program cuts short ends this process with SIGBUS, which only
/// a signal handler of the whole process could turn into an error. Read like this it gives an error. The cost is one copy
/// of the cached pages, which a mapping saves only where the file's bytes are used in place; here float32 values go
/// straight to where they are wanted.
package final class SafetensorsFile: Sendable {
    /// The path, for messages.
    package let path: String
    /// What the file holds.
    package let header: SafetensorsHeader
    private let descriptor: Int32
    private let dataOffset: Int

    /// Opens a file and checks its header against every rule of the format and against the file's size.
    package init(_ path: String) throws(CheckpointError) {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .file(FileError(.open, path, errno: errno)) }
        do {
            let size = try Self.size(of: descriptor, path: path)
            guard size >= 8 else { throw CheckpointError.damaged(path: path, reason: "it is too short") }
            let prefix = try Self.read(descriptor, at: 0, count: 8, path: path)
            guard let length = UInt64(littleEndianBytes: prefix), length <= SafetensorsHeader.byteCountMax,
                Int(length) <= size - 8
            else {
                throw CheckpointError.damaged(
                    path: path, reason: "it does not start with the length of a safetensors header")
            }
            dataOffset = 8 + Int(length)
            let text = try Self.read(descriptor, at: 8, count: Int(length), path: path)
            do { header = try SafetensorsHeader(parsing: text, dataByteCount: size - dataOffset) } catch {
                throw CheckpointError.damaged(path: path, reason: error.reason)
            }
        } catch let error as CheckpointError {
            close(descriptor)
            throw error
        } catch { preconditionFailure("opening a tensor file must throw a CheckpointError") }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Reads a tensor, or some of its elements, as float32: F32 as it is, F16 and BF16 exactly, F64 rounded to nearest.
    /// NaN and infinity are refused, as are types that are no such numbers.
    ///
    /// - Parameters:
    ///   - elements: which ones, in the order of the file; nil for all.
    ///   - target: one float32 per element. No more memory is taken than a small block.
    /// - Precondition: `tensor` is one of this file's header, and `target` has room for it.
    package func read(
        _ tensor: SafetensorsHeader.Tensor, _ elements: Range<Int>? = nil,
        into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        let elements = elements ?? 0..<tensor.count
        precondition(
            elements.upperBound <= tensor.count && target.count == elements.count,
            "elements of the tensor are read into as many floats")
        guard tensor.type.isReadable || elements.isEmpty else {
            throw .unsupported(path: path, reason: "\(tensor.name) has the element type \(tensor.type.rawValue)")
        }
        let elementBytes = tensor.type.bits / 8
        let isDirect = tensor.type == .f32
        let block = UnsafeMutableRawBufferPointer.allocate(
            byteCount: isDirect ? 0 : FloatConversion.blockCount * elementBytes, alignment: 16)
        defer { block.deallocate() }
        var done = 0
        while done < elements.count {
            let count = min(FloatConversion.blockCount, elements.count - done)
            let part = UnsafeMutableBufferPointer(rebasing: target[done..<(done + count)])
            let offset = dataOffset + tensor.range.lowerBound + (elements.lowerBound + done) * elementBytes
            if isDirect {
                try Self.fill(UnsafeMutableRawBufferPointer(part), descriptor, at: offset, path: path)
            } else {
                let raw = UnsafeMutableRawBufferPointer(rebasing: block[..<(count * elementBytes)])
                try Self.fill(raw, descriptor, at: offset, path: path)
                FloatConversion.widen(UnsafeRawBufferPointer(raw), tensor.type, into: part)
            }
            guard FloatConversion.areFinite(UnsafeBufferPointer(part)) else {
                throw .damaged(path: path, reason: "\(tensor.name) holds NaN or infinity")
            }
            done += count
        }
    }

    // MARK: Reading

    private static func size(of descriptor: Int32, path: String) throws(CheckpointError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .file(FileError(.inspect, path, errno: errno)) }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw .file(FileError(.read, path, errno: EISDIR)) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .damaged(path: path, reason: "it is not a plain file") }
        return Int(status.st_size)
    }

    private static func read(
        _ descriptor: Int32, at offset: Int, count: Int, path: String
    ) throws(CheckpointError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: CheckpointError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(CheckpointError) { try fill(buffer, descriptor, at: offset, path: path) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    private static func fill(
        _ buffer: UnsafeMutableRawBufferPointer, _ descriptor: Int32, at offset: Int, path: String
    ) throws(CheckpointError) {
        var filled = 0
        while filled < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset + filled))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .file(FileError(.read, path, errno: errno)) }
            guard count > 0 else { throw .damaged(path: path, reason: "it ends too early") }
            filled += count
        }
    }
}
