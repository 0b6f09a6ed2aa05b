import Compression
import OuterSync
import Swarm

/// What nodes compute, adopt and apply.
extension InvariantChecker {
    /// A job ended; its result is durable and the core does not know it yet.
    func computed(
        _ job: Job, _ result: JobResult, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        switch (job, result) {
        case (.encodeContribution(let fragment, let round, _, _, _), .contributionEncoded(let blobs, let tables)):
            let ladder = world.charter.encoding.ladder
            for table in tables where table?.codecs.contains(where: ladder.contains) == true {
                counters.coarseContributions += 1
            }
            guard let copy = copies[CopyKey(node: node.number, fragment: fragment, round: round)] else {
                throw InvariantViolation(.contract, node.number, "encodes a contribution without a copy")
            }
            for blob in blobs { if let blob { contributions[blob.digest] = copy } }
        case (
            .aggregate(_, _, _, let references, let level, _, let state),
            .aggregated(let blob, let members, _, let feedback)
        ):
            if level > 0 { counters.coarseResults += 1 }
            if let feedback { try aggregated(feedback, from: state, node) }
            results[blob.digest] = references.filter { members.contains($0.member) }
        case (.outerStep(let fragment, _, let step), .outerStepped(let head)):
            let key = HeadKey(fragment: fragment, head: head)
            if let known = steps[key], known != step {
                throw InvariantViolation(.headIsPure, node.number, "two steps of f\(fragment.value) give one head")
            }
            steps[key] = step
        case (.adopt(let fragment, let head), .adopted),
            (.installSnapshot(let fragment, _), .snapshotInstalled(let head)):
            if case .installSnapshot = job { counters.installs += 1 }
            try adopted(fragment, head, node)
        default: break
        }
    }

    /// An owner goes on from the state that its ledger names, or from nothing where its disk has lost that.
    private func aggregated(
        _ feedback: FeedbackDigests, from state: Digest?, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard feedback.before == nil || feedback.before == state else {
            throw InvariantViolation(.contract, node.number, "adds feedback that its ledger does not name")
        }
        if feedback.before != nil { counters.feedbackStates += 1 }
        if feedback.before == nil, state != nil { counters.feedbackLost += 1 }
    }

    /// A node made a head its current one: its very floats must be the round's.
    private func adopted(
        _ fragment: FragmentIndex, _ digest: Digest, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        let ledger = ledgersDurable[node.number.value][fragment.value]
        guard let round = (0...UInt64(finals[fragment.value].count)).last(where: { head(fragment, $0) == digest }),
            let reference = reference(fragment, round)
        else {
            throw InvariantViolation(
                .finalIsProven, node.number, "f\(fragment.value): adopts a head that no commit made final")
        }
        guard round <= ledger else {
            throw InvariantViolation(
                .ledgerIsWhole, node.number, "f\(fragment.value): adopts round \(round) with \(ledger) durable finals")
        }
        guard round >= headRounds[node.number.value][fragment.value] else {
            throw InvariantViolation(.ledgerIsWhole, node.number, "f\(fragment.value): goes back to round \(round)")
        }
        guard let head = node.running?.workshop.head(fragment), reference.hasSameBits(as: head) else {
            throw InvariantViolation(.sameBits, node.number, "f\(fragment.value) r\(round): other bits")
        }
        headRounds[node.number.value][fragment.value] = round
        counters.adoptions += 1
        hasNews = true
    }

