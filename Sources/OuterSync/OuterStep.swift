package import Compression
import NumericsBaseline

extension FragmentHead {
    /// Why a commit gives no head.
    package enum StepError: Error, Hashable, Sendable, CustomStringConvertible {
        /// A payload is not here.
        case missingPayload(Digest)
        /// A payload is not what the commit says.
        case badPayload(Digest, PayloadError)
        /// Two payloads of the commit hold the same tile.
        case tileTwice(TileIndex)

        /// The rule that was broken, in words.
        package var description: String {
            switch self {
            case .missingPayload(let digest): "payload \(digest.short) is not here"
            case .badPayload(let digest, let error): "payload \(digest.short): \(error)"
            case .tileTwice(let tile): "tile \(tile.value) is in two payloads of one commit"
            }
        }
    }

    /// The head after one final commit: for every tile in a payload v = mu v + Delta; Theta = Theta - eta (Delta + mu v),
    /// and its version advances; every other tile keeps its bits.
    ///
    /// - Parameters:
    ///   - step: what the commit says.
    ///   - payload: the bytes of a payload, or nil if they are not here.
    /// - Complexity: O(parameters); allocates the new head, and leaves of untouched tiles are not hashed again.
    /// - SeeAlso: Sutskever et al. 2013 as PyTorch's SGD writes Nesterov; Douillard et al., DiLoCo (arXiv:2311.08105).
    package func advanced(
        by step: OuterStepDescription, rule: OuterRule, codec: Codec, fragment: FragmentLayout.Fragment,
        payload: (Digest) -> [UInt8]?
    ) throws(StepError) -> FragmentHead {
        var theta = self.theta
        var velocity = self.velocity
        var versions = self.versions
        var leaves: [Digest?] = self.leaves
        var scratch: [Float] = []
        if let tile = Self.repeatedTile(step.payloads) { throw .tileTwice(tile) }
        for committed in step.payloads {
            let digest = committed.blob.digest
            guard let bytes = payload(digest) else { throw .missingPayload(digest) }
            let description = PayloadDescription(
                kind: .result, codec: codec, fragment: fragment.index, base: self.digest, tiles: committed.tiles)
            do throws(PayloadError) {
                let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
                for (position, index) in committed.tiles.enumerated() {
                    let tile = bundle.tiles[position]
                    try bundle.decodeTile(position, scratch: &scratch) { delta in
                        rule.apply(delta, theta: &theta, velocity: &velocity, at: tile.offset)
                    }
                    versions[index.value] &+= 1
                    leaves[index.value] = nil
                }
            } catch { throw .badPayload(digest, error) }
        }
        return FragmentHead(
            theta: theta, velocity: velocity, versions: versions, scalars: step.scalars, fragment: fragment,
            knownLeaves: leaves)
    }

    /// A tile that two payloads claim.
    private static func repeatedTile(_ payloads: [CommittedPayload]) -> TileIndex? {
        var seen: Set<TileIndex> = []
        for payload in payloads {
            for tile in payload.tiles where !seen.insert(tile).inserted { return tile }
        }
        return nil
    }
}

extension OuterRule {
    /// One Nesterov step on the parameters that start at `offset`.
    func apply(_ delta: UnsafeBufferPointer<Float>, theta: inout [Float], velocity: inout [Float], at offset: Int) {
        precondition(
            offset >= 0 && offset + delta.count <= theta.count && velocity.count == theta.count,
            "a tile must lie inside its fragment")
        guard let source = delta.baseAddress else { return }
        theta.withUnsafeMutableBufferPointer { theta in
            velocity.withUnsafeMutableBufferPointer { velocity in
                guard let theta = theta.baseAddress, let velocity = velocity.baseAddress else { return }
                commitOuterStep(
                    theta: theta + offset, velocity: velocity + offset, delta: source, count: delta.count,
                    learningRate: learningRate, momentum: momentum)
            }
        }
    }
}
