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
    /// What may take the place of the two, each coarser than the one before: finer codecs for layers that need it, coarser
    /// ones for layers that do not and for slow links. Empty: nothing.
    package var ladder: [Codec]
    /// Decay of the owners' error feedback, in [0, 1]; 0: owners keep nothing of what encoding a mean leaves over.
    package var ownerFeedback: Float

    /// Tiles of fewer parameters are norms and the like: codecs for large tensors would spoil them, and in half precision
    /// they would be a seventh of a sparse message of the nano model.
    package static let smallTileLength = 1024

    /// Wraps the fields.
    package init(
        contribution: Codec, result: Codec, feedback: Float = 0, residualStaysLive: Bool = false, ladder: [Codec] = [],
        ownerFeedback: Float = 0
    ) {
        precondition(
            feedback >= 0 && feedback <= 1 && ownerFeedback >= 0 && ownerFeedback <= 1, "the charter has been checked")
        self.contribution = contribution
        self.result = result
        self.feedback = feedback
        self.residualStaysLive = residualStaysLive
        self.ladder = ladder
        self.ownerFeedback = ownerFeedback
    }

    /// One codec for both, without error feedback.
    package init(_ codec: Codec) { self.init(contribution: codec, result: codec) }

    /// The codecs that a contribution's tiles may have, the finest first.
    package var contributionCodecs: [Codec] {
        ([contribution] + ladder).sorted { Self.fullTileByteCount($0) > Self.fullTileByteCount($1) }
    }

    /// The codecs that a round's results may have, the finest first; a round has one of them, its level.
    ///
    /// Owners that may have to send coarsely keep what they have not sent of a mean, and add it to the next one.
    package var resultCodecs: [Codec] {
        [result] + ladder.filter { Self.fullTileByteCount($0) < Self.fullTileByteCount(result) }
    }

    /// The bytes of a full tile, by which codecs are called finer and coarser.
    package static func fullTileByteCount(_ codec: Codec) -> Int {
        codec.byteCount(of: TileShape(count: FragmentLayout.tileLength, columns: Codec.blockLength))
    }

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
