import Glibc

/// BLAKE2b-256 of a file, hexadecimal, as `b2sum -l 256` prints it.
///
/// - Parameter isCancelled: asked after every block; then the result is nil.
package func fileHash(_ path: String, isCancelled: () -> Bool = { false }) throws(FileError) -> String? {
    // A pipe in place of a file must not hang here.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileError(.open, path, errno: errno) }
    defer { close(descriptor) }
    var checksum = Checksum(byteCount: 32)
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { block.deallocate() }
    while true {
        if isCancelled() { return nil }
        let count = read(descriptor, block.baseAddress, block.count)
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw FileError(.read, path, errno: errno) }
        if count == 0 { return hexadecimal(checksum.finalize()) }
        checksum.update(UnsafeRawBufferPointer(rebasing: block[..<count]))
    }
}

/// Two digits per byte.
func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let digits = String(byte, radix: 16)
        return byte < 16 ? "0" + digits : digits
    }.joined()
}
