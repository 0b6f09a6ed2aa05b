package import Compression

/// What a member had done, at its snapshot, since the fragment's last final commit that lists it.
package struct TrainingShare: Hashable, Sendable {
    /// Tokens trained.
    package var tokens: UInt64
    /// Inner steps taken; at least 1 wherever tokens is.
    package var steps: UInt64

    /// Wraps the two counts.
    package init(tokens: UInt64, steps: UInt64) {
        self.tokens = tokens
        self.steps = steps
    }
}

/// A content-addressed byte string and its size on the wire.
package struct BlobReference: Hashable, Sendable {
    /// What names the bytes as they travel (`BlobTree`).
    package var digest: Digest
    /// Size in bytes; a receiver allocates no more.
    package var byteCount: Int

    /// Wraps digest and size.
    package init(digest: Digest, byteCount: Int) {
        self.digest = digest
        self.byteCount = byteCount
    }
}

/// One member's contribution for the tiles of one owner.
package struct ContributionReference: Hashable, Sendable {
    /// The contributor's position among the round's members.
    package var member: Int
    /// Its training since the last final commit.
    package var share: TrainingShare
    /// The encoded tiles (blob).
    package var blob: BlobReference

    /// Wraps the three.
    package init(member: Int, share: TrainingShare, blob: BlobReference) {
        self.member = member
        self.share = share
        self.blob = blob
    }
}

/// One owner's aggregated result in a commit: its tiles, who is in it, and the payload.
package struct CommittedPayload: Hashable, Sendable {
    /// The tiles that the payload covers, ascending.
    package var tiles: [TileIndex]
    /// The contributors in the mean, in member order, with their training.
    package var shares: [TrainingShare]
    /// The encoded mean (blob).
    package var blob: BlobReference

    /// Wraps the three.
    package init(tiles: [TileIndex], shares: [TrainingShare], blob: BlobReference) {
        self.tiles = tiles
        self.shares = shares
        self.blob = blob
    }
}

/// Everything that the outer step of one round reads besides the previous head and the payloads' bytes.
package struct OuterStepDescription: Hashable, Sendable {
    /// The payloads, in owner order; tiles in none of them stay as they are, bit for bit.
    package var payloads: [CommittedPayload]
    /// The scalars leaf of the new head, opaque here (round, tokens, slot, voters: Swarm writes them).
    package var scalars: [UInt8]
    /// What the payloads are: results of owners for disjoint tiles, or single contributions for the same tiles, to be averaged.
    package var kind: PayloadDescription.Kind
    /// Which of `PayloadEncoding.resultCodecs` results have.
    package var resultLevel: Int
    /// The head that the contributions were measured from; nil: the previous head.
    package var measuredFrom: Digest?

    /// Wraps the fields.
    package init(
        payloads: [CommittedPayload], scalars: [UInt8], kind: PayloadDescription.Kind = .result, resultLevel: Int = 0,
        measuredFrom: Digest? = nil
    ) {
        self.payloads = payloads
        self.scalars = scalars
        self.kind = kind
        self.resultLevel = resultLevel
        self.measuredFrom = measuredFrom
    }
}

/// What a snapshot of a head consists of: enough to verify it against the head's digest and to fetch it tile by tile.
package struct SnapshotManifest: Hashable, Sendable {
    /// The head's scalars leaf.
    package var scalars: [UInt8]
    /// What the head remembers of past steps, where its rule needs it.
    package var drift: OuterDrift
    /// Per tile the blob that holds Theta, v and the version; its digest is the tile's leaf in the head's tree.
    package var tiles: [BlobReference]

    /// Wraps the three.
    package init(scalars: [UInt8], drift: OuterDrift = .none, tiles: [BlobReference]) {
        self.scalars = scalars
        self.drift = drift
        self.tiles = tiles
    }
}

/// Arithmetic that a core asks its driver to do beside training; a job's result depends on nothing but the job and the
/// bytes that it names.
package enum Job: Hashable, Sendable {
    /// Encode base head minus the snapshotted live value, once per owner.
    /// `assignment[i]` lists the tiles of member i (empty lists give no blob); `room` says what the links carry, where the
    /// charter has a ladder. The snapshot must be measured from the head `measuredFrom`; nil: from the current one.
    case encodeContribution(
        fragment: FragmentIndex, round: RoundIndex, assignment: [[TileIndex]],
        room: ContributionRoom = ContributionRoom(), measuredFrom: Digest? = nil)
    /// Check and average contributions for some tiles, and encode the mean once.
    /// The mean has the codec at `resultLevel` of `PayloadEncoding.resultCodecs`. Where owners keep what encoding leaves
    /// over, the state `feedback` is added to it; nil, or one that is lost: nothing.
    case aggregate(
        fragment: FragmentIndex, round: RoundIndex, tiles: [TileIndex], contributions: [ContributionReference],
        resultLevel: Int = 0, measuredFrom: Digest? = nil, feedback: Digest? = nil)
    /// Look whether a contribution for all tiles can be averaged: it decodes, and its values and share are possible ones.
    case checkContribution(fragment: FragmentIndex, base: Digest, contribution: ContributionReference)
    /// Look whether an owner's result decodes, and holds values that a mean can have.
    case checkResult(
        fragment: FragmentIndex, base: Digest, tiles: [TileIndex], resultLevel: Int, blob: BlobReference)
    /// Compute the head that follows `base` and keep it as a candidate until `adopt` or `discard`.
    case outerStep(fragment: FragmentIndex, base: Digest, step: OuterStepDescription)
    /// Make the candidate `head` the fragment's current head and store it durably.
    case adopt(fragment: FragmentIndex, head: Digest)
    /// Forget the candidate `head`.
    case discard(fragment: FragmentIndex, head: Digest)
    /// Store the current head as blobs for joiners.
    case captureSnapshot(fragment: FragmentIndex)
    /// Replace the current head by a fetched and verified snapshot, durably.
    case installSnapshot(fragment: FragmentIndex, manifest: SnapshotManifest)
}

/// What came of a `Job`.
package enum JobResult: Hashable, Sendable {
    /// The blobs, per owner as in the assignment, nil where the assignment was empty; and the tables by which they were
    /// encoded, empty where the charter has no ladder.
    case contributionEncoded([BlobReference?], tables: [CodecTable?] = [])
    /// The encoded mean, the members in it, and those refused with the reason; and the feedback behind it, where owners keep
    /// any.
    case aggregated(
        blob: BlobReference, members: [Int], refused: [RefusedContribution], feedback: FeedbackDigests? = nil)
    /// The contribution can be averaged (nil), or why not.
    case payloadChecked(refusal: String?)
    /// The digest of the candidate head.
    case outerStepped(head: Digest)
    /// The head is current and durable.
    case adopted
    /// The candidate is gone.
    case discarded
    /// The snapshot's blobs are stored.
    case snapshotCaptured(SnapshotManifest)
    /// The snapshot is the current head now, with this digest.
    case snapshotInstalled(head: Digest)
    /// The job could not be done: a payload did not decode, a blob was missing, the disk was full.
    case failed(reason: String)
}

/// A contribution that the owner left out, and why.
package struct RefusedContribution: Hashable, Sendable {
    /// The contributor's position among the round's members.
    package var member: Int
    /// The rule that it broke, in words.
    package var reason: String

    /// Wraps the two.
    package init(member: Int, reason: String) {
        self.member = member
        self.reason = reason
    }
}
