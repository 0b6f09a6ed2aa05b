package import Compression

/// How a swarm's payloads are encoded: the charter's choice.
package struct PayloadEncoding: Hashable, Sendable {
    /// How contributions are encoded.
    package var contribution: Codec
    /// How an owner encodes the mean.
    package var result: Codec
    /// Decay of the contributors' error feedback, in [0, 1]; 0: none.
    package var feedback: Float
    /// Whether what encoding has left over stays in the contributors' live values, instead of apart.
    package var residualStaysLive: Bool

    /// Tiles of fewer parameters are norms and the like: codecs for large tensors would spoil them, and in half precision
    /// they would be a seventh of a sparse message of the nano model.
    package static let smallTileLength = 1024

    /// Wraps the fields.
    package init(contribution: Codec, result: Codec, feedback: Float = 0, residualStaysLive: Bool = false) {
        precondition(feedback >= 0 && feedback <= 1, "the charter has been checked")
        self.contribution = contribution
        self.result = result
        self.feedback = feedback
        self.residualStaysLive = residualStaysLive
    }

    /// One codec for both, without error feedback.
    package init(_ codec: Codec) { self.init(contribution: codec, result: codec) }

    /// The codec of each tile where the charter names one for all: what keeps few values, few bits or few ranks leaves
    /// small tiles, and low rank tiles that are no matrix, to E3M0.
    package static func codecs(_ codec: Codec, for tiles: [FragmentLayout.Tile]) -> [Codec] {
        tiles.map { tile in
            switch codec {
            case .float32, .float16, .e3m0: codec
            case .lowRank where tile.shape.rows == 1: .e3m0
            case .uniform, .statistical, .topK, .lowRank: tile.count < smallTileLength ? .e3m0 : codec
            }
        }
    }
}

extension PayloadDescription {
    /// Describes a payload in a codec of the charter (`PayloadEncoding.codecs`).
    package init(
        kind: Kind, charterCodec codec: Codec, fragment: FragmentLayout.Fragment, base: Digest, tiles: [TileIndex]
    ) {
        let known = tiles.filter { fragment.tiles.indices.contains($0.value) }.map { fragment.tiles[$0.value] }
        self.init(
            kind: kind, codecs: PayloadEncoding.codecs(codec, for: known), fragment: fragment.index, base: base,
            tiles: tiles)
    }
}
