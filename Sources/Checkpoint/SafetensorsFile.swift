import Glibc

/// An open safetensors file, read tensor by tensor; not mapped, so that a file that shrinks gives an error and no signal.
package final class SafetensorsFile {
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

    /// Reads a tensor as float32: F32 as it is, F16 and BF16 exactly, F64 rounded to nearest.
    ///
    /// - Parameter target: [tensor.count] float32.
    /// - Precondition: `tensor` is one of this file's header, and `target` has room for it.
    package func read(
        _ tensor: SafetensorsHeader.Tensor, into target: UnsafeMutableBufferPointer<Float>
    ) throws(CheckpointError) {
        precondition(target.count == tensor.count, "a tensor is read into as many floats as it has")
        let elementBytes = tensor.type.bits / 8
        // 64 Ki elements at a time keep the conversion in cache.
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: (1 << 16) * 8, alignment: 16)
        defer { chunk.deallocate() }
        var done = 0
        while done < tensor.count {
            let count = min(1 << 16, tensor.count - done)
            let raw = UnsafeMutableRawBufferPointer(rebasing: chunk[..<(count * elementBytes)])
            try fill(raw, from: dataOffset + tensor.range.lowerBound + done * elementBytes)
            let part = UnsafeMutableBufferPointer(rebasing: target[done..<(done + count)])
            guard Self.convert(UnsafeRawBufferPointer(raw), tensor.type, into: part) else {
                throw .unsupported(path: path, reason: "\(tensor.name) has the element type \(tensor.type.rawValue)")
            }
            done += count
        }
    }

    private func fill(_ buffer: UnsafeMutableRawBufferPointer, from offset: Int) throws(CheckpointError) {
        try Self.fill(buffer, descriptor, at: offset, path: path)
    }

    /// Converts little-endian elements; false for types that are no floating-point numbers or too small to matter.
    private static func convert(
        _ raw: UnsafeRawBufferPointer, _ type: ElementType, into target: UnsafeMutableBufferPointer<Float>
    ) -> Bool {
        func word<Word: FixedWidthInteger>(_ index: Int, _: Word.Type) -> Word {
            Word(littleEndian: raw.loadUnaligned(fromByteOffset: index * MemoryLayout<Word>.size, as: Word.self))
        }
        switch type {
        case .f32:
            for index in target.indices { target[index] = Float(bitPattern: word(index, UInt32.self)) }
        case .bf16:
            for index in target.indices { target[index] = Float(bitPattern: UInt32(word(index, UInt16.self)) << 16) }
        case .f16:
            for index in target.indices { target[index] = float(halfBits: word(index, UInt16.self)) }
        case .f64:
            for index in target.indices { target[index] = Float(Double(bitPattern: word(index, UInt64.self))) }
        case .f4, .f6E2M3, .f6E3M2, .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ, .i16, .u16,
            .i32, .u32, .c64, .i64, .u64:
            return target.isEmpty
        }
        return true
    }

    /// IEEE binary16 to binary32, exact; integer arithmetic, because Float16 is not available on every platform.
    static func float(halfBits bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let exponent = UInt32(bits >> 10) & 0x1f
        let fraction = UInt32(bits & 0x3ff)
        switch exponent {
        case 0:
            let magnitude = Float(fraction) * 0x1p-24
            return Float(bitPattern: magnitude.bitPattern | sign)
        case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
        default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
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
