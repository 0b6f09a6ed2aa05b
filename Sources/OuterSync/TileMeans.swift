import Compression

/// The mean outer gradients of one commit, tile by tile: decoded from its owners' results, or averaged here from the
/// contributions that it gathers.
struct TileMeans {
    private enum Source {
        case results([(digest: Digest, bundle: PayloadBundle)])
        /// [parameterCount] float32.
        case average([Float])
    }

    /// The tiles that move, in commit order.
    let tiles: [(index: TileIndex, tile: FragmentLayout.Tile)]
    private let source: Source

    /// Unpacks the payloads, and averages them where they are contributions.
    ///
    /// - Complexity: O(parameters × contributions); a gathered mean holds the unpacked contributions and one fragment.
    init(
        _ step: OuterStepDescription, rule: OuterRule, codec: Codec, fragment: FragmentLayout.Fragment, base: Digest,
        payload: (Digest) -> [UInt8]?
    ) throws(FragmentHead.StepError) {
        switch step.kind {
        case .result:
            let results = try Self.results(step.payloads, codec, fragment, base: base, payload: payload)
            source = .results(results)
            tiles = results.flatMap { zip($0.bundle.description.tiles, $0.bundle.tiles) }.map { ($0, $1) }
        case .contribution:
            guard !step.payloads.isEmpty else {
                (source, tiles) = (.average([]), [])
                return
            }
            source = .average(try Self.average(step.payloads, rule, codec, fragment, base: base, payload: payload))
            tiles = fragment.tiles.enumerated().map { (TileIndex($0), $1) }
        }
    }

    /// Calls `body` with every tile's mean, in commit order.
    func forEach(
        _ body: (FragmentLayout.Tile, UnsafeBufferPointer<Float>) -> Void
    ) throws(FragmentHead.StepError) {
        switch source {
        case .results(let results):
            var scratch: [Float] = []
            for (digest, bundle) in results {
                do throws(PayloadError) {
                    for (position, tile) in bundle.tiles.enumerated() {
                        try bundle.decodeTile(position, scratch: &scratch) { body(tile, $0) }
                    }
                } catch { throw .badPayload(digest, error) }
            }
        case .average(let values):
            values.withUnsafeBufferPointer { values in
                for (_, tile) in tiles { body(tile, UnsafeBufferPointer(rebasing: values[tile.range])) }
            }
        }
    }

    private static func results(
        _ payloads: [CommittedPayload], _ codec: Codec, _ fragment: FragmentLayout.Fragment, base: Digest,
        payload: (Digest) -> [UInt8]?
    ) throws(FragmentHead.StepError) -> [(digest: Digest, bundle: PayloadBundle)] {
        if let tile = repeatedTile(payloads) { throw .tileTwice(tile) }
        var results: [(digest: Digest, bundle: PayloadBundle)] = []
        for committed in payloads {
            let digest = committed.blob.digest
            guard let bytes = payload(digest) else { throw .missingPayload(digest) }
            let description = PayloadDescription(
                kind: .result, charterCodec: codec, fragment: fragment, base: base, tiles: committed.tiles)
            do throws(PayloadError) {
                let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
                try bundle.checkResult()
                results.append((digest, bundle))
            } catch { throw .badPayload(digest, error) }
        }
        return results
    }

    /// A tile that two payloads claim.
    private static func repeatedTile(_ payloads: [CommittedPayload]) -> TileIndex? {
        var seen: Set<TileIndex> = []
        for payload in payloads {
            for tile in payload.tiles where !seen.insert(tile).inserted { return tile }
        }
        return nil
    }

    /// Every contribution must be fit: voters ack a commit only where all of its payloads are.
    private static func average(
        _ payloads: [CommittedPayload], _ rule: OuterRule, _ codec: Codec, _ fragment: FragmentLayout.Fragment,
        base: Digest, payload: (Digest) -> [UInt8]?
    ) throws(FragmentHead.StepError) -> [Float] {
        let tiles = fragment.tiles.indices.map(TileIndex.init)
        var contributions: [Aggregation.Contribution] = []
        for (position, committed) in payloads.enumerated() {
            let digest = committed.blob.digest
            guard committed.tiles == tiles, committed.shares.count == 1 else {
                throw .unfitContribution(digest, reason: "it is not one member's for all tiles")
            }
            guard let bytes = payload(digest) else { throw .missingPayload(digest) }
            contributions.append(.init(member: position, share: committed.shares[0], bytes: bytes))
        }
        var aggregation = Aggregation(fragment: fragment, codec: codec, base: base, tiles: tiles, rule: rule)
        var mean: [Float] = []
        mean.reserveCapacity(fragment.parameterCount)
        let refused: [RefusedContribution]
        do throws(PayloadError) {
            refused = try aggregation.average(contributions) { _, values in mean.append(contentsOf: values) }
        } catch { throw .unfitContribution(payloads[0].blob.digest, reason: error.description) }
        if let first = refused.first {
            throw .unfitContribution(payloads[first.member].blob.digest, reason: first.reason)
        }
        return mean
    }
}
