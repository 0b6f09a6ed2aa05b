import Compression
import OuterSync
import PeerNet
import SwiftProtobuf
import Swarm

/// What nodes sign and send.
extension InvariantChecker {
    /// Whether a message's outer signature is this node's own.
    func isSigned(_ message: ObservedMessage, by node: SimulatedNode) -> Bool {
        guard let signed = message.signed else { return false }
        return PeerID(publicKey: signed.signer) == node.identity.peerID
    }

    /// A message leaves a node.
    func sending(
        _ message: ObservedMessage, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        if case .final(let final)? = message.envelope.message { try register(final, node, nodes) }
        guard let signed = message.signed, isSigned(message, by: node) else { return }
        try bind(message, signed, node)
        let key = SignedSlot(node: node.number, slot: message.slot)
        guard durableSlots.contains(key) else {
            throw InvariantViolation(.durableBeforeSent, node.number, "\(message.summary) is not on disk")
        }
        if case .ack(let signed)? = message.envelope.message { try checkAck(signed, message.slot, node, nodes) }
    }

    /// A node asks to store a signed message: it may leave from now on.
    func signing(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        guard let signed = message.signed, isSigned(message, by: node) else { return }
        try bind(message, signed, node)
        switch message.envelope.message {
        case .join(let delivery)?: try checkJoin(delivery.join, message.slot, node)
        case .commit(let signed)?: try checkProposal(signed, message.slot, node)
        case .ack(let signed)?: try recordAck(signed, message.slot, node)
        default: break
        }
    }

    func slotIsDurable(_ message: ObservedMessage, _ node: SimulatedNode) {
        if isSigned(message, by: node) { durableSlots.insert(SignedSlot(node: node.number, slot: message.slot)) }
    }

    /// The first body signed for a slot binds all later ones.
    private func bind(
        _ message: ObservedMessage, _ signed: WireSigned, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        let key = SignedSlot(node: node.number, slot: message.slot)
        let digest = Digest(hashing: signed.body)
        if let bound = bodies[key], bound != digest {
            throw InvariantViolation(.oneMessagePerSlot, node.number, "a second \(message.summary)")
        }
        bodies[key] = digest
    }

    // MARK: Promises

    /// A join must name the ack of the highest attempt that its voter gave in this round.
    private func checkJoin(
        _ signed: WireSigned, _ slot: ObservedMessage.Slot, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard let join = try? WireJoin(serializedBytes: signed.body) else { return }
        let key = CopyKey(node: node.number, fragment: slot.fragment, round: slot.round)
        votes[key, default: Vote()].highestJoin = max(slot.attempt, votes[key]?.highestJoin ?? 0)
        let highest = votes[key]?.acks.max { $0.key < $1.key }
        guard let highest else { return }
        guard join.hasAccepted, join.accepted.attempt == highest.key,
            Digest(bytes: join.accepted.value) == highest.value
        else {
            throw InvariantViolation(
                .promiseIsKept, node.number, "\(describe(slot)) hides its ack of attempt \(highest.key)")
        }
    }

    /// Once a value has a quorum of acks, every proposal of a higher attempt must carry it.
    private func checkProposal(
        _ signed: WireSigned, _ slot: ObservedMessage.Slot, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard let commit = try? WireCommit(serializedBytes: signed.body),
            let value = try? WireCommitValue(serializedBytes: commit.value)
        else { throw InvariantViolation(.contract, node.number, "a commit does not decode") }
        let digest = Digest(hashing: commit.value)
        let key = RoundKey(fragment: slot.fragment, round: slot.round)
        if proposals[key]?.contains(where: { $0.key < slot.attempt && $0.value == digest }) == true {
            counters.reproposals += 1
        }
        if let other = proposals[key]?[slot.attempt], other != digest {
            throw InvariantViolation(.oneMessagePerSlot, node.number, "two values in attempt \(slot.attempt)")
        }
        values[digest] = value
        proposals[key, default: [:]][slot.attempt] = digest
        try checkChosen(key)
    }

    private func recordAck(
        _ signed: WireSigned, _ slot: ObservedMessage.Slot, _ node: SimulatedNode
    ) throws(InvariantViolation) {
        guard let ack = try? WireAck(serializedBytes: signed.body), let value = Digest(bytes: ack.value) else {
            throw InvariantViolation(.contract, node.number, "an ack does not decode")
        }
        let key = CopyKey(node: node.number, fragment: slot.fragment, round: slot.round)
        if let promised = votes[key]?.highestJoin, promised > slot.attempt, votes[key]?.acks[slot.attempt] == nil {
            throw InvariantViolation(
                .promiseIsKept, node.number, "\(describe(slot)) after a join of attempt \(promised)")
        }
        votes[key, default: Vote()].acks[slot.attempt] = value
        try checkChosen(RoundKey(fragment: slot.fragment, round: slot.round))
    }

    /// Paxos's invariant P2b over what was signed: a chosen value is the value of every higher attempt.
    private func checkChosen(_ key: RoundKey) throws(InvariantViolation) {
        guard let proposals = proposals[key], proposals.count > 1,
            key.round.value == UInt64(finals[key.fragment.value].count) + 1
        else { return }
        let voters = voters(of: key.fragment)
        for (attempt, value) in proposals.sorted(by: { $0.key < $1.key }) {
            let ackers = voters.filter {
                votes[CopyKey(node: $0, fragment: key.fragment, round: key.round)]?.acks[attempt] == value
            }
            guard isQuorum(Set(ackers), of: voters) else { continue }
            if let later = proposals.first(where: { $0.key > attempt && $0.value != value }) {
                throw InvariantViolation(
                    .promiseIsKept, nil,
                    "f\(key.fragment.value) r\(key.round.value): attempt \(later.key) proposes \(later.value.short) though \(value.short) has a quorum in attempt \(attempt)"
                )
            }
        }
    }

    // MARK: Acks

    /// At the moment an ack leaves, its voter holds every payload and the value's head follows from them.
    private func checkAck(
        _ signed: WireSigned, _ slot: ObservedMessage.Slot, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        guard let ack = try? WireAck(serializedBytes: signed.body), let digest = Digest(bytes: ack.value),
            let value = values[digest]
        else { throw InvariantViolation(.ackIsTrue, node.number, "\(describe(slot)) acks a value that nobody proposed") }
        try checkHeld(value, node, "\(describe(slot)) is acked")
        _ = try reference(of: value, digest, node, nodes)
    }

    /// Every payload of a value lies durably on this node's disk.
    func checkHeld(_ value: WireCommitValue, _ node: SimulatedNode, _ occasion: String) throws(InvariantViolation) {
        for payload in value.payloads {
            guard let blob = Digest(bytes: payload.blob.digest),
                node.disk.blobs[blob]?.count == Int(payload.blob.byteCount)
            else { throw InvariantViolation(.ackIsTrue, node.number, "\(occasion) and a payload is not held") }
        }
    }

    func describe(_ slot: ObservedMessage.Slot) -> String {
        "\(slot.kind) f\(slot.fragment.value) r\(slot.round.value) a\(slot.attempt)"
    }
}
