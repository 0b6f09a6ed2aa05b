package import Compression

/// The newest state of a fragment, as every node holds it bit for bit.
package struct FragmentHead: Hashable, Sendable {
    /// The shared parameters Theta, in the fragment's order.
    package let theta: [Float]
    /// The outer momentum v, in the same order.
    package let velocity: [Float]
    /// Per tile, how many final commits moved it.
    package let versions: [UInt32]
    /// The scalars leaf, opaque here (round, committed tokens, slot, voters: Swarm writes it).
    package let scalars: [UInt8]
    /// Per tile the digest of its chunk.
    package let leaves: [Digest]
    /// The head's hash: the root over the scalars and the leaves.
    package let digest: Digest

    /// The head before the first round: seeded parameters, no momentum, no version.
    package init(genesis theta: [Float], scalars: [UInt8], fragment: FragmentLayout.Fragment) {
        self.theta = theta
        velocity = [Float](repeating: 0, count: theta.count)
        versions = [UInt32](repeating: 0, count: fragment.tiles.count)
        self.scalars = scalars
        leaves = []
        digest = Digest(hashing: [])
    }

    /// The head as one self-checking byte string, for a `HeadStore`.
    package func encoded(fragment: FragmentLayout.Fragment) -> [UInt8] { [] }

    /// Reads what `encoded` wrote; nil if torn, changed or of another layout.
    package init?(decoding bytes: [UInt8], fragment: FragmentLayout.Fragment) { return nil }
}

extension SnapshotManifest {
    /// The digest of the head that the manifest describes.
    package var headDigest: Digest { Digest(hashing: scalars) }
}
