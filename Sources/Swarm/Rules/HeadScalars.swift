import Compression
package import OuterSync
package import PeerNet

/// The scalars leaf of a head: what a head lists besides its tiles. Everybody derives it from the commit.
enum HeadScalars {
    private static let prefix = Array("atoll scalars 1\0".utf8)

    /// The bytes of the leaf after a commit.
    ///
    /// Layout: "atoll scalars 1\0", fragment u32, round u64, committed tokens u64, closed u8, voter count u32, the
    /// voters' keys ascending; integers little-endian.
    static func bytes(
        fragment: FragmentIndex, round: RoundIndex, tokens: UInt64, closed: Bool, voters: [PeerID]
    ) -> [UInt8] {
        var bytes = prefix
        append(UInt32(fragment.value), to: &bytes)
        append(round.value, to: &bytes)
        append(tokens, to: &bytes)
        bytes.append(closed ? 1 : 0)
        append(UInt32(voters.count), to: &bytes)
        for voter in voters { bytes += voter.publicKey }
        return bytes
    }

    /// The round in a leaf's bytes; nil if they are no leaf.
    static func round(in bytes: [UInt8]) -> RoundIndex? {
        let start = prefix.count + 4
        guard bytes.starts(with: prefix), bytes.count >= start + 8 else { return nil }
        return RoundIndex(bytes[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// The committed tokens in a leaf's bytes; nil if they are no leaf.
    static func tokens(in bytes: [UInt8]) -> UInt64? {
        let start = prefix.count + 12
        guard bytes.starts(with: prefix), bytes.count >= start + 8 else { return nil }
        return bytes[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

extension NodeCore {
    /// The scalars leaf of a fragment's genesis head: nothing committed, the founder is the only voter.
    ///
    /// - Parameter maker: who made the branch; nil: the swarm's founder.
    package static func genesisScalars(charter: Charter, maker: PeerID? = nil, fragment: FragmentIndex) -> [UInt8] {
        HeadScalars.bytes(
            fragment: fragment, round: RoundIndex(0), tokens: 0, closed: false, voters: [maker ?? charter.founder])
    }

    /// The round of a stored head, out of its scalars leaf; nil if the bytes are no such leaf.
    package static func round(ofScalars bytes: [UInt8]) -> RoundIndex? { HeadScalars.round(in: bytes) }

    /// The committed tokens behind a stored head, out of its scalars leaf; nil if the bytes are no such leaf.
    package static func tokens(ofScalars bytes: [UInt8]) -> UInt64? { HeadScalars.tokens(in: bytes) }
}

extension CommitValue {
    /// What the outer step of this value reads; `tokensBefore` are those behind its base.
    func step(tokensBefore: UInt64, shape: FragmentShape) -> OuterStepDescription {
        let exchange = Exchange(members, fragment: fragment, shape: shape)
        return OuterStepDescription(
            payloads: payloads.map { payload in
                CommittedPayload(
                    tiles: exchange.tiles(of: payload.owner),
                    shares: payload.contributors.positions.map { members[$0].share }, blob: payload.blob)
            }, scalars: scalars(tokensBefore: tokensBefore, shape: shape), kind: exchange.payloadKind,
            resultLevel: resultLevel)
    }

    /// The scalars leaf of the head that this value makes.
    func scalars(tokensBefore: UInt64, shape: FragmentShape) -> [UInt8] {
        HeadScalars.bytes(
            fragment: fragment, round: round, tokens: tokensBefore &+ tokens(most: shape.countedTokensMax),
            closed: closing, voters: voters)
    }

    /// The tiles whose payload counts the contribution of the member at `position`, ascending.
    func blendedTiles(of position: Int, shape: FragmentShape) -> [TileIndex] {
        let exchange = Exchange(members, fragment: fragment, shape: shape)
        return payloads.filter { $0.contributors.contains(position) }
            .flatMap { exchange.tiles(of: $0.owner) }.sorted()
    }
}
