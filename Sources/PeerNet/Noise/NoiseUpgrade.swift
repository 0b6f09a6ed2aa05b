/// libp2p's use of Noise XX: length-framed messages, payloads that prove the identity, and early muxer negotiation.
struct NoiseUpgrade: Sendable {
    /// The fresh randomness a side brings.
    typealias Secrets = NoiseHandshake.Secrets

    /// What a finished upgrade gives.
    struct Session: Sendable {
        let peer: PeerID
        let records: NoiseRecords
        /// The muxer both sides listed; nil: negotiate it by multistream-select.
        let muxer: String?
        let handshakeHash: [UInt8]
    }

    private let identity: Identity
    private let isInitiator: Bool
    private let muxers: [String]
    /// Whether our payload lists our muxers.
    var listsMuxers = true
    /// For tests: changes our payload before it is sealed, as a forger would.
    var forgesPayload: (@Sendable (inout [UInt8]) -> Void)?
    private var handshake: NoiseHandshake
    private var peer: PeerID?
    private var remoteMuxers: [String]?

    /// Starts an upgrade; the initiator is the side that dialed.
    init(identity: Identity, isInitiator: Bool, secrets: Secrets, muxers: [String]) {
        self.identity = identity
        self.isInitiator = isInitiator
        self.muxers = muxers
        handshake = NoiseHandshake(role: isInitiator ? .initiator : .responder, secrets: secrets)
    }

    /// The initiator's first message, framed; nothing for a responder.
    mutating func opening() throws(Violation) -> [UInt8] {
        isInitiator ? Self.frame(try handshake.write(payload: [])) : []
    }

    /// Takes at most one framed message from `input`, and appends the answer to `output`; gives the session when the
    /// last message is done, nil while more is needed.
    mutating func receive(from input: inout ByteQueue, into output: inout [UInt8]) throws(Violation) -> Session? {
        while let message = NoiseRecords.takeFrame(from: &input) {
            let payload = try handshake.read(message)
            if !handshake.remoteStatic.isEmpty {
                let decoded = try NoisePayload(bytes: payload)
                peer = try decoded.verifiedPeer(staticKey: handshake.remoteStatic)
                remoteMuxers = decoded.streamMuxers
            }
            if handshake.isMyTurn {
                let answer = NoisePayload(
                    identity: identity, staticKey: handshake.localStatic, streamMuxers: listsMuxers ? muxers : nil)
                var payload = answer.bytes
                forgesPayload?(&payload)
                output += Self.frame(try handshake.write(payload: payload))
            }
            if handshake.isComplete, let peer {
                let (send, receive, hash) = handshake.split()
                return Session(
                    peer: peer, records: NoiseRecords(send: send, receive: receive), muxer: agreedMuxer,
                    handshakeHash: hash)
            }
        }
        return nil
    }

    /// Overwrites the secrets of an abandoned upgrade.
    mutating func wipe() { handshake.wipe() }

    /// The first entry of the initiator's list that the responder also listed.
    private var agreedMuxer: String? {
        guard listsMuxers, let remoteMuxers else { return nil }
        let (preferred, offered) = isInitiator ? (muxers, remoteMuxers) : (remoteMuxers, muxers)
        return preferred.first { offered.contains($0) }
    }

    private static func frame(_ message: [UInt8]) -> [UInt8] {
        [UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    }
}
