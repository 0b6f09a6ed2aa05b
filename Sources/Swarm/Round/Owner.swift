import Compression
import OuterSync
import PeerNet

/// An owner's part in one attempt: gather the contributions for its tiles, aggregate once.
struct Owner: Sendable {
    enum Phase: Hashable, Sendable { case gathering, aggregating, done }

    let id: AttemptID
    let tiles: [TileIndex]
    /// Positions of the members that have something to contribute, ascending.
    let expected: [Int]
    let started: Moment
    var phase = Phase.gathering
    var isOverdue = false
    var extensions = 0
    private(set) var offers: [Int: BlobReference] = [:]

    init(id: AttemptID, tiles: [TileIndex], expected: [Int], at now: Moment) {
        self.id = id
        self.tiles = tiles
        self.expected = expected
        started = now
    }

    /// Takes an offer; false if it is not wanted. The first one of a member counts.
    mutating func add(_ blob: BlobReference, from position: Int) -> Bool {
        guard expected.contains(position), offers[position] == nil else { return false }
        offers[position] = blob
        return true
    }

    /// The contributions to aggregate, in member order, if it is time; empty when the owner gives up waiting.
    func selection(isHeld: (BlobReference) -> Bool) -> [Int]? {
        guard phase == .gathering else { return nil }
        let arrived = expected.filter { position in offers[position].map { isHeld($0) } ?? false }
        if arrived == expected { return arrived }
        guard isOverdue else { return nil }
        return arrived.isEmpty && extensions < Self.extensionsMax ? nil : arrived
    }

    /// How often an owner to whom nothing has come waits for another deadline before it says so.
    static let extensionsMax = 2
}
