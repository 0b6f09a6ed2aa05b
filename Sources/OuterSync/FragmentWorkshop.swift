package import Compression
import NumericsBaseline

/// Holds the heads of one node and does the arithmetic that its core asks for, against the driver's stores.
///
/// Not `Sendable`: one owner, an actor or one simulated node, makes it and calls it, one call at a time. The heads that
/// it hands out are values and may go anywhere. A job runs on the caller's thread and blocks it for as long as the
/// arithmetic and the stores' durable writes take, so the daemon gives it an executor of its own beside training.
/// Memory beside the heads: per fragment one live copy per undecided contribution, and one head per candidate.
package final class FragmentWorkshop {
    /// The cut of the model.
    package let layout: FragmentLayout
    private let codec: Codec
    private let rule: OuterRule
    private let blobs: any BlobStore
    private let headStore: any HeadStore
    private var heads: [FragmentHead]
    /// Heads that outer steps gave and that no commit has made final, by fragment and digest.
    private var candidates: [FragmentIndex: [Digest: FragmentHead]] = [:]
    /// Live copies whose contribution is undecided.
    private var snapshots: [SnapshotKey: LiveCopy] = [:]

    private struct SnapshotKey: Hashable {
        var fragment: FragmentIndex
        var round: RoundIndex
    }

    private struct LiveCopy {
        var live: [Float]
        /// The head that was current when the copy was taken: the only base that it may be measured against.
        var base: Digest
    }

    /// Makes a workshop from the heads of all fragments: genesis ones, or those that a `HeadStore` kept.
    ///
    /// - Precondition: one head per fragment, in order, of that fragment's shape.
    package init(
        layout: FragmentLayout, codec: Codec, rule: OuterRule, heads: [FragmentHead], blobs: any BlobStore,
        headStore: any HeadStore
    ) {
        precondition(
            heads.count == layout.fragments.count
                && zip(heads, layout.fragments).allSatisfy { $0.theta.count == $1.parameterCount },
            "every fragment must have its head")
        self.layout = layout
        self.codec = codec
        self.rule = rule
        self.blobs = blobs
        self.headStore = headStore
        self.heads = heads
    }

    /// The current head of a fragment.
    package func head(_ fragment: FragmentIndex) -> FragmentHead { heads[fragment.value] }

    /// The current heads, by fragment.
    package var currentHeads: [FragmentHead] { heads }

    /// Keeps a copy of the live fragment, taken at a step boundary, under (fragment, round), bound to the current head.
    ///
    /// - Parameter live: [parameterCount] float32 in the fragment's order (`FragmentLayout.Fragment.gather`).
    package func keepSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, live: [Float]) {
        precondition(live.count == heads[fragment.value].theta.count, "a live copy must have its fragment's shape")
        snapshots[SnapshotKey(fragment: fragment, round: round)] = LiveCopy(
            live: live, base: heads[fragment.value].digest)
    }

    /// Forgets such a copy; nothing happens if there is none.
    package func releaseSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex) {
        snapshots[SnapshotKey(fragment: fragment, round: round)] = nil
    }

    /// Does one job.
    package func run(_ job: Job) -> JobResult {
        guard let fragment = layout.fragment(job.fragment) else {
            return .failed(reason: "there is no fragment \(job.fragment.value)")
        }
        do throws(JobFailure) {
            switch job {
            case .encodeContribution(_, let round, let assignment):
                return .contributionEncoded(try encodeContribution(fragment, round, assignment))
            case .aggregate(_, _, let tiles, let contributions):
                return try aggregate(fragment, tiles, contributions)
            case .outerStep(_, let base, let step):
                return .outerStepped(head: try outerStep(fragment, base, step))
            case .adopt(_, let head):
                try adopt(fragment, head)
                return .adopted
            case .discard(let index, let head):
                candidates[index]?[head] = nil
                return .discarded
            case .captureSnapshot(let index):
                return .snapshotCaptured(try captureSnapshot(fragment, heads[index.value]))
            case .installSnapshot(_, let manifest):
                return .snapshotInstalled(head: try install(fragment, manifest))
            }
        } catch { return .failed(reason: error.reason) }
    }
}

