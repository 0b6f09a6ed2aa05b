package import Compression

/// The newest state of a fragment, as every node holds it bit for bit.
///
/// A value: an outer step makes a new one, so a head that was handed out never changes. Heads with equal digests are
/// equal.
package struct FragmentHead: Hashable, Sendable {
    /// The shared parameters Theta, in the fragment's order.
    package let theta: [Float]
    /// The outer momentum v, in the same order.
    package let velocity: [Float]
    /// Per tile, how many final commits moved it.
    package let versions: [UInt32]
    /// The scalars leaf, opaque here (round, committed tokens, slot, voters: Swarm writes it).
    package let scalars: [UInt8]
    /// What the rule for late means remembers of past steps.
    package let drift: OuterDrift
    /// Per tile the digest of its chunk.
    package let leaves: [Digest]
    /// The head's hash: the root over the scalars and the leaves.
    package let digest: Digest

    /// The head before the first round: seeded parameters, no momentum, no tile ever moved.
    package init(genesis theta: [Float], scalars: [UInt8], fragment: FragmentLayout.Fragment) {
        self.init(
            theta: theta, velocity: [Float](repeating: 0, count: theta.count),
            versions: [UInt32](repeating: 0, count: fragment.tiles.count), scalars: scalars, fragment: fragment)
    }

    /// A head from its parts; hashes every tile whose leaf is not known.
    ///
    /// - Parameter knownLeaves: per tile the leaf where it is known; empty: none is.
    /// - Complexity: O(parameters) hashing, about 1 GB/s.
    init(
        theta: [Float], velocity: [Float], versions: [UInt32], scalars: [UInt8], drift: OuterDrift = .none,
        fragment: FragmentLayout.Fragment, knownLeaves: [Digest?] = []
    ) {
        precondition(
            theta.count == fragment.parameterCount && velocity.count == theta.count
                && versions.count == fragment.tiles.count, "a head must have its fragment's shape")
        var leaves: [Digest] = []
        leaves.reserveCapacity(versions.count)
        for (index, tile) in fragment.tiles.enumerated() {
            if index < knownLeaves.count, let known = knownLeaves[index] {
                leaves.append(known)
            } else {
                leaves.append(
                    TileChunk.leaf(version: versions[index], theta: theta[tile.range], velocity: velocity[tile.range]))
            }
        }
        self.theta = theta
        self.velocity = velocity
        self.versions = versions
        self.scalars = scalars
        self.drift = drift
        self.leaves = leaves
        digest = headDigest(scalars: scalars, drift: drift, leaves: leaves)
    }

    /// The chunk of one tile, as it is hashed, stored and sent to joiners.
    package func chunk(_ index: TileIndex, of fragment: FragmentLayout.Fragment) -> [UInt8] {
        let tile = fragment.tiles[index.value]
        return TileChunk.encode(
            version: versions[index.value], theta: theta[tile.range], velocity: velocity[tile.range])
    }

    /// Equal digests are equal heads.
    package static func == (left: Self, right: Self) -> Bool { left.digest == right.digest }

    /// Hashes the digest.
    package func hash(into hasher: inout Hasher) { hasher.combine(digest) }
}

/// The root of a head's tree: BLAKE2b-256("atoll head 1" | BLAKE2b-256(scalars) | drift | leaves in tile order), where the
/// drift's two float64 stand only if one of them is not 0.
func headDigest(scalars: [UInt8], drift: OuterDrift, leaves: [Digest]) -> Digest {
    var hasher = DigestHasher()
    hasher.update(Array("atoll head 1".utf8))
    hasher.update(Digest(hashing: scalars).bytes)
    if drift != .none {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: drift)
        hasher.update(bytes)
    }
    for leaf in leaves { hasher.update(leaf.bytes) }
    return hasher.finalize()
}

extension SnapshotManifest {
    /// The digest of the head that the manifest describes; equal to a head's own exactly if every leaf and the scalars are.
    package var headDigest: Digest {
        OuterSync.headDigest(scalars: scalars, drift: drift, leaves: tiles.map(\.digest))
    }

    /// Whether the manifest has the shape of a fragment: one chunk per tile, each of its exact size.
    package func fits(_ fragment: FragmentLayout.Fragment) -> Bool {
        tiles.count == fragment.tiles.count
            && zip(tiles, fragment.tiles).allSatisfy { $0.byteCount == TileChunk.byteCount(ofParameters: $1.count) }
    }
}