    /// The head that follows from a value, by the slow way; compared with the one that the value claims.
    func reference(
        of value: ObservedValue, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) -> ReferenceHead {
        if let known = references[value.digest] { return known }
        guard let base = head(value.fragment, value.round - 1),
            var reference = reference(value.fragment, value.round - 1)
        else { throw InvariantViolation(.headIsPure, node.number, "\(value.place): its base is unknown") }
        guard let step = steps[HeadKey(fragment: value.fragment, head: value.head)] else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): nobody computed its head")
        }
        try checkDescription(step, value, node)
        let shape = world.layout.fragments[value.fragment.value]
        let measured = world.charter.syncMode.measuredFrom(RoundIndex(value.round))
        guard let measuredFrom = head(value.fragment, measured.value) else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): what it is measured from is unknown")
        }
        guard base == value.base, step.measuredFrom.map({ $0 == measuredFrom }) ?? (measuredFrom == base) else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): measured from another head")
        }
        let problem = reference.advance(
            by: step, base: measuredFrom, of: shape, rule: rule, encoding: world.charter.encoding
        ) { digest in
            for node in nodes { if let bytes = node.disk.blobs[digest] { return bytes } }
            return nil
        }
        if let problem { throw InvariantViolation(.headIsPure, node.number, "\(value.place): \(problem)") }
        guard reference.digest(of: shape) == value.head else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): the head is not what the payloads give")
        }
        references[value.digest] = reference
        return reference
    }

    /// A step description says neither more nor less than the commit's value.
    private func checkDescription(
        _ step: OuterStepDescription, _ value: ObservedValue, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard step.payloads.count == value.payloads.count else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): a payload more or less")
        }
        let isGathered = value.isGathered(by: world.charter)
        guard step.kind == (isGathered ? .contribution : .result) else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): payloads of another kind")
        }
        for (described, payload) in zip(step.payloads, value.payloads) {
            let shares = payload.contributors.map { value.members[$0].share }
            guard described.blob == payload.blob, described.shares == shares, !described.tiles.isEmpty else {
                throw InvariantViolation(.headIsPure, node.number, "\(value.place): a payload is described otherwise")
            }
        }
        let contributors = Set(value.payloads.flatMap(\.contributors))
        let tokensBefore = value.round >= 2 ? finals[value.fragment.value][Int(value.round) - 2].tokens : 0
        let scalars = SimulatedWorld.scalars(
            fragment: value.fragment, round: value.round,
            tokens: tokensBefore + value.countedTokens(of: contributors, by: world.charter),
            isClosing: value.isClosing,
            voters: value.members.map(\.peer))
        guard step.scalars == scalars else {
            throw InvariantViolation(.headIsPure, node.number, "\(value.place): other scalars")
        }
    }

    // MARK: Application

    /// A core asks to apply a head.
    func applying(_ application: HeadApplication, _ node: SimulatedNode) throws(InvariantViolation) {
        let fragment = application.fragment.value
        let place = "f\(fragment) r\(application.round.value)"
        guard application.round.value <= headRounds[node.number.value][fragment] else {
            throw InvariantViolation(.contract, node.number, "applies \(place), which it does not hold")
        }
        guard !application.overwrite else {
            counters.overwrites += 1
            return
        }
        guard !world.charter.syncMode.isLate else {
            throw InvariantViolation(.contract, node.number, "blends \(place) where snapshots overwrite")
        }
        let records = finals[fragment]
        guard application.round.value >= 1 else {
            throw InvariantViolation(.blendOnlyListed, node.number, "blends genesis")
        }
        let listed = records[Int(application.round.value) - 1].tiles[node.number] ?? []
        guard Set(application.blendedTiles) == listed else {
            throw InvariantViolation(
                .blendOnlyListed, node.number,
                "\(place): blends \(application.blendedTiles.map(\.value)), listed for \(listed.map(\.value).sorted())")
        }
    }

    /// A head is applied to the live value.
    func applied(
        _ application: HeadApplication, _ head: FragmentHead, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        let fragment = application.fragment
        try checkBits(head, fragment, node)
        if application.overwrite {
            overwrittenAt[node.number.value][fragment.value].append(lineages[node.number.value].count)
        }
    }

    /// A head that replaces or is blended into a live value is one that its node has held.
    private func checkBits(
        _ head: FragmentHead, _ fragment: FragmentIndex, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        let held = headRounds[node.number.value][fragment.value]
        guard let round = (0...held).last(where: { self.head(fragment, $0) == head.digest }),
            world.charter.syncMode.isLate || round == held,
            reference(fragment, round)?.hasSameBits(as: head) == true
        else {
            throw InvariantViolation(.sameBits, node.number, "f\(fragment.value): applies other bits than its round's")
        }
    }

    /// A live value was copied, and then overwritten with a head; under the eager rule with the node's own share on top.
    func turned(
        _ fragment: FragmentIndex, _ round: RoundIndex, _ head: FragmentHead, live: [Float], _ node: SimulatedNode
    ) throws(InvariantViolation) {
        try checkBits(head, fragment, node)
        overwrittenAt[node.number.value][fragment.value].append(lineages[node.number.value].count)
        counters.turns += 1
        guard world.charter.syncMode == .fullOverlap else { return }
        guard zip(live, head.theta).allSatisfy({ $0.bitPattern == $1.bitPattern }) else {
            throw InvariantViolation(.sameBits, node.number, "f\(fragment.value): goes on with other bits")
        }
    }

    /// Where means come late, a contribution is measured from what the live value was overwritten with, and names that head.
    func measured(
        _ fragment: FragmentIndex, from start: [Float], head: Digest, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        let held = headRounds[node.number.value][fragment.value]
        guard let round = (0...held).last(where: { self.head(fragment, $0) == head }),
            let reference = reference(fragment, round)
        else {
            throw InvariantViolation(.sameBits, node.number, "f\(fragment.value): rests on a head that never was")
        }
        guard world.charter.syncMode == .eager || reference.theta == start else {
            throw InvariantViolation(.sameBits, node.number, "f\(fragment.value): is measured from other bits")
        }
    }

    // MARK: Budget

    /// A core stops training: somebody's head must have reached the budget.
    func stoppingTraining(_ node: SimulatedNode) throws(InvariantViolation) {
        guard committedTokens.max() ?? 0 >= world.charter.tokenBudget else {
            throw InvariantViolation(.trainingNeverWaits, node.number, "stops training before the token budget")
        }
    }

    /// A core is done: every fragment's last round is a closing one, and the node holds it.
    func finishing(_ node: SimulatedNode) throws(InvariantViolation) {
        for (fragment, records) in finals.enumerated() {
            guard let last = records.last, last.isClosing,
                headRounds[node.number.value][fragment] == UInt64(records.count)
            else { throw InvariantViolation(.contract, node.number, "finished without the last head of f\(fragment)") }
        }
        hasNews = true
    }

    /// A core tells its trainer the committed tokens.
    func committedTokensTold(_ tokens: UInt64, _ node: SimulatedNode) throws(InvariantViolation) {
        guard tokens <= committedTokens.max() ?? 0 else {
            throw InvariantViolation(.countedOnce, node.number, "told \(tokens) committed tokens, more than there are")
        }
    }

    // MARK: End

    /// What must be so whenever a run ends.
    func checkAtEnd(_ node: SimulatedNode) throws(InvariantViolation) {
        for fragment in world.layout.fragments {
            let committed = committedSteps[node.number.value][fragment.index.value].count
            guard committed <= Int(physicalSteps[node.number.value]) else {
                throw InvariantViolation(.countedOnce, node.number, "more steps committed than trained")
            }
            guard let running = node.running else { continue }
            let round = headRounds[node.number.value][fragment.index.value]
            guard reference(fragment.index, round)?.hasSameBits(as: running.workshop.head(fragment.index)) == true
            else {
                throw InvariantViolation(.sameBits, node.number, "f\(fragment.index.value) r\(round) at the end")
            }
        }
        guard committedTokens.max() ?? 0 <= trainedTokens else {
            throw InvariantViolation(.countedOnce, nil, "more tokens committed than trained")
        }
    }
}