/// Why a job could not be done.
private struct JobFailure: Error {
    var reason: String
    init(_ reason: String) { self.reason = reason }
}

extension Job {
    /// The fragment that the job is about.
    package var fragment: FragmentIndex {
        switch self {
        case .encodeContribution(let fragment, _, _), .aggregate(let fragment, _, _, _), .outerStep(let fragment, _, _),
            .adopt(let fragment, _), .discard(let fragment, _), .captureSnapshot(let fragment),
            .installSnapshot(let fragment, _):
            fragment
        }
    }
}

// MARK: - Contributions

extension FragmentWorkshop {
    /// Encodes base minus live, once per owner.
    private func encodeContribution(
        _ fragment: FragmentLayout.Fragment, _ round: RoundIndex, _ assignment: [[TileIndex]]
    ) throws(JobFailure) -> [BlobReference?] {
        let head = heads[fragment.index.value]
        guard let copy = snapshots[SnapshotKey(fragment: fragment.index, round: round)] else {
            throw JobFailure("no live copy is kept for fragment \(fragment.index.value), round \(round.value)")
        }
        guard copy.base == head.digest else {
            throw JobFailure("the live copy was taken against head \(copy.base.short), not \(head.digest.short)")
        }
        var references: [BlobReference?] = []
        for tiles in assignment {
            guard !tiles.isEmpty else {
                references.append(nil)
                continue
            }
            references.append(try store(encode(head, copy.live, tiles, fragment)))
        }
        return references
    }

    /// One owner's payload.
    private func encode(
        _ head: FragmentHead, _ live: [Float], _ tiles: [TileIndex], _ fragment: FragmentLayout.Fragment
    ) throws(JobFailure) -> [UInt8] {
        do throws(PayloadError) {
            return try OuterSync.encodeContribution(head: head, live: live, tiles: tiles, of: fragment, codec: codec)
        } catch { throw JobFailure("the outer gradient cannot be encoded: \(error)") }
    }

    /// Averages what has arrived and encodes the mean.
    private func aggregate(
        _ fragment: FragmentLayout.Fragment, _ tiles: [TileIndex], _ references: [ContributionReference]
    ) throws(JobFailure) -> JobResult {
        var aggregation = Aggregation(
            fragment: fragment, codec: codec, base: heads[fragment.index.value].digest, tiles: tiles, rule: rule)
        let contributions = references.map { reference in
            Aggregation.Contribution(
                member: reference.member, share: reference.share, bytes: blobs.read(reference.blob.digest))
        }
        let outcome: Aggregation.Outcome
        do throws(PayloadError) {
            outcome = try aggregation.run(contributions)
        } catch { throw JobFailure(error.description) }
        guard let result = outcome.result else {
            let reasons = outcome.refused.map { "member \($0.member): \($0.reason)" }
            throw JobFailure("no contribution can be averaged: " + reasons.joined(separator: "; "))
        }
        return .aggregated(blob: try store(result), members: outcome.members, refused: outcome.refused)
    }

    private func store(_ bytes: [UInt8]) throws(JobFailure) -> BlobReference {
        do throws(StorageFailure) {
            return BlobReference(digest: try blobs.write(bytes), byteCount: bytes.count)
        } catch { throw JobFailure(error.reason) }
    }
}

// MARK: - Heads

extension FragmentWorkshop {
    /// Computes the head that follows the current one and keeps it as a candidate.
    private func outerStep(
        _ fragment: FragmentLayout.Fragment, _ base: Digest, _ step: OuterStepDescription
    ) throws(JobFailure) -> Digest {
        let head = heads[fragment.index.value]
        guard head.digest == base else {
            throw JobFailure("the step starts from head \(base.short), the current one is \(head.digest.short)")
        }
        do throws(FragmentHead.StepError) {
            let next = try head.advanced(by: step, rule: rule, codec: codec, fragment: fragment) { blobs.read($0) }
            candidates[fragment.index, default: [:]][next.digest] = next
            return next.digest
        } catch { throw JobFailure(error.description) }
    }

