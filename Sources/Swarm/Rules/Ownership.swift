import OuterSync
import PeerNet

/// Which member aggregates which tile: weighted rendezvous on (tile, rate class). It does not depend on the round, so
/// ownership is sticky; a member with k times the tickets owns k times the tiles on average.
///
/// Each member has some tickets per tile; the tile goes to the highest. A class is one factor of two in rate, so tickets
/// double from class to class: 4 for the members' median class, 16 at most, so that of three and
/// more nobody gets all tiles by claiming a fast link (of two the faster one owns them if it is four times as fast); none below a quarter of the median's rate. Integers only: every member must find the same owners.
/// O(tiles x members).
struct Ownership: Hashable, Sendable {
    /// Per tile the owner's position among the members.
    let owners: [Int]

    init(members: [(peer: PeerID, rateClass: UInt32)], fragment: FragmentIndex, tileCount: Int) {
        let seeds = members.map { $0.peer.publicKey.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self).littleEndian } }
        let tickets = Self.tickets(members.map(\.rateClass))
        owners = (0..<tileCount).map { tile in
            let cell = Self.mix(UInt64(fragment.value) << 32 | UInt64(tile))
            var best = 0
            var highest: UInt64 = 0
            for position in members.indices {
                for ticket in 0..<tickets[position] {
                    let score = Self.mix(cell ^ Self.mix(seeds[position] &+ ticket))
                    if score > highest {
                        highest = score
                        best = position
                    }
                }
            }
            return best
        }
    }

    /// Per member its tickets; the one at the median has some, so somebody owns every tile.
    static func tickets(_ classes: [UInt32]) -> [UInt64] {
        guard !classes.isEmpty else { return [] }
        let median = Int(classes.sorted()[classes.count / 2])
        return classes.map { rateClass in
            switch Int(rateClass) - median {
            case 2...: 16
            case 1: 8
            case 0: 4
            case -1: 2
            case -2: 1
            default: 0
            }
        }
    }

    init(_ members: [CommitMember], fragment: FragmentIndex, tileCount: Int) {
        self.init(members: members.map { ($0.peer, $0.rateClass) }, fragment: fragment, tileCount: tileCount)
    }

    /// The tiles of the member at `position`, ascending.
    func tiles(of position: Int) -> [TileIndex] {
        owners.indices.filter { owners[$0] == position }.map { TileIndex($0) }
    }

    /// Positions that own at least one tile, ascending.
    var positions: [Int] { Set(owners).sorted() }

    /// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
