import Compression
import OuterSync
import Swarm

/// What nodes store, and what a final commit means.
extension InvariantChecker {
    /// A node asks to store a record.
    func persisting(
        _ record: DurableRecord, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        switch record {
        case .peer, .admission, .record: break
        case .slot(_, _, let bytes):
            guard let message = ObservedMessage(bytes) else {
                throw InvariantViolation(.contract, node.number, "stores a slot that is no message")
            }
            try signing(message, node)
        case .final(let fragment, let round, let bytes):
            let asked = ledgersAsked[node.number.value][fragment.value]
            guard round.value <= asked + 1, round.value > ledgersDurable[node.number.value][fragment.value] else {
                throw InvariantViolation(
                    .ledgerIsWhole, node.number,
                    "fragment \(fragment.value): stores the final of round \(round.value) after \(asked)")
            }
            guard let final = ObservedFinal(bytes) else {
                throw InvariantViolation(.contract, node.number, "stores a final that does not decode")
            }
            try register(final, node, nodes)
            ledgersAsked[node.number.value][fragment.value] = max(asked, round.value)
        }
    }

    /// A record is durable.
    func persisted(_ record: DurableRecord, _ node: SimulatedNode) throws(InvariantViolation) {
        switch record {
        case .peer, .admission, .record: break
        case .slot(_, _, let bytes):
            if let message = ObservedMessage(bytes) { try slotIsDurable(message, node) }
        case .final(let fragment, let round, _):
            ledgersDurable[node.number.value][fragment.value] = round.value
        }
    }

    /// Slots of a round may go only when its final is durable.
    func pruning(
        _ fragment: FragmentIndex, through round: RoundIndex, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard round.value <= ledgersDurable[node.number.value][fragment.value] else {
            throw InvariantViolation(
                .ledgerIsWhole, node.number,
                "fragment \(fragment.value): forgets slots of round \(round.value) before its final is durable")
        }
    }

    /// Somebody shows a final commit: the first one of a round is the round's, any other must be the same.
    func register(_ final: ObservedFinal, _ node: SimulatedNode, _ nodes: [SimulatedNode]) throws(InvariantViolation) {
        let value = final.value
        guard finals.indices.contains(value.fragment.value), value.round >= 1 else {
            throw InvariantViolation(.contract, node.number, "a final of no fragment or round")
        }
        let records = finals[value.fragment.value]
        if value.round <= UInt64(records.count) {
            guard records[Int(value.round) - 1].valueDigest == value.digest else {
                throw InvariantViolation(.oneFinalPerRound, node.number, "\(value.place) has two final values")
            }
            return
        }
        guard value.round == UInt64(records.count) + 1 else {
            throw InvariantViolation(.finalIsProven, node.number, "\(value.place) follows round \(records.count)")
        }
        try checkLink(value, node)
        try checkAcks(final, node, nodes)
        try append(value, final.attempt, try reference(of: value, node, nodes))
    }

    private func checkLink(_ value: ObservedValue, _ node: SimulatedNode) throws(InvariantViolation) {
        guard value.base == head(value.fragment, value.round - 1) else {
            throw InvariantViolation(.finalIsProven, node.number, "\(value.place) has another base")
        }
        guard let previous = finals[value.fragment.value].last else { return }
        guard value.previousCommit == previous.valueDigest else {
            throw InvariantViolation(.finalIsProven, node.number, "\(value.place) links elsewhere")
        }
        guard !previous.isClosing else {
            throw InvariantViolation(.contract, node.number, "\(value.place) follows the closing round")
        }
    }

