/// Where a node stands in its sampling; stored in its snapshot, so that a restart continues the sequence.
package struct CorpusCursor: Hashable, Sendable {
    /// The seed of the sampling order.
    package let seed: UInt64
    /// Windows drawn so far, from all domains.
    package internal(set) var drawnCount: UInt64 = 0
    /// Windows drawn so far from each domain, by name. Domains that are new start at 0.
    var positions: [String: UInt64] = [:]

    /// Starts at the beginning of the sequence of a seed.
    package init(seed: UInt64) { self.seed = seed }

    /// Starts at the beginning of a sequence of its own for every byte string, such as a peer id with the number of the
    /// node's incarnation: nodes with the same data then train on it in different orders.
    package init(seedBytes: [UInt8]) { self.init(seed: ContentHash(of: seedBytes).uniform) }

    private static let version: UInt8 = 1
    /// Most domains of a corpus, and longest name of one: bounds on what a cursor's bytes may ask for.
    static let domainCountMax = 4096
    static let nameBytesMax = 1024

    /// The bytes that `init(decoding:)` reads: u8 version, u64 seed, u64 drawn, u16 domains; each u16 name length, name,
    /// u64 position; little-endian, domains in byte order of their names.
    package var encoded: [UInt8] {
        var bytes: [UInt8] = [Self.version]
        func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
        append(seed)
        append(drawnCount)
        append(UInt16(positions.count))
        for (name, position) in positions.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            append(UInt16(name.utf8.count))
            bytes += Array(name.utf8)
            append(position)
        }
        return bytes
    }

    /// Reads `encoded`; nil for anything else.
    package init?(decoding bytes: [UInt8]) {
        var rest = bytes[...]
        func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard count <= rest.count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }
        func integer(_ count: Int) -> UInt64? {
            take(count).map { $0.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        }
        guard integer(1) == UInt64(Self.version), let seed = integer(8), let drawn = integer(8),
            let count = integer(2), count <= Self.domainCountMax
        else { return nil }
        self.seed = seed
        drawnCount = drawn
        for _ in 0..<count {
            guard let length = integer(2), length <= Self.nameBytesMax, let nameBytes = take(Int(length)),
                let name = String(validating: nameBytes, as: UTF8.self), let position = integer(8),
                positions.updateValue(position, forKey: name) == nil
            else { return nil }
        }
        guard rest.isEmpty else { return nil }
    }
}
