import Compression

/// What one owner's results of one fragment have left over of their means: error feedback on the way down.
///
/// It is in memory alone: heads follow from what was sent, so a restart, or a tile that moves to another owner, loses no more
/// than what one encoding left over.
struct OwnerFeedback {
    private let decay: Float
    private var residual: [Float]
    /// Per result that is not yet decided what it leaves over.
    private var leftOver: [Digest: SettledResidual] = [:]

    init(_ fragment: FragmentLayout.Fragment, decay: Float) {
        self.decay = decay
        residual = [Float](repeating: 0, count: fragment.parameterCount)
    }

    /// What is added to the next mean, [parameterCount] float32.
    var added: [Float] { decay == 1 ? residual : residual.map { decay * $0 } }

    /// A sum of mean and residual was encoded.
    ///
    /// - Parameter values: the sums, one tile after the other.
    mutating func encoded(
        _ values: [Float], as bytes: [UInt8], _ description: PayloadDescription, of fragment: FragmentLayout.Fragment,
        _ digest: Digest
    ) throws(PayloadError) {
        let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
        var rest = SettledResidual()
        var scratch: [Float] = []
        var offset = 0
        for (position, tile) in description.tiles.enumerated() {
            let count = fragment.tiles[tile.value].count
            let sums = values[offset..<offset + count]
            try bundle.decodeTile(position, scratch: &scratch) { decoded in
                rest.tiles[tile] = zip(sums, decoded).map { $0 - $1 }
            }
            offset += count
        }
        leftOver[digest] = rest
    }

    /// A round is decided by these payloads: what its other results would have left over never came to be.
    mutating func settle(_ step: OuterStepDescription, of fragment: FragmentLayout.Fragment) {
        // A gathered mean has no owners, and leaves nothing over.
        for payload in step.kind == .result ? step.payloads : [] {
            if let rest = leftOver[payload.blob.digest] {
                rest.write(into: &residual, of: fragment)
            } else {
                // Another member owns these tiles now: what was left over here is of an earlier time.
                for tile in payload.tiles where fragment.tiles.indices.contains(tile.value) {
                    for place in fragment.tiles[tile.value].range { residual[place] = 0 }
                }
            }
        }
        leftOver = [:]
    }
}
