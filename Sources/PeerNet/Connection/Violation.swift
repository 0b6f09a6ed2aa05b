/// A rule of the connection's protocols that a peer broke. The connection ends; none of these can be provoked by a
/// peer that follows libp2p's specifications.
package enum Violation: Error, Hashable, Sendable {
    /// multistream-select: a line longer than the limit, empty, without its newline or with an overlong length.
    case multistreamLineMalformed(lengthMax: Int)
    /// multistream-select: the first line is not `/multistream/1.0.0`.
    case multistreamHeaderMissing
    /// multistream-select: the answer is neither the proposal nor `na`.
    case multistreamAnswerUnexpected
    /// multistream-select: more proposals than the limit.
    case multistreamProposalsTooMany(max: Int)
    /// Noise: a message shorter than its fixed fields.
    case noiseMessageTooShort(bytes: Int, bytesMin: Int)
    /// Noise: a tag does not verify.
    case noiseAuthenticationFailed
    /// Noise: a Diffie-Hellman result is all zero.
    case noiseSharedSecretZero
    /// Noise: the libp2p payload does not decode.
    case noisePayloadMalformed
    /// Noise: the identity key is not one that this node accepts.
    case noiseIdentityKeyRefused(PeerIDError)
    /// Noise: the identity's signature is not over this Noise static key.
    case noiseIdentitySignatureInvalid
    /// Noise: a counter reached its end.
    case noiseNoncesExhausted
    /// yamux: a version other than 0.
    case yamuxVersionUnknown(UInt8)
    /// yamux: a frame type above 3.
    case yamuxTypeUnknown(UInt8)
    /// yamux: flags that are not defined.
    case yamuxFlagsUnknown(UInt16)
    /// yamux: a stream frame for id 0, or a session frame for another id.
    case yamuxStreamIDInvalid(UInt32)
    /// yamux: SYN for an id of the wrong parity, not above the last one, or open.
    case yamuxStreamIDReused(UInt32)
    /// yamux: more data than credit.
    case yamuxWindowExceeded(stream: UInt32, bytes: UInt32, credit: UInt32)
    /// yamux: credit beyond 2^32 - 1.
    case yamuxCreditOverflow(stream: UInt32)
    /// yamux: data after the sender's own FIN.
    case yamuxDataAfterFinish(stream: UInt32)
    /// yamux: streams opened without end although each was reset.
    case yamuxStreamsTooMany(refusedMax: Int)
    /// yamux: streams opened without end while the answers are not read.
    case yamuxWaitingFramesTooMany(max: Int)
}

/// Why a connection ended.
package enum CloseReason: Error, Hashable, Sendable, CustomStringConvertible {
    /// The peer broke a rule.
    case violation(Violation)
    /// The peer speaks none of our security or muxer protocols.
    case noCommonProtocol
    /// The address named another peer.
    case wrongPeer(expected: PeerID, found: PeerID)
    /// The peer does not use this private network's key.
    case otherNetwork
    /// The peer is this node itself.
    case ownIdentity
    /// The peer said go away with this code (0 is a normal end).
    case goneAway(code: UInt32)
    /// Security and muxer were not agreed within the limit.
    case upgradeTimedOut
    /// Nothing arrived for the limit, pings unanswered.
    case silent
    /// The socket ended or failed.
    case transportEnded(String)
    /// This node closed it.
    case local(String)

    /// One line for people.
    package var description: String {
        switch self {
        case .violation(let violation): "protocol violation: \(violation)"
        case .noCommonProtocol: "no common security or muxer protocol"
        case .wrongPeer(let expected, let found): "wrong peer: expected \(expected), found \(found)"
        case .otherNetwork: "the peer does not have this private network's key"
        case .ownIdentity: "the peer has this node's own identity"
        case .goneAway(let code): code == 0 ? "closed by the peer" : "closed by the peer with code \(code)"
        case .upgradeTimedOut: "no handshake within \(ConnectionLimits.upgradeTimeout)"
        case .silent: "nothing heard for \(ConnectionLimits.silenceTimeout)"
        case .transportEnded(let reason): reason
        case .local(let reason): reason
        }
    }
}
