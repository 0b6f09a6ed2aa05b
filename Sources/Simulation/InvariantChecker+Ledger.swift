import Compression
import OuterSync
import PeerNet
import SwiftProtobuf
import Swarm

/// What nodes store, and what a final commit means.
extension InvariantChecker {
    /// A node asks to store a record.
    func persisting(
        _ record: DurableRecord, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        switch record {
        case .peer: break
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
            guard let final = try? WireFinal(serializedBytes: bytes) else {
                throw InvariantViolation(.contract, node.number, "stores a final that does not decode")
            }
            try register(final, node, nodes)
            ledgersAsked[node.number.value][fragment.value] = max(asked, round.value)
        }
    }

    /// A record is durable.
    func persisted(_ record: DurableRecord, _ node: SimulatedNode) {
        switch record {
        case .peer: break
        case .slot(_, _, let bytes):
            if let message = ObservedMessage(bytes) { slotIsDurable(message, node) }
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
    func register(_ final: WireFinal, _ node: SimulatedNode, _ nodes: [SimulatedNode]) throws(InvariantViolation) {
        guard let value = try? WireCommitValue(serializedBytes: final.value),
            finals.indices.contains(Int(value.fragment)), value.round >= 1
        else { throw InvariantViolation(.contract, node.number, "a final's value does not decode") }
        let fragment = FragmentIndex(Int(value.fragment))
        let digest = Digest(hashing: final.value)
        let known = UInt64(finals[fragment.value].count)
        if value.round <= known {
            guard finals[fragment.value][Int(value.round) - 1].valueDigest == digest else {
                throw InvariantViolation(
                    .oneFinalPerRound, node.number, "f\(fragment.value) r\(value.round) has two final values")
            }
            return
        }
        guard value.round == known + 1 else {
            throw InvariantViolation(.finalIsProven, node.number, "f\(fragment.value) r\(value.round) follows round \(known)")
        }
        try checkLink(value, fragment, node)
        try checkAcks(final, value, digest, fragment, node, nodes)
        let reference = try reference(of: value, digest, node, nodes)
        try append(value, digest, final.attempt, fragment, reference)
    }

    private func checkLink(
        _ value: WireCommitValue, _ fragment: FragmentIndex, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard let base = head(fragment, value.round - 1), Digest(bytes: value.base) == base else {
            throw InvariantViolation(.finalIsProven, node.number, "f\(fragment.value) r\(value.round) has another base")
        }
        if let previous = finals[fragment.value].last {
            guard Digest(bytes: value.previousCommit) == previous.valueDigest else {
                throw InvariantViolation(.finalIsProven, node.number, "f\(fragment.value) r\(value.round) links elsewhere")
            }
            guard !previous.isClosing else {
                throw InvariantViolation(.contract, node.number, "f\(fragment.value) r\(value.round) follows the closing round")
            }
        }
    }

    /// A quorum of the previous members signed acks of this value in this attempt, durably, and hold what they acked.
    private func checkAcks(
        _ final: WireFinal, _ value: WireCommitValue, _ digest: Digest, _ fragment: FragmentIndex, _ node: SimulatedNode,
        _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        let voters = voters(of: fragment)
        var ackers: Set<NodeNumber> = []
        for ack in final.acks where Int(ack.voter) < voters.count {
            let voter = voters[Int(ack.voter)]
            let slot = ObservedMessage.Slot(
                kind: .ack, fragment: fragment, round: RoundIndex(value.round), attempt: final.attempt)
            let key = SignedSlot(node: voter, slot: slot)
            let vote = votes[CopyKey(node: voter, fragment: fragment, round: slot.round)]
            guard vote?.acks[final.attempt] == digest, durableSlots.contains(key) else {
                throw InvariantViolation(
                    .finalIsProven, node.number, "\(describe(slot)): \(voter) is counted and gave no durable ack")
            }
            try checkHeld(value, nodes[voter.value], "\(describe(slot)) is final")
            ackers.insert(voter)
        }
        guard isQuorum(ackers, of: voters) else {
            throw InvariantViolation(
                .finalIsProven, node.number, "f\(fragment.value) r\(value.round): \(ackers.count) of \(voters.count) acked")
        }
    }

    private func append(
        _ value: WireCommitValue, _ digest: Digest, _ attempt: UInt32, _ fragment: FragmentIndex, _ reference: ReferenceHead
    ) throws(InvariantViolation) {
        var members: [NodeNumber] = []
        for member in value.members {
            guard let peer = PeerID(publicKey: member.peer), let number = world.node(peer) else {
                throw InvariantViolation(.contract, nil, "f\(fragment.value) r\(value.round) lists a stranger")
            }
            members.append(number)
        }
        guard let head = Digest(bytes: value.head), let step = steps[HeadKey(fragment: fragment, head: head)] else {
            throw InvariantViolation(.headIsPure, nil, "f\(fragment.value) r\(value.round): nobody computed its head")
        }
        var tiles: [NodeNumber: Set<TileIndex>] = [:]
        for (payload, committed) in zip(value.payloads, step.payloads) {
            for position in Self.positions(payload.contributors) {
                tiles[members[position], default: []].formUnion(committed.tiles)
            }
        }
        try countOnce(value, step, members, fragment)
        let contributors = members.indices.filter { tiles[members[$0]] != nil }
        let tokens = contributors.reduce(0) { $0 + value.members[$1].tokens }
        counters.laterAttempts += attempt > 0 ? 1 : 0
        counters.absentTiles += world.layout.fragments[fragment.value].tiles.count - step.payloads.map(\.tiles.count).reduce(0, +)
        counters.contributions += contributors.count
        counters.leftOut += members.count - contributors.count
        for position in contributors { counted(members[position]) }
        finals[fragment.value].append(
            FinalRecord(
                valueDigest: digest, head: head, isClosing: value.closing, members: members, tiles: tiles,
                tokens: (finals[fragment.value].last?.tokens ?? 0) + tokens, reference: reference))
        hasNews = true
    }

    /// The positions in a member set: bit i of byte i / 8.
    static func positions(_ bytes: some Sequence<UInt8>) -> [Int] {
        bytes.enumerated().flatMap { index, byte in
            (0..<8).filter { byte >> $0 & 1 == 1 }.map { 8 * index + $0 }
        }
    }

    // MARK: Counting

    /// Every contribution that the commit counts stands on steps that no commit of this fragment has counted.
    private func countOnce(
        _ value: WireCommitValue, _ step: OuterStepDescription, _ members: [NodeNumber], _ fragment: FragmentIndex
    ) throws(InvariantViolation) {
        let place = "f\(fragment.value) r\(value.round)"
        var counted: [NodeNumber: Set<UInt32>] = [:]
        for payload in value.payloads {
            guard let blob = Digest(bytes: payload.blob.digest), let parts = results[blob] else {
                throw InvariantViolation(.countedOnce, nil, "\(place): nobody aggregated a payload")
            }
            for position in Self.positions(payload.contributors) {
                let share = value.members[position], node = members[position]
                guard let part = parts.first(where: { $0.member == position }), part.share.steps == share.steps,
                    part.share.tokens == share.tokens, let copy = contributions[part.blob.digest], copy.node == node
                else {
                    throw InvariantViolation(.countedOnce, node, "\(place): what was averaged is not what it lists")
                }
                let steps = Int(share.steps)
                guard steps >= 1, steps <= copy.lineage.count - copy.stepsBeforeOverwrite else {
                    throw InvariantViolation(
                        .countedOnce, node,
                        "\(place): claims \(steps) steps, its value has \(copy.lineage.count - copy.stepsBeforeOverwrite)")
                }
                counted[node, default: []].formUnion(copy.lineage.suffix(steps))
            }
        }
        for (node, steps) in counted.sorted(by: { $0.key < $1.key }) {
            guard committedSteps[node.value][fragment.value].isDisjoint(with: steps) else {
                throw InvariantViolation(.countedOnce, node, "\(place): counts steps that an earlier round counted")
            }
            committedSteps[node.value][fragment.value].formUnion(steps)
        }
    }
}
