import Compression
import OuterSync
import PeerNet
import Swarm

/// What nodes sign and send.
extension InvariantChecker {
    /// Whether a message's outer signature is this node's own.
    func isSigned(_ message: ObservedMessage, by node: SimulatedNode) -> Bool {
        message.signer == node.identity.peerID
    }

    /// A message leaves a node.
    func sending(
        _ message: ObservedMessage, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        if message.slot.kind == .final, let final = ObservedFinal(message.body) { try register(final, node, nodes) }
        guard isSigned(message, by: node) else { return }
        try bind(message, node)
        guard durableSlots.contains(SignedSlot(node: node.number, slot: message.slot)) else {
            throw InvariantViolation(.durableBeforeSent, node.number, "\(message.slot) is not on disk")
        }
        if message.slot.kind == .ack { try checkAck(message, node, nodes) }
    }

    /// A node asks to store a signed message. Until it is durable it does not exist: a crash or a full disk may take it.
    func signing(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        guard message.slot.kind == .commit else { return }
        guard let value = WireFields(message.body).flatMap({ ObservedValue($0.bytes(4)) }) else {
            throw InvariantViolation(.contract, node.number, "a commit does not decode")
        }
        values[value.digest] = value
    }

    /// A signed message is durable: it binds its signer, and may leave from now on.
    func slotIsDurable(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        guard isSigned(message, by: node) else { return }
        try bind(message, node)
        guard durableSlots.insert(SignedSlot(node: node.number, slot: message.slot)).inserted else { return }
        switch message.slot.kind {
        case .join: try checkJoin(message, node)
        case .commit: try checkProposal(message, node)
        case .ack: try recordAck(message, node)
        case .plan, .roster, .offer, .result, .hold, .final, .other: break
        }
    }

    /// The first body signed for a slot binds all later ones.
    private func bind(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        let key = SignedSlot(node: node.number, slot: message.slot)
        let digest = Digest(hashing: message.body)
        if let bound = bodies[key], bound != digest {
            throw InvariantViolation(.oneMessagePerSlot, node.number, "a second \(message.slot)")
        }
        bodies[key] = digest
    }

    // MARK: Promises

    /// A join must name the ack of the highest attempt that its voter gave in this round.
    private func checkJoin(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        let slot = message.slot
        let key = CopyKey(node: node.number, fragment: slot.fragment, round: slot.round)
        let accepted = WireFields(message.body).flatMap { WireFields($0.bytes(9)) }
        if slot.attempt >= votes[key]?.highestJoin ?? 0 {
            votes[key, default: Vote()].highestJoin = slot.attempt
            votes[key]?.shown = accepted.map { ($0.number(1), $0.bytes(2)) }
        }
        // A promise that is written again after a failed write may stand beside its own attempt's ack.
        let earlier = votes[key]?.acks.filter { $0.key < slot.attempt }
        guard let highest = earlier?.max(by: { $0.key < $1.key }) else { return }
        guard accepted?.number(1) == UInt64(highest.key), Digest(bytes: accepted?.bytes(2) ?? []) == highest.value
        else {
            throw InvariantViolation(.promiseIsKept, node.number, "\(slot) hides its ack of attempt \(highest.key)")
        }
    }

    /// Once a value has a quorum of acks, every proposal of a higher attempt must carry it.
    private func checkProposal(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        guard let value = WireFields(message.body).flatMap({ ObservedValue($0.bytes(4)) }) else { return }
        let slot = message.slot
        let key = RoundKey(fragment: slot.fragment, round: slot.round)
        if proposals[key]?.contains(where: { $0.key < slot.attempt && $0.value == value.digest }) == true {
            counters.reproposals += 1
        }
        if let other = proposals[key]?[slot.attempt], other != value.digest {
            throw InvariantViolation(.oneMessagePerSlot, node.number, "two values in attempt \(slot.attempt)")
        }
        proposals[key, default: [:]][slot.attempt] = value.digest
        try checkChosen(key)
    }

    /// An ack is never given below a promise, but for what the promise itself shows as accepted before: that ack was only
    /// longer on its way, and the higher attempt's coordinator knows of it.
    private func recordAck(_ message: ObservedMessage, _ node: SimulatedNode) throws(InvariantViolation) {
        let slot = message.slot
        guard let value = WireFields(message.body).flatMap({ Digest(bytes: $0.bytes(4)) }) else {
            throw InvariantViolation(.contract, node.number, "an ack does not decode")
        }
        let key = CopyKey(node: node.number, fragment: slot.fragment, round: slot.round)
        let wasShown = votes[key]?.shown.map { $0.attempt == UInt64(slot.attempt) && $0.value == value.bytes } ?? false
        if let promised = votes[key]?.highestJoin, promised > slot.attempt, !wasShown,
            votes[key]?.acks[slot.attempt] == nil
        {
            throw InvariantViolation(.promiseIsKept, node.number, "\(slot) after a join of attempt \(promised)")
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
        _ message: ObservedMessage, _ node: SimulatedNode, _ nodes: [SimulatedNode]
    ) throws(InvariantViolation) {
        guard let digest = WireFields(message.body).flatMap({ Digest(bytes: $0.bytes(4)) }), let value = values[digest]
        else { throw InvariantViolation(.ackIsTrue, node.number, "\(message.slot) acks a value that nobody proposed") }
        try checkHeld(value, node, "\(message.slot) is given")
        _ = try reference(of: value, node, nodes)
    }

    /// Every payload of a value lies durably on this node's disk.
    func checkHeld(_ value: ObservedValue, _ node: SimulatedNode, _ occasion: String) throws(InvariantViolation) {
        for payload in value.payloads where node.disk.blobs[payload.blob.digest]?.count != payload.blob.byteCount {
            throw InvariantViolation(
                .ackIsTrue, node.number, "\(occasion) and payload \(payload.blob.digest.short) is not held")
        }
    }
}
