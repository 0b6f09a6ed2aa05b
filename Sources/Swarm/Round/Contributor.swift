import Compression
import OuterSync
import PeerNet

/// A contributor's part in one round, whatever the attempt: encode once per owner and tiles, offer in each attempt.
struct Contributor: Sendable {
    /// What a contribution is bound to, besides the round.
    struct Target: Hashable, Sendable {
        let owner: PeerID
        let tiles: [TileIndex]
    }

    private(set) var blobs: [Target: BlobReference] = [:]
    var isEncoding = false

    /// Blobs of at most this many targets are kept; those of earlier attempts make room.
    static let targetsMax = 4 * Limits.roundMembersMax

    mutating func add(_ blob: BlobReference, for target: Target) {
        if blobs.count >= Self.targetsMax { blobs = [:] }
        blobs[target] = blob
    }

    func blob(for target: Target) -> BlobReference? { blobs[target] }
}