    /// A quorum of the previous members signed acks of this value in this attempt, durably, and hold what they acked.
    private func checkAcks(
        _ final: ObservedFinal, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        let value = final.value
        let voters = voters(of: value.fragment)
        let slot = ObservedMessage.Slot(
            kind: .ack, fragment: value.fragment, round: RoundIndex(value.round), attempt: final.attempt)
        var ackers: Set<NodeNumber> = []
        for position in final.voters where position < voters.count {
            let voter = voters[position]
            let vote = votes[CopyKey(node: voter, fragment: value.fragment, round: slot.round)]
            guard vote?.acks[final.attempt] == value.digest,
                durableSlots.contains(SignedSlot(node: voter, slot: slot))
            else {
                throw InvariantViolation(
                    .finalIsProven, node.number, "\(slot): \(voter) is counted and gave no durable ack")
            }
            try checkHeld(value, nodes[voter.value], "\(slot) is final")
            ackers.insert(voter)
        }
        guard isQuorum(ackers, of: voters) else {
            throw InvariantViolation(
                .finalIsProven, node.number, "\(value.place): \(ackers.count) of \(voters.count) acked")
        }
    }

    private func append(
        _ value: ObservedValue, _ attempt: UInt32, _ reference: ReferenceHead
    ) throws(InvariantViolation) {
        let members = value.members.compactMap { world.node($0.peer) }
        guard members.count == value.members.count else {
            throw InvariantViolation(.contract, nil, "\(value.place) lists a stranger")
        }
        guard let step = steps[HeadKey(fragment: value.fragment, head: value.head)] else {
            throw InvariantViolation(.headIsPure, nil, "\(value.place): nobody computed its head")
        }
        try countOnce(value, members)
        var tiles: [NodeNumber: Set<TileIndex>] = [:]
        for (payload, committed) in zip(value.payloads, step.payloads) {
            for position in payload.contributors { tiles[members[position], default: []].formUnion(committed.tiles) }
        }
        let contributors = members.indices.filter { tiles[members[$0]] != nil }
        let tokens = value.countedTokens(of: Set(contributors), by: world.charter)
        let tileCount = world.layout.fragments[value.fragment.value].tiles.count
        counters.laterAttempts += attempt > 0 ? 1 : 0
        counters.absentTiles += tileCount - Set(step.payloads.flatMap(\.tiles)).count
        counters.contributions += contributors.count
        counters.leftOut += members.count - contributors.count
        for position in contributors { counted(members[position]) }
        let tokensBefore = finals[value.fragment.value].last?.tokens ?? 0
        finals[value.fragment.value].append(
            FinalRecord(
                valueDigest: value.digest, head: value.head, isClosing: value.isClosing, members: members, tiles: tiles,
                tokens: tokensBefore + tokens, reference: reference))
        hasNews = true
    }

    // MARK: Counting

    /// Every contribution that the commit counts stands on steps that no commit of this fragment has counted.
    private func countOnce(_ value: ObservedValue, _ members: [NodeNumber]) throws(InvariantViolation) {
        let fragment = value.fragment.value
        var counted: [NodeNumber: Set<UInt32>] = [:]
        for payload in value.payloads {
            let gathered = payload.contributors.first.map {
                [ContributionReference(member: $0, share: value.members[$0].share, blob: payload.blob)]
            }
            guard let parts = value.isGathered(by: world.charter) ? gathered : results[payload.blob.digest] else {
                throw InvariantViolation(.countedOnce, nil, "\(value.place): nobody aggregated a payload")
            }
            for position in payload.contributors {
                let share = value.members[position].share, node = members[position]
                guard let part = parts.first(where: { $0.member == position }), part.share == share,
                    let copy = contributions[part.blob.digest], copy.node == node
                else {
                    throw InvariantViolation(
                        .countedOnce, node, "\(value.place): what was averaged is not what it lists")
                }
                let available = copy.lineage.count - copy.stepsBeforeOverwrite
                guard share.steps >= 1, share.steps <= UInt64(available) else {
                    throw InvariantViolation(
                        .countedOnce, node, "\(value.place): claims \(share.steps) steps, its value has \(available)")
                }
                counted[node, default: []].formUnion(copy.lineage.suffix(Int(share.steps)))
            }
        }
        for (node, steps) in counted.sorted(by: { $0.key < $1.key }) {
            guard committedSteps[node.value][fragment].isDisjoint(with: steps) else {
                throw InvariantViolation(
                    .countedOnce, node, "\(value.place): counts steps that an earlier round counted")
            }
            committedSteps[node.value][fragment].formUnion(steps)
        }
    }
}
