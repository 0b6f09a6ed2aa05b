package import Compression
package import PeerNet

// What founder and delegates sign at the wish of their owners.

/// Why a node cannot sign what its owner wants.
package enum IssuingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The charter lets everybody in, or lists who may come in.
    case notByInvite
    /// This node is neither the founder nor a delegate whose delegation is good.
    case notAnIssuer
    /// Only the founder can delegate.
    case notTheFounder
    /// A count or a time is out of range.
    case range(String)
    /// The founder cannot be revoked, nor be its own delegate.
    case founder
    /// No more delegations or revocations can be held, or this one is there already.
    case noNews

    /// The cause in words.
    package var description: String {
        switch self {
        case .notByInvite: "this swarm's charter does not ask for capabilities"
        case .notAnIssuer: "this node is neither the swarm's founder nor a delegate of the founder"
        case .notTheFounder: "only the swarm's founder can name delegates"
        case .range(let reason): reason
        case .founder: "the founder can be neither revoked nor its own delegate"
        case .noNews: "it is revoked or delegated already, or no more records can be held"
        }
    }
}

extension NodeCore {
    /// Who may come in by a capability.
    package enum Holder: Hashable, Sendable {
        /// Whoever learns this secret, a fresh 32-byte seed.
        case secret([UInt8])
        /// One peer.
        case peer(PeerID)
    }

    /// The longest life of a capability or delegation: ten years.
    package static let lifetimeSecondsMax: UInt64 = 10 * 365 * 86_400

    /// Signs a capability that lets `uses` peers in during the next `seconds`. Nothing is stored: it counts once used.
    package func issue(
        to holder: Holder, uses: UInt32, seconds: UInt64, at now: Moment
    ) throws(IssuingError) -> Credential {
        guard charter.admission == .invite else { throw .notByInvite }
        let time = try checked(uses: uses, seconds: seconds, at: now)
        let delegation = me == charter.founder ? nil : admissions.delegation(of: me, at: time)
        guard me == charter.founder || delegation != nil else { throw .notAnIssuer }
        let expires = min(time + seconds, delegation?.content.expires ?? .max)
        let capability: Capability
        let secret: [UInt8]?
        switch holder {
        case .secret(let seed):
            guard let key = Identity(seed: seed)?.peerID else { throw .range("a secret must have 32 bytes") }
            (capability, secret) = (Capability(holder: key, isBound: false, expires: expires, uses: uses), seed)
        case .peer(let peer):
            guard uses == 1 else { throw .range("an invite for one peer has one use") }
            (capability, secret) = (Capability(holder: peer, isBound: true, expires: expires, uses: 1), nil)
        }
        return Credential(
            capability: Signed(capability, by: configuration.identity, in: admissions.context.signing),
            delegation: delegation, secret: secret)
    }

    /// Lets a peer issue capabilities for `uses` peers in all during the next `seconds`, and tells the swarm.
    package mutating func delegate(
        to peer: PeerID, uses: UInt32, seconds: UInt64, at now: Moment, into outputs: inout [Output]
    ) throws(IssuingError) -> CapabilitySerial {
        guard charter.admission == .invite else { throw .notByInvite }
        guard me == charter.founder else { throw .notTheFounder }
        guard peer != me else { throw .founder }
        let time = try checked(uses: uses, seconds: seconds, at: now)
        let content = Delegation(delegate: peer, expires: time + seconds, uses: uses)
        let delegation = Signed(content, by: configuration.identity, in: admissions.context.signing)
        guard admissions.take(delegation) else { throw .noNews }
        tell(.delegation(delegation), at: now, into: &outputs)
        return delegation.serial
    }

    /// Ends a capability or delegation with all who came in by it.
    package mutating func revoke(
        _ serial: CapabilitySerial, at now: Moment, into outputs: inout [Output]
    ) throws(IssuingError) {
        guard charter.admission == .invite else { throw .notByInvite }
        try revoke(.serial(serial), at: now, into: &outputs)
    }

    /// Ends a peer's membership for good; a delegate's word counts for those who came in by its own capabilities.
    package mutating func revoke(_ peer: PeerID, at now: Moment, into outputs: inout [Output]) throws(IssuingError) {
        guard peer != charter.founder else { throw .founder }
        try revoke(.peer(peer), at: now, into: &outputs)
    }

    private mutating func revoke(
        _ target: Revocation.Target, at now: Moment, into outputs: inout [Output]
    ) throws(IssuingError) {
        let isDelegate = admissions.delegations.values.contains { $0.content.delegate == me }
        guard me == charter.founder || isDelegate else { throw .notAnIssuer }
        let signed = Signed(Revocation(target), by: configuration.identity, in: admissions.context.signing)
        guard admissions.take(signed) else { throw .noNews }
        tell(.revocation(signed), at: now, into: &outputs)
    }

    /// Keeps a record of this node's own, publishes it and drops whom it excludes.
    private mutating func tell(_ record: AdmissionRecord, at now: Moment, into outputs: inout [Output]) {
        swap(&out, &outputs)
        self.now = max(self.now, now)
        keep(AdmissionBook.Change(added: [record]))
        reviewConnected()
        swap(&out, &outputs)
    }

    private func checked(uses: UInt32, seconds: UInt64, at now: Moment) throws(IssuingError) -> UInt64 {
        guard (1...Limits.capabilityUsesMax).contains(uses) else {
            throw .range("an invite can have 1 to \(Limits.capabilityUsesMax) uses, not \(uses)")
        }
        guard (1...Self.lifetimeSecondsMax).contains(seconds) else {
            throw .range("an invite can last from one second to ten years")
        }
        guard let wallClock else { throw .range("the wall clock is not known yet") }
        return wallClock.seconds.addingClamped(UInt64(max(0, (now - wallClock.at).components.seconds)))
    }
}

extension Credential {
    /// The bytes of a presentation that claims this credential for a node: what to show before there is a core.
    package func presentation(of node: Identity, swarmID: Digest) -> [UInt8]? {
        // The issuer is judged by whoever knows the charter; here it is taken at its word.
        let issuer = delegation?.signer ?? capability.signer
        let context = AdmissionContext(swarmID: swarmID, founder: issuer)
        guard let voucher = try? self.voucher(for: node, in: context) else { return nil }
        return Message.admission(AdmissionNotice(presenting: [voucher]))
            .bytes(in: BranchContext(swarmID: swarmID, branch: NodeCore.branch))
    }

    /// Whether a peer may come in by it.
    package func isFor(_ peer: PeerID) -> Bool { boundPeer.map { $0 == peer } ?? true }
}
