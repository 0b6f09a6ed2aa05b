import OuterSync
import PeerNet

/// How the contributions of one round become payloads: everybody finds the same from the charter and the members alone.
enum Exchange: Hashable, Sendable {
    /// Every tile has an owner, who averages it and publishes the encoded mean.
    case scatter(Ownership)
    /// Every contributor publishes its contribution for all tiles, and everybody averages them: no mean is encoded.
    case gather(contributors: [Int], tileCount: Int)

    init(_ members: [CommitMember], fragment: FragmentIndex, shape: FragmentShape) {
        if members.count <= shape.gatherMembersMax {
            let contributors = members.indices.filter { members[$0].share.tokens > 0 }
            self = .gather(contributors: contributors, tileCount: shape.tileCount)
        } else {
            self = .scatter(Ownership(members, fragment: fragment, tileCount: shape.tileCount))
        }
    }

    var isGather: Bool { if case .gather = self { true } else { false } }

    /// Positions of the members that publish a payload, ascending.
    var positions: [Int] {
        switch self {
        case .scatter(let ownership): ownership.positions
        case .gather(let contributors, _): contributors
        }
    }

    /// The tiles of the payload of the member at `position`, ascending.
    func tiles(of position: Int) -> [TileIndex] {
        switch self {
        case .scatter(let ownership): ownership.tiles(of: position)
        case .gather(_, let tileCount): (0..<tileCount).map { TileIndex($0) }
        }
    }

    /// Whether the payload of the member at `position` may be of these contributors.
    func allows(_ contributors: MemberSet, of position: Int) -> Bool {
        switch self {
        case .scatter: true
        case .gather: contributors.positions.allSatisfy { $0 == position }
        }
    }

    /// What the payloads are.
    var payloadKind: PayloadDescription.Kind { isGather ? .contribution : .result }
}
