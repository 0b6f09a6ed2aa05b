import CSodium
import Glibc
import PeerNet

/// What this machine can do at best with one connection, measured: the parts that nothing can leave out.
package enum MachineLimits {
    /// ChaCha20-Poly1305 of libsodium on one core, in bytes per second.
    package static func cipherRate(for duration: Duration) -> Double {
        _ = sodium_init()  // Chooses the fastest code for this processor.
        var message = [UInt8](repeating: 7, count: 64 << 10)
        var sealed = [UInt8](repeating: 0, count: message.count + Int(crypto_aead_chacha20poly1305_ietf_ABYTES))
        let key = Entropy.bytes(32)
        let nonce = [UInt8](repeating: 0, count: 12)
        let start = Loop.now
        var count = 0
        while Loop.now - start < duration {
            for _ in 0..<16 {
                crypto_aead_chacha20poly1305_ietf_encrypt(
                    &sealed, nil, message, UInt64(message.count), nil, 0, nil, nonce, key)
                // The result goes in again, so that no round can be left out.
                message[0] = sealed[0]
                count += message.count
            }
        }
        return Double(count) / (Loop.now - start).inSeconds
    }

    /// Plain TCP on loopback, one thread that writes and one that reads, in bytes per second; nil without sockets.
    package static func loopbackRate(for duration: Duration) -> Double? {
        guard let (sender, receiver) = connectedPair() else { return nil }
        var thread = pthread_t()
        // The thread owns the socket that it writes to until the other end closes.
        let argument = UnsafeMutableRawPointer(bitPattern: Int(sender) + 1)
        let started = pthread_create(
            &thread, nil,
            { argument in
                let socket = CInt(Int(bitPattern: argument) - 1)
                let bytes = [UInt8](repeating: 7, count: MachineLimits.bytesPerCall)
                while Glibc.send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL)) > 0 {}
                Glibc.close(socket)
                return nil
            }, argument)
        guard started == 0 else {
            Glibc.close(sender)
            Glibc.close(receiver)
            return nil
        }
        var buffer = [UInt8](repeating: 0, count: MachineLimits.bytesPerCall)
        let start = Loop.now
        var count = 0
        while Loop.now - start < duration {
            let got = Glibc.read(receiver, &buffer, buffer.count)
            guard got > 0 else { break }
            count += got
        }
        let seconds = (Loop.now - start).inSeconds
        Glibc.close(receiver)
        pthread_join(thread, nil)
        return Double(count) / seconds
    }

    private static let bytesPerCall = 128 << 10

    private static func connectedPair() -> (sender: CInt, receiver: CInt)? {
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        let sender = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isConnected = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &length) == 0
                    && connect(sender, $0, length) == 0
            }
        }
        let receiver = isConnected ? accept(listener, nil, nil) : -1
        guard receiver >= 0 else {
            Glibc.close(sender)
            return nil
        }
        return (sender, receiver)
    }
}
