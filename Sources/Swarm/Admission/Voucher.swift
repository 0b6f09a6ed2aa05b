package import Compression
package import PeerNet

/// What admission signatures of one swarm are bound to, and who is behind all of them.
struct AdmissionContext: Hashable, Sendable {
    /// The swarm without a branch: who is let in is let into all branches.
    let signing: BranchContext
    let founder: PeerID

    init(swarmID: Digest, founder: PeerID) {
        signing = BranchContext(swarmID: swarmID, branch: "")
        self.founder = founder
    }
}

/// One peer's way in: a capability that goes back to the founder, the holder's claim for the peer, and once a member has
/// let the peer in, that member's welcome. Every signature of a value is verified, and its parts fit each other.
struct Voucher: Hashable, Sendable {
    let capability: Signed<Capability>
    let delegation: Signed<Delegation>?
    let claim: Signed<Claim>
    let welcome: Signed<Welcome>?

    /// Which of a capability's uses come first: by the time at which a member let the peer in, then by the peer's key.
    struct Rank: Hashable, Comparable, Sendable {
        let time: UInt64
        let peer: PeerID
        let capability: Digest

        static func < (left: Rank, right: Rank) -> Bool {
            if left.time != right.time { return left.time < right.time }
            return left.peer != right.peer ? left.peer < right.peer : left.capability < right.capability
        }
    }

    var peer: PeerID { claim.content.peer }
    var serial: CapabilitySerial { capability.serial }
    /// The last second in which the capability lets anybody in, clocks that differ aside.
    var expires: UInt64 { min(capability.content.expires, delegation?.content.expires ?? .max) }
    /// Whether a member whose clock shows `time` may let a peer in by it.
    func isGood(at time: UInt64) -> Bool { time <= expires.addingClamped(Limits.clockSkewSeconds) }

    var rank: Rank? {
        welcome.map { Rank(time: $0.content.time, peer: peer, capability: capability.digest) }
    }

    init(
        capability: Signed<Capability>, delegation: Signed<Delegation>?, claim: Signed<Claim>,
        welcome: Signed<Welcome>?, in context: AdmissionContext
    ) throws(Refusal) {
        self.capability = capability
        self.delegation = delegation
        self.claim = claim
        self.welcome = welcome
        try Self.checkIssuer(capability, delegation, in: context)
        guard claim.content.capability == capability.digest, claim.signer == capability.content.holder else {
            throw Refusal("a claim is not by the holder of the capability")
        }
        guard !capability.content.isBound || claim.content.peer == capability.content.holder else {
            throw Refusal("a capability for one peer is claimed for another")
        }
        guard let welcome else { return }
        guard welcome.content.capability == capability.digest, welcome.content.peer == claim.content.peer else {
            throw Refusal("a welcome is for another claim")
        }
        guard isGood(at: welcome.content.time) else { throw Refusal("a peer was let in after its capability expired") }
        guard welcome.signer != claim.content.peer else { throw Refusal("a peer let itself in") }
    }

    /// A capability must go back to the founder, by one delegation at most, and keep within it.
    static func checkIssuer(
        _ capability: Signed<Capability>, _ delegation: Signed<Delegation>?, in context: AdmissionContext
    ) throws(Refusal) {
        guard let delegation else {
            guard capability.signer == context.founder else { throw Refusal("a capability is not by the founder") }
            return
        }
        guard delegation.signer == context.founder, delegation.content.delegate == capability.signer else {
            throw Refusal("a capability's delegation is not by the founder for its issuer")
        }
    }

    /// The same way in, by the word of a member.
    func welcomed(by member: Identity, at time: UInt64, in context: AdmissionContext) throws(Refusal) -> Voucher {
        let content = Welcome(capability: capability.digest, peer: peer, time: time)
        return try Voucher(
            capability: capability, delegation: delegation, claim: claim,
            welcome: Signed(content, by: member, in: context.signing), in: context)
    }

    init(bytes: [UInt8], in context: AdmissionContext) throws(Refusal) {
        let message = try decode(WireVoucher.self, bytes)
        try self.init(
            capability: Signed(message.capability, in: context.signing),
            delegation: message.hasDelegation ? Signed(message.delegation, in: context.signing) : nil,
            claim: Signed(message.claim, in: context.signing),
            welcome: message.hasWelcome ? Signed(message.welcome, in: context.signing) : nil, in: context)
    }

    var bytes: [UInt8] {
        var message = WireVoucher()
        message.capability = capability.message
        if let delegation { message.delegation = delegation.message }
        message.claim = claim.message
        if let welcome { message.welcome = welcome.message }
        return encode(message)
    }
}

/// What an invite's receiver is let in by.
package struct Credential: Hashable, Sendable {
    let capability: Signed<Capability>
    let delegation: Signed<Delegation>?
    /// The seed of the holder's key; nil where the holder is a peer.
    let secret: [UInt8]?

    /// A capability of the founder's for whoever learns `secret`, a 32-byte seed; nil for another count of bytes or of
    /// uses than is allowed.
    package init?(founder: Identity, swarmID: Digest, secret: [UInt8], expires: UInt64, uses: UInt32) {
        guard let holder = Identity(seed: secret)?.peerID, (1...Limits.capabilityUsesMax).contains(uses) else {
            return nil
        }
        let content = Capability(holder: holder, isBound: false, expires: expires, uses: uses)
        let context = AdmissionContext(swarmID: swarmID, founder: founder.peerID)
        self.init(
            capability: Signed(content, by: founder, in: context.signing), delegation: nil, secret: secret)
    }

    init(capability: Signed<Capability>, delegation: Signed<Delegation>?, secret: [UInt8]?) {
        self.capability = capability
        self.delegation = delegation
        self.secret = secret
    }

    /// Names the capability.
    package var serial: CapabilitySerial { capability.serial }
    /// Unix time in seconds.
    package var expires: UInt64 { capability.content.expires }
    /// Peers that may come in by it.
    package var uses: UInt32 { capability.content.uses }
    /// The only peer that may come in by it, if it is for one.
    package var boundPeer: PeerID? { capability.content.isBound ? capability.content.holder : nil }

    /// Claims it for a peer.
    func voucher(for peer: Identity, in context: AdmissionContext) throws(Refusal) -> Voucher {
        guard let holder = secret.map({ Identity(seed: $0) }) ?? peer else { throw Refusal("a secret is no seed") }
        let claim = Claim(capability: capability.digest, peer: peer.peerID)
        return try Voucher(
            capability: capability, delegation: delegation, claim: Signed(claim, by: holder, in: context.signing),
            welcome: nil, in: context)
    }
}

extension Credential {
    init(_ message: WireInviteCredential, swarmID: Digest) throws(Refusal) {
        let context = BranchContext(swarmID: swarmID, branch: "")
        capability = try Signed(message.capability, in: context)
        delegation = message.hasDelegation ? try Signed(message.delegation, in: context) : nil
        secret = message.secret.isEmpty ? nil : array(message.secret)
        guard capability.content.isBound == (secret == nil) else { throw Refusal("a capability lacks its secret") }
        guard secret.map({ Identity(seed: $0)?.peerID == capability.content.holder }) ?? true else {
            throw Refusal("a secret is not of the capability's holder")
        }
    }

    var message: WireInviteCredential {
        var message = WireInviteCredential()
        message.capability = capability.message
        if let delegation { message.delegation = delegation.message }
        if let secret { message.secret = wire(secret) }
        return message
    }
}

extension UInt64 {
    /// The sum, or the greatest number there is.
    func addingClamped(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