    /// Makes a candidate current; the others started from a head that is no longer current and are forgotten.
    private func adopt(_ fragment: FragmentLayout.Fragment, _ digest: Digest) throws(JobFailure) {
        if heads[fragment.index.value].digest == digest { return }
        guard let next = candidates[fragment.index]?[digest] else {
            throw JobFailure("head \(digest.short) is no candidate of fragment \(fragment.index.value)")
        }
        try makeCurrent(next, fragment)
    }

    /// Writes every tile of the current head as a blob.
    private func captureSnapshot(
        _ fragment: FragmentLayout.Fragment, _ head: FragmentHead
    ) throws(JobFailure) -> SnapshotManifest {
        var tiles: [BlobReference] = []
        for index in fragment.tiles.indices {
            tiles.append(try store(head.chunk(TileIndex(index), of: fragment)))
        }
        return SnapshotManifest(scalars: head.scalars, drift: head.drift, tiles: tiles)
    }

    /// Builds a head from fetched chunks and makes it current.
    private func install(
        _ fragment: FragmentLayout.Fragment, _ manifest: SnapshotManifest
    ) throws(JobFailure) -> Digest {
        guard manifest.fits(fragment) else {
            throw JobFailure("the manifest does not have the shape of fragment \(fragment.index.value)")
        }
        var chunks: [TileChunk.Contents] = []
        for (tile, reference) in zip(fragment.tiles, manifest.tiles) {
            guard let bytes = blobs.read(reference.digest) else {
                throw JobFailure("chunk \(reference.digest.short) is not here")
            }
            do throws(TileChunkError) {
                chunks.append(try TileChunk.decode(bytes, parameterCount: tile.count))
            } catch { throw JobFailure("chunk \(reference.digest.short) is damaged: \(error)") }
        }
        let head = FragmentHead(
            chunks: chunks, scalars: manifest.scalars, drift: manifest.drift, fragment: fragment)
        // Hashing what was read catches a store that returned other bytes than it was asked for.
        guard head.digest == manifest.headDigest else { throw JobFailure("a stored chunk has changed") }
        try makeCurrent(head, fragment)
        return head.digest
    }

    /// Stores a head durably, then makes it current.
    private func makeCurrent(_ head: FragmentHead, _ fragment: FragmentLayout.Fragment) throws(JobFailure) {
        do throws(StorageFailure) {
            try headStore.persist(head, of: fragment.index)
        } catch { throw JobFailure(error.reason) }
        heads[fragment.index.value] = head
        candidates[fragment.index] = nil
    }
}

/// One member's packed contribution for some tiles: base minus live, encoded.
///
/// - Parameters:
///   - head: the base that the plan names.
///   - live: [parameterCount] float32, the member's live values at its snapshot.
/// - Complexity: O(parameters of the tiles).
package func encodeContribution(
    head: FragmentHead, live: [Float], tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec
) throws(PayloadError) -> [UInt8] {
    precondition(live.count == head.theta.count, "a live copy must have its head's shape")
    let description = PayloadDescription(
        kind: .contribution, codec: codec, fragment: fragment.index, base: head.digest, tiles: tiles)
    return try PayloadBundle.encode(description, of: fragment) { tile, output in
        head.theta.withUnsafeBufferPointer { base in
            live.withUnsafeBufferPointer { live in
                guard let base = base.baseAddress, let live = live.baseAddress, let output = output.baseAddress else {
                    return
                }
                commitDifference(base + tile.offset, live + tile.offset, count: tile.count, into: output)
            }
        }
    }
}

/// The same for values that are there already, as under error feedback.
///
/// - Parameter values: [parameterCount] float32 (`LocalFragment.accumulated`).
package func encodeContribution(
    _ values: [Float], base: Digest, tiles: [TileIndex], of fragment: FragmentLayout.Fragment, codec: Codec
) throws(PayloadError) -> [UInt8] {
    precondition(values.count == fragment.parameterCount, "values must have their fragment's shape")
    let description = PayloadDescription(
        kind: .contribution, codec: codec, fragment: fragment.index, base: base, tiles: tiles)
    return try PayloadBundle.encode(description, of: fragment) { tile, output in
        _ = output.update(fromContentsOf: values[tile.range])
    }
}
