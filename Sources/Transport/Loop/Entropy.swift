import CSodium

/// The system's randomness, for keys and jitter.
enum Entropy {
    /// Fresh random bytes.
    static func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let target = buffer.baseAddress { randombytes_buf(target, count) }
            initialized = count
        }
    }

    /// A random number of 64 bits.
    static func number() -> UInt64 {
        bytes(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A random number in [0, 1).
    static func fraction() -> Double { Double(randombytes_random()) / 4_294_967_296 }
}
