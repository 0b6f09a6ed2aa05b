/// Positions among a round's members, as a bit set on the wire: bit i of byte i/8, no trailing zero byte.
struct MemberSet: Hashable, Sendable {
    /// The positions, strictly ascending.
    let positions: [Int]

    init(_ positions: some Sequence<Int>) { self.positions = Set(positions).sorted() }

    init(bytes: some Collection<UInt8>) throws(Refusal) {
        guard bytes.count <= (Limits.roundMembersMax + 7) / 8 else { throw Refusal("a member set is too long") }
        var positions: [Int] = []
        for (index, byte) in bytes.enumerated() {
            for bit in 0..<8 where byte >> bit & 1 == 1 { positions.append(8 * index + bit) }
        }
        self.positions = positions
    }

    var bytes: [UInt8] {
        guard let last = positions.last else { return [] }
        var bytes = [UInt8](repeating: 0, count: last / 8 + 1)
        for position in positions { bytes[position / 8] |= 1 << (position % 8) }
        return bytes
    }

    func contains(_ position: Int) -> Bool { positions.contains(position) }
}
