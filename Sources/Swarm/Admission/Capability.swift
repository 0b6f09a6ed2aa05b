import Compression
import PeerNet

// What founder, delegates, holders and members sign about who may take part. Described in protocols/admission.md.

/// Names a capability or a delegation: the first eight bytes of its digest, as sixteen hexadecimal digits.
package struct CapabilitySerial: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The eight bytes, first byte highest.
    package let value: UInt64

    /// Takes the first bytes of a digest of what was signed.
    init(_ digest: Digest) { value = digest.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }

    /// Takes eight bytes; nil for any other count.
    init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 8 else { return nil }
        value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads sixteen hexadecimal digits.
    package init?(_ text: String) {
        guard text.utf8.count == 16, text.allSatisfy(\.isHexDigit), let value = UInt64(text, radix: 16) else {
            return nil
        }
        self.value = value
    }

    /// Sixteen hexadecimal digits.
    package var description: String { hexadecimal(bytes) }

    var bytes: [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

    /// Orders by value.
    package static func < (left: CapabilitySerial, right: CapabilitySerial) -> Bool { left.value < right.value }
}

/// The founder's word that a peer may issue capabilities.
struct Delegation: SignedContent {
    static let kind = SignedKind.delegation
    var delegate: PeerID
    /// Unix time in seconds.
    var expires: UInt64
    /// Peers that all of the delegate's capabilities together may bring in.
    var uses: UInt32

    init(delegate: PeerID, expires: UInt64, uses: UInt32) {
        self.delegate = delegate
        self.expires = expires
        self.uses = uses
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireDelegation.self, body)
        delegate = try checkedPeer(message.delegate, "a delegate")
        expires = message.expires
        uses = try checkedUses(message.uses)
    }

    var body: [UInt8] {
        var message = WireDelegation()
        message.delegate = wire(delegate.publicKey)
        message.expires = expires
        message.uses = uses
        return encode(message)
    }
}

/// The right to bring peers into a swarm, in the hand of whoever holds a key.
struct Capability: SignedContent {
    static let kind = SignedKind.capability
    /// The key that claims must be signed with: of the invite, or of the one peer for which it is.
    var holder: PeerID
    /// Whether the holder is the only peer that may come in.
    var isBound: Bool
    /// Unix time in seconds.
    var expires: UInt64
    /// Peers that may come in.
    var uses: UInt32

    init(holder: PeerID, isBound: Bool, expires: UInt64, uses: UInt32) {
        self.holder = holder
        self.isBound = isBound
        self.expires = expires
        self.uses = uses
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireCapability.self, body)
        holder = try checkedPeer(message.holder, "a capability's holder")
        isBound = message.bound
        expires = message.expires
        uses = try checkedUses(message.uses)
        guard !isBound || uses == 1 else { throw Refusal("a capability for one peer has more than one use") }
    }

    var body: [UInt8] {
        var message = WireCapability()
        message.holder = wire(holder.publicKey)
        message.bound = isBound
        message.expires = expires
        message.uses = uses
        return encode(message)
    }
}

/// The holder's word that a peer uses the capability: without it members could bring in whom they like by a
/// capability that they have seen.
struct Claim: SignedContent {
    static let kind = SignedKind.claim
    var capability: Digest
    var peer: PeerID

    init(capability: Digest, peer: PeerID) {
        self.capability = capability
        self.peer = peer
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireClaim.self, body)
        capability = try digest(message.capability, "a claimed capability")
        peer = try checkedPeer(message.peer, "a claiming peer")
    }

    var body: [UInt8] {
        var message = WireClaim()
        message.capability = wire(capability.bytes)
        message.peer = wire(peer.publicKey)
        return encode(message)
    }
}

/// A member's word that it let a peer in, and when.
struct Welcome: SignedContent {
    static let kind = SignedKind.welcome
    var capability: Digest
    var peer: PeerID
    /// Unix time in seconds by the member's clock.
    var time: UInt64

    init(capability: Digest, peer: PeerID, time: UInt64) {
        self.capability = capability
        self.peer = peer
        self.time = time
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireWelcome.self, body)
        capability = try digest(message.capability, "a welcome's capability")
        peer = try checkedPeer(message.peer, "a welcomed peer")
        time = message.time
    }

    var body: [UInt8] {
        var message = WireWelcome()
        message.capability = wire(capability.bytes)
        message.peer = wire(peer.publicKey)
        message.time = time
        return encode(message)
    }
}

/// The end of a capability, of a delegation, or of a peer's membership.
struct Revocation: SignedContent {
    static let kind = SignedKind.revocation

    enum Target: Hashable, Sendable {
        case serial(CapabilitySerial)
        case peer(PeerID)
    }

    var target: Target

    init(_ target: Target) { self.target = target }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireRevocation.self, body)
        if message.peer.isEmpty {
            guard let serial = CapabilitySerial(bytes: message.serial) else {
                throw Refusal("a revocation names neither serial nor peer")
            }
            target = .serial(serial)
        } else {
            guard message.serial.isEmpty else { throw Refusal("a revocation names both serial and peer") }
            target = .peer(try checkedPeer(message.peer, "a revoked peer"))
        }
    }

    var body: [UInt8] {
        var message = WireRevocation()
        switch target {
        case .serial(let serial): message.serial = wire(serial.bytes)
        case .peer(let peer): message.peer = wire(peer.publicKey)
        }
        return encode(message)
    }
}

extension Signed<Capability> {
    var serial: CapabilitySerial { CapabilitySerial(digest) }
}

extension Signed<Delegation> {
    var serial: CapabilitySerial { CapabilitySerial(digest) }
}

private func checkedPeer(_ key: some Collection<UInt8>, _ name: String) throws(Refusal) -> PeerID {
    guard let peer = PeerID(publicKey: key) else { throw Refusal("\(name) is no key") }
    return peer
}

private func checkedUses(_ uses: UInt32) throws(Refusal) -> UInt32 {
    guard (1...Limits.capabilityUsesMax).contains(uses) else {
        throw Refusal("a capability has \(uses) uses, must be 1 to \(Limits.capabilityUsesMax)")
    }
    return uses
}
