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
    private let encoding: PayloadEncoding
    private let rule: OuterRule
    private let blobs: any BlobStore
    private let headStore: any HeadStore
    private var heads: [FragmentHead]
    /// Heads that outer steps gave and that no commit has made final, by fragment and digest.
    private var candidates: [FragmentIndex: [Digest: FragmentHead]] = [:]
    /// Live copies whose contribution is undecided.
    private var snapshots: [SnapshotKey: LiveCopy] = [:]
    /// Per fragment what chooses its tiles' codecs, where the charter has a ladder.
    private var tables: [FragmentIndex: CodecTables] = [:]
    /// From where the low-rank codec's searches start, for contributions and for results; losing them costs accuracy of one
    /// message and nothing else.
    private var memories:
        [FragmentIndex: (contributions: [TileIndex: EncoderMemory], results: [TileIndex: EncoderMemory])] =
            [:]
    /// What final commits have settled and no application has taken along yet.
    private var settled: [FragmentIndex: SettledResidual] = [:]

    private struct SnapshotKey: Hashable {
        var fragment: FragmentIndex
        var round: RoundIndex
    }

    /// Makes a workshop from the heads of all fragments: genesis ones, or those that a `HeadStore` kept.
    ///
    /// - Precondition: one head per fragment, in order, of that fragment's shape.
    package init(
        layout: FragmentLayout, encoding: PayloadEncoding, rule: OuterRule, heads: [FragmentHead],
        blobs: any BlobStore, headStore: any HeadStore
    ) {
        precondition(
            heads.count == layout.fragments.count
                && zip(heads, layout.fragments).allSatisfy { $0.theta.count == $1.parameterCount },
            "every fragment must have its head")
        self.layout = layout
        self.encoding = encoding
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
    /// - Parameters:
    ///   - live: [parameterCount] float32 in the fragment's order (`FragmentLayout.Fragment.gather`).
    ///   - residual: the residual at the same boundary, of the same shape; empty: all 0.
    ///   - start: where means come late, what the live value was last overwritten with, and the head that this rests on; nil:
    ///     the current head.
    package func keepSnapshot(
        _ fragment: FragmentIndex, _ round: RoundIndex, live: [Float], residual: [Float] = [],
        start: (values: [Float], head: Digest)? = nil
    ) {
        let count = heads[fragment.value].theta.count
        precondition(
            live.count == count && (residual.isEmpty || residual.count == count)
                && (start.map { $0.values.count == count } ?? true),
            "a live copy must have its fragment's shape")
        snapshots[SnapshotKey(fragment: fragment, round: round)] = LiveCopy(
            live: live, base: start?.head ?? heads[fragment.value].digest, start: start?.values ?? [],
            residual: residual)
    }

    /// Forgets such a copy; nothing happens if there is none.
    ///
    /// - Parameter committed: the contributions of this node that the round's final commit counts. What their encoding has
    ///   left over waits for `takeSettled`.
    package func releaseSnapshot(_ fragment: FragmentIndex, _ round: RoundIndex, committed: [Digest] = []) {
        guard let copy = snapshots.removeValue(forKey: SnapshotKey(fragment: fragment, round: round)) else { return }
        for digest in committed {
            guard let rest = copy.settled(digest, of: layout.fragments[fragment.value]) else { continue }
            settled[fragment, default: SettledResidual()].merge(rest)
        }
    }

    /// What the applications of committed rounds must put into the residual, together with the head; empty where there is
    /// none. Gives it once.
    package func takeSettled(_ fragment: FragmentIndex) -> SettledResidual {
        settled.removeValue(forKey: fragment) ?? SettledResidual()
    }

    /// Does one job.
    package func run(_ job: Job) -> JobResult {
        guard let fragment = layout.fragment(job.fragment) else {
            return .failed(reason: "there is no fragment \(job.fragment.value)")
        }
        do throws(JobFailure) {
            switch job {
            case .encodeContribution(_, let round, let assignment, let room, let base):
                return try encodeContribution(fragment, round, assignment, room, base: base)
            case .aggregate(_, _, let tiles, let contributions, let level, let base, let feedback):
                return try aggregate(
                    fragment, tiles, contributions, resultCodec: try resultCodec(level), base: base,
                    feedback: feedback)
            case .checkResult(_, let base, let tiles, let level, let blob):
                return .payloadChecked(
                    refusal: try refusal(fragment, base, tiles, try resultCodec(level), blob.digest))
            case .checkContribution(_, let base, let contribution):
                return .payloadChecked(refusal: try refusal(fragment, base, contribution))
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
        case .encodeContribution(let fragment, _, _, _, _), .aggregate(let fragment, _, _, _, _, _, _),
            .checkContribution(let fragment, _, _), .checkResult(let fragment, _, _, _, _),
            .outerStep(let fragment, _, _), .adopt(let fragment, _),
            .discard(let fragment, _), .captureSnapshot(let fragment),
            .installSnapshot(let fragment, _):
            fragment
        }
    }
}

// MARK: - Contributions

extension FragmentWorkshop {
    /// Encodes base minus live, once per owner.
    private func encodeContribution(
        _ fragment: FragmentLayout.Fragment, _ round: RoundIndex, _ assignment: [[TileIndex]],
        _ room: ContributionRoom, base: Digest?
    ) throws(JobFailure) -> JobResult {
        let head = heads[fragment.index.value]
        guard let copy = snapshots[SnapshotKey(fragment: fragment.index, round: round)] else {
            throw JobFailure("no live copy is kept for fragment \(fragment.index.value), round \(round.value)")
        }
        let base = base ?? head.digest
        guard copy.base == base else {
            throw JobFailure("the live copy was taken against head \(copy.base.short), not \(base.short)")
        }
        // Once for all owners: a decay step and a difference of the whole fragment.
        let accumulated = encoding.feedback > 0 || !copy.start.isEmpty ? accumulate(head, copy) : []
        let chosen = try chooseCodecs(fragment, round, assignment, room, accumulated)
        var references: [BlobReference?] = []
        for (position, tiles) in assignment.enumerated() {
            guard !tiles.isEmpty else {
                references.append(nil)
                continue
            }
            let bytes: [UInt8]
            var leftOver: SettledResidual?
            var memories = memories[fragment.index]?.contributions ?? [:]
            do throws(PayloadError) {
                if encoding.feedback > 0 {
                    (bytes, leftOver) = try encodeWithFeedback(
                        accumulated, base, tiles, fragment, codecs: chosen.isEmpty ? nil : chosen[position]?.codecs,
                        memories: &memories)
                } else if !copy.start.isEmpty {
                    bytes = try OuterSync.encodeContribution(
                        accumulated, base: base, tiles: tiles, of: fragment, codec: encoding.contribution,
                        memories: &memories)
                } else {
                    bytes = try OuterSync.encodeContribution(
                        head: head, live: copy.live, tiles: tiles, of: fragment, codec: encoding.contribution,
                        memories: &memories)
                }
            } catch { throw JobFailure("the outer gradient cannot be encoded: \(error)") }
            self.memories[fragment.index, default: ([:], [:])].contributions = memories
            let reference = try store(bytes)
            if let leftOver {
                snapshots[SnapshotKey(fragment: fragment.index, round: round)]?.note(leftOver, of: reference.digest)
            }
            references.append(reference)
        }
        return .contributionEncoded(references, tables: chosen)
    }

    /// Per owner the codecs of its tiles; empty where the charter has no ladder.
    private func chooseCodecs(
        _ fragment: FragmentLayout.Fragment, _ round: RoundIndex, _ assignment: [[TileIndex]],
        _ room: ContributionRoom, _ accumulated: [Float]
    ) throws(JobFailure) -> [CodecTable?] {
        guard !encoding.ladder.isEmpty, encoding.feedback > 0 else { return [] }
        do throws(AllotmentError) {
            return try tables[fragment.index, default: CodecTables(fragment, encoding)].choose(
                for: assignment, room: room, round: round, values: accumulated)
        } catch { throw JobFailure("no codecs can be chosen: \(error)") }
    }

    /// The codec of a round's results.
    private func resultCodec(_ level: Int) throws(JobFailure) -> Codec {
        let codecs = encoding.resultCodecs
        guard codecs.indices.contains(level) else { throw JobFailure("results have no level \(level)") }
        return codecs[level]
    }

    /// The outer gradient with what is added of the residual.
    private func accumulate(_ head: FragmentHead, _ copy: LiveCopy) -> [Float] {
        var local = LocalFragment(
            base: copy.start.isEmpty ? head.theta : copy.start, decay: encoding.feedback)
        if !copy.residual.isEmpty { local.restore(copy.residual) }
        return local.accumulated(live: copy.live)
    }

    /// One owner's payload under error feedback, and what it leaves over.
    private func encodeWithFeedback(
        _ accumulated: [Float], _ base: Digest, _ tiles: [TileIndex], _ fragment: FragmentLayout.Fragment,
        codecs: [Codec]?, memories: inout [TileIndex: EncoderMemory]
    ) throws(PayloadError) -> (bytes: [UInt8], leftOver: SettledResidual) {
        var description = PayloadDescription(
            kind: .contribution, charterCodec: encoding.contribution, fragment: fragment, base: base, tiles: tiles)
        if let codecs { description.codecs = codecs }
        let bytes = try PayloadBundle.encode(description, of: fragment, memories: &memories) { tile, output in
            _ = output.update(fromContentsOf: accumulated[tile.range])
        }
        let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
        var leftOver = SettledResidual()
        var scratch: [Float] = []
        for (position, tile) in tiles.enumerated() {
            let range = fragment.tiles[tile.value].range
            try bundle.decodeTile(position, scratch: &scratch) { decoded in
                leftOver.tiles[tile] = zip(accumulated[range], decoded).map { $0 - $1 }
            }
        }
        return (bytes, leftOver)
    }

    /// Averages what has arrived and encodes the mean, with what this owner's last committed result has left over.
    private func aggregate(
        _ fragment: FragmentLayout.Fragment, _ tiles: [TileIndex], _ references: [ContributionReference],
        resultCodec: Codec, base: Digest?, feedback digest: Digest?
    ) throws(JobFailure) -> JobResult {
        let base = base ?? heads[fragment.index.value].digest
        var aggregation = Aggregation(
            fragment: fragment, encoding: encoding, resultCodec: resultCodec, base: base, tiles: tiles, rule: rule)
        aggregation.memories = memories[fragment.index]?.results ?? [:]
        let contributions = references.map { reference in
            Aggregation.Contribution(
                member: reference.member, share: reference.share, bytes: blobs.read(reference.blob.digest))
        }
        let description = PayloadDescription(
            kind: .result, charterCodec: resultCodec, fragment: fragment, base: base, tiles: tiles)
        var feedback = feedback(of: fragment, from: digest)
        var outcome: Aggregation.Outcome?
        do throws(PayloadError) {
            // Should the sum be none that others take, it is not now or ever: this history ends.
            if let state = feedback, state.start != nil {
                outcome = try? aggregation.run(
                    contributions, adding: state.added(decay: encoding.ownerFeedback, tiles: tiles, of: fragment))
                if let result = outcome?.result, !isResult(result, description, fragment) { outcome = nil }
            }
            if outcome == nil {
                feedback?.begin(from: nil)
                outcome = try aggregation.run(
                    contributions,
                    adding: feedback == nil ? [] : [Float](repeating: 0, count: fragment.parameterCount))
            }
        } catch { throw JobFailure(error.description) }
        guard let outcome, let result = outcome.result else {
            let reasons = (outcome?.refused ?? []).map { "member \($0.member): \($0.reason)" }
            throw JobFailure("no contribution can be averaged: " + reasons.joined(separator: "; "))
        }
        memories[fragment.index, default: ([:], [:])].results = aggregation.memories
        var digests: FeedbackDigests?
        if var feedback {
            do throws(PayloadError) {
                let after = try feedback.encoded(outcome.encoded, as: result, description, of: fragment)
                digests = FeedbackDigests(before: feedback.start?.digest, after: after)
            } catch { throw JobFailure(error.description) }
            // On disk before the result is: a commit may name it.
            do throws(StorageFailure) {
                try headStore.persist(feedback: feedback.encoded(fragment.index), of: fragment.index)
            } catch { throw JobFailure(error.reason) }
        }
        return .aggregated(
            blob: try store(result), members: outcome.members, refused: outcome.refused, feedback: digests)
    }

    /// What this node's results have left over, as of the state that the ledger names; nil where owners keep nothing.
    private func feedback(of fragment: FragmentLayout.Fragment, from digest: Digest?) -> OwnerFeedback? {
        guard encoding.ownerFeedback > 0 else { return nil }
        let stored = headStore.feedback(of: fragment.index, byteCountMax: OwnerFeedback.byteCountMax(fragment))
        var feedback = stored.flatMap { OwnerFeedback(decoding: $0, of: fragment) } ?? OwnerFeedback()
        feedback.begin(from: digest)
        return feedback
    }

    /// Whether others take these bytes for a result.
    private func isResult(
        _ bytes: [UInt8], _ description: PayloadDescription, _ fragment: FragmentLayout.Fragment
    ) -> Bool {
        (try? PayloadBundle(decoding: bytes, expecting: description, of: fragment).checkResult()) != nil
    }

    /// Why a contribution for all tiles cannot be averaged; nil: it can.
    private func refusal(
        _ fragment: FragmentLayout.Fragment, _ base: Digest, _ reference: ContributionReference
    ) throws(JobFailure) -> String? {
        guard let bytes = blobs.read(reference.blob.digest) else {
            throw JobFailure("contribution \(reference.blob.digest.short) is not here")
        }
        var aggregation = Aggregation(
            fragment: fragment, codec: encoding.contribution, base: base,
            tiles: fragment.tiles.indices.map(TileIndex.init), rule: rule)
        return aggregation.refusal(
            of: Aggregation.Contribution(member: reference.member, share: reference.share, bytes: bytes))
    }

    /// Why an owner's result cannot be one; nil: it can.
    private func refusal(
        _ fragment: FragmentLayout.Fragment, _ base: Digest, _ tiles: [TileIndex], _ codec: Codec, _ digest: Digest
    ) throws(JobFailure) -> String? {
        guard let bytes = blobs.read(digest) else { throw JobFailure("result \(digest.short) is not here") }
        let description = PayloadDescription(
            kind: .result, charterCodec: codec, fragment: fragment, base: base, tiles: tiles)
        do throws(PayloadError) {
            try PayloadBundle(decoding: bytes, expecting: description, of: fragment).checkResult()
            return nil
        } catch { return error.description }
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
        let codec = step.kind == .result ? try resultCodec(step.resultLevel) : encoding.contribution
        do throws(FragmentHead.StepError) {
            let next = try head.advanced(
                by: step, rule: rule, codec: codec, fragment: fragment, base: step.measuredFrom
            ) { blobs.read($0) }
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
