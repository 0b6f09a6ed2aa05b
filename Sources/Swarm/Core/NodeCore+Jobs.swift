import Compression
import OuterSync
import PeerNet

extension NodeCore {
    mutating func compute(_ job: Job, _ fragment: FragmentIndex, _ purpose: Requests.Purpose) {
        out.append(.compute(job, then: requests.add(.job(fragment, purpose))))
    }

    mutating func computed(_ token: Token, _ result: JobResult) {
        guard case .job(let fragment, let purpose)? = requests.take(token) else { return }
        switch (purpose, result) {
        case (.contribution(let round, let targets), .contributionEncoded(let blobs, let tables)):
            contributionEncoded(fragment, round, targets, blobs, tables)
        case (.aggregate(let id), .aggregated(let blob, let members, let refused, let feedback)):
            aggregated(id, blob: blob, members: members, refused: refused, feedback: feedback)
        case (.check(let round, let peer, let check), .payloadChecked(let refusal)):
            payloadChecked(fragment, round, peer, check, refusal: refusal)
        case (.proposal(let id, let value, let step), .outerStepped(let head)):
            addCandidate(fragment, id.round, step, head)
            proposalComputed(id, value, head: head)
        case (.review(let id, let step), .outerStepped(let head)):
            addCandidate(fragment, id.round, step, head)
            finishReview(id, head: head)
            continueReview(fragment)
        case (.replay(let round, let step), .outerStepped(let head)): replayed(fragment, round, step, head)
        case (.adopt(let round), .adopted): adopted(fragment, round)
        case (.discard, _): break
        case (.capture(let round), .snapshotCaptured(let manifest)): captured(fragment, round, manifest)
        case (.install(let round, let manifest), .snapshotInstalled(let head)):
            installed(fragment, round, manifest, head)
        case (_, .failed(let reason)): failed(fragment, purpose, reason)
        case (.contribution, _), (.aggregate, _), (.check, _), (.proposal, _), (.review, _), (.replay, _), (.adopt, _),
            (.capture, _), (.install, _):
            failed(fragment, purpose, "the driver answered with another job's result")
        }
    }

    private mutating func failed(_ fragment: FragmentIndex, _ purpose: Requests.Purpose, _ reason: String) {
        event(.jobFailed(fragment, reason: reason))
        switch purpose {
        case .contribution(let round, _):
            guard fragments[fragment.value].round?.index == round else { return }
            // The next roster or nudge asks again.
            fragments[fragment.value].round?.contributor.isEncoding = false
            // Where everybody gathers, this is all that is awaited of this node.
            if let owner = fragments[fragment.value].round?.owner,
                fragments[fragment.value].round?.exchange?.isGather == true
            {
                signResult(owner.id, blob: nil, contributors: [])
            }
        case .aggregate(let id): signResult(id, blob: nil, contributors: [])
        case .check(let round, _, let check):
            guard fragments[fragment.value].round?.index == round else { return }
            // The next roster, result or blob asks again.
            fragments[fragment.value].round?.checks[check] = nil
        case .proposal(let id, _, _):
            // This node cannot compute: let another coordinator try.
            if fragments[fragment.value].round?.proposer?.id == id { fragments[fragment.value].round?.proposer = nil }
        case .review(let id, _):
            // A nudge brings the commit again.
            if fragments[fragment.value].round?.review?.content.id == id {
                fragments[fragment.value].round?.review = nil
            }
        case .replay, .adopt, .install: followFailed(fragment)
        case .capture, .discard: break
        }
    }

    /// Remembers a computed head until the round's final commit chooses one; the workshop keeps the same ones.
    private mutating func addCandidate(
        _ fragment: FragmentIndex, _ round: RoundIndex, _ step: OuterStepDescription, _ head: Digest
    ) {
        guard round == fragments[fragment.value].head.next, fragments[fragment.value].candidate(for: step) == nil else {
            if round <= fragments[fragment.value].head { discard(fragment, head) }
            return
        }
        fragments[fragment.value].candidates.append(.init(step: step, head: head))
        if fragments[fragment.value].candidates.count > FragmentState.candidatesMax {
            discard(fragment, fragments[fragment.value].candidates.removeFirst().head)
        }
    }

    /// Forgets every candidate except one.
    mutating func discardCandidates(_ fragment: FragmentIndex, except chosen: Digest?) {
        let stale = fragments[fragment.value].candidates.filter { $0.head != chosen }
        fragments[fragment.value].candidates.removeAll { $0.head != chosen }
        for head in Set(stale.map(\.head)).sorted() { discard(fragment, head) }
    }

    private mutating func discard(_ fragment: FragmentIndex, _ head: Digest) {
        guard head != fragments[fragment.value].headDigest else { return }
        guard !fragments[fragment.value].candidates.contains(where: { $0.head == head }) else { return }
        compute(.discard(fragment: fragment, head: head), fragment, .discard)
    }
}
