import CSodium

/// One libp2p connection as a state machine: multistream-select, Noise, yamux, identify and ping.
///
/// The driver feeds `receive` with what the socket gave and `advance` when `nextDeadline` has come, writes what
/// `produce` gives, and performs `takeEvents()` in order. Nothing here knows a clock, a socket or a source of
/// randomness, and nothing that a peer sends can make it trap or hold more than the limits name.
package struct Connection: Sendable {
    /// What the driver must know, in order.
    package enum Event: Hashable, Sendable {
        /// The peer is authenticated and streams can be opened.
        case secured(PeerID)
        /// The peer said who it is, or said it anew.
        case identified(IdentifyRecord)
        /// A stream's protocol is agreed; `isInbound`: the peer opened it.
        case streamOpened(StreamID, protocol: String, isInbound: Bool)
        /// Bytes of a stream; call `consume` when they are dealt with, or the peer's credit runs out.
        case streamData(StreamID, [UInt8])
        /// The peer will send no more on this stream.
        case streamFinished(StreamID)
        /// Both sides ended the stream, and everything queued is out; the id is forgotten.
        case streamClosed(StreamID)
        /// The stream is gone.
        case streamReset(StreamID, StreamFailure)
        /// A stream whose queue had filled has room again.
        case streamWritable(StreamID)
        /// A libp2p ping was answered, or not (nil).
        case pinged(Duration?)
        /// The connection ended; nothing follows. Write what `produce` still gives, then close the socket.
        case closed(CloseReason)
    }

    /// Why a stream is gone.
    package enum StreamFailure: Hashable, Sendable {
        /// The peer does not speak the protocol.
        case refused
        /// The peer reset it, with the code that newer implementations give.
        case reset(code: UInt32)
        /// The peer did not agree in time.
        case timedOut
        /// The peer broke multistream-select on this stream.
        case violation(Violation)
    }

    /// What a connection is given at its start.
    package struct Configuration: Sendable {
        /// This node's key.
        package var identity: Identity
        /// Whether this node dialed.
        package var isDialer: Bool
        /// Whom the dialed address names; another peer is refused.
        package var expectedPeer: PeerID?
        /// Protocols served on inbound streams, and the class they send in.
        package var protocols: [String: StreamPriority]
        /// What identify tells about this node; `protocols` and `observedAddress` are filled in here.
        package var ownRecord: IdentifyRecord
        /// The socket's remote address.
        package var remoteAddress: Multiaddr?
        /// The key of the private network to which the connection is confined.
        package var networkKey: NetworkKey?
        /// Bounds of the muxer.
        package var yamux = YamuxLimits()

        /// Wraps the fields.
        package init(
            identity: Identity, isDialer: Bool, expectedPeer: PeerID? = nil, protocols: [String: StreamPriority] = [:],
            ownRecord: IdentifyRecord = IdentifyRecord(), remoteAddress: Multiaddr? = nil
        ) {
            self.identity = identity
            self.isDialer = isDialer
            self.expectedPeer = expectedPeer
            self.protocols = protocols
            self.ownRecord = ownRecord
            self.remoteAddress = remoteAddress
        }
    }

    /// Fresh random bytes for one connection: two X25519 secrets of 32 bytes, and a private network's nonce.
    package struct Secrets: Sendable {
        var noise: NoiseHandshake.Secrets
        var networkNonce: [UInt8]

        /// Takes 32 random bytes each, used for nothing else, and 24 where the connection has a network key.
        package init(staticKey: [UInt8], ephemeralKey: [UInt8], networkNonce: [UInt8] = []) {
            noise = NoiseHandshake.Secrets(staticKey: staticKey, ephemeralKey: ephemeralKey)
            self.networkNonce = networkNonce
        }

        /// How many bytes a nonce has.
        package static let networkNonceByteCount = NetworkCipher.nonceByteCount
    }

    /// Where the connection stands.
    enum Phase: Sendable {
        case proposingSecurity(MultistreamDialer)
        case answeringSecurity(MultistreamListener)
        case handshaking
        case proposingMuxer(MultistreamDialer)
        case answeringMuxer(MultistreamListener)
        case running
        case closed(CloseReason)
    }

    static let noiseProtocol = "/noise"
    static let yamuxProtocol = "/yamux/1.0.0"
    static let identifyProtocol = "/ipfs/id/1.0.0"
    static let identifyPushProtocol = "/ipfs/id/push/1.0.0"
    static let pingProtocol = "/ipfs/ping/1.0.0"

    var configuration: Configuration
    var phase: Phase
    private var upgrade: NoiseUpgrade
    private var privateNetwork: PrivateNetworkLayer?
    private var records: NoiseRecords?
    var muxer: YamuxSession
    private var handshakeHash: [UInt8] = []
    /// Bytes from the socket that are not decrypted yet, and from the muxer's negotiation.
    private var input = ByteQueue()
    private var plainInput = ByteQueue()
    /// Bytes for the socket from before encryption, and for the muxer's negotiation.
    private var output: [UInt8] = []
    private var plainOutput: [UInt8] = []
    /// Reused buffers of decrypted and of not yet encrypted bytes.
    private var opened: [UInt8] = []
    private var unsealed: [UInt8] = []
    var events: [Event] = []

    var channels: [StreamID: Channel] = [:]
    var channelDeadline: Moment?
    var pingStream: StreamID?
    var pingCount: UInt64 = 0

    private let upgradeDeadline: Moment
    private var lastReceived: Moment
    private var nextPing: Moment

    /// The authenticated peer, once `.secured`.
    package private(set) var peer: PeerID?

    /// Starts a connection over a fresh socket.
    package init(configuration: Configuration, secrets: Secrets, at now: Moment) {
        self.configuration = configuration
        upgrade = NoiseUpgrade(
            identity: configuration.identity, isInitiator: configuration.isDialer, secrets: secrets.noise,
            muxers: [Self.yamuxProtocol])
        privateNetwork = configuration.networkKey.map { PrivateNetworkLayer(key: $0, nonce: secrets.networkNonce) }
        muxer = YamuxSession(isDialer: configuration.isDialer, limits: configuration.yamux)
        upgradeDeadline = now + ConnectionLimits.upgradeTimeout
        lastReceived = now
        nextPing = now
        if configuration.isDialer {
            let dialer = MultistreamDialer(candidates: [Self.noiseProtocol])
            output = dialer.opening
            phase = .proposingSecurity(dialer)
        } else {
            phase = .answeringSecurity(MultistreamListener())
        }
    }

    /// Whether the connection ended.
    package var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }

    /// Whether streams can be opened.
    var isRunning: Bool {
        if case .running = phase { true } else { false }
    }

    /// Smoothed round-trip time, once measured.
    package var roundTrip: Duration? { muxer.roundTrip }

    /// What happened since the last call.
    package mutating func takeEvents() -> [Event] {
        defer { events.removeAll(keepingCapacity: true) }
        return events
    }

    // MARK: Bytes

    /// Takes bytes that the socket gave, cut anywhere.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer, at now: Moment) {
        guard !isClosed, !bytes.isEmpty else { return }
        lastReceived = now
        if privateNetwork == nil {
            input.append(bytes)
        } else if privateNetwork?.open(bytes, into: &input) == false {
            return end(.otherNetwork)
        }
        do throws(Violation) {
            try process(at: now)
        } catch {
            end(.violation(error))
        }
    }

    /// Takes bytes that the socket gave, cut anywhere.
    package mutating func receive(_ bytes: [UInt8], at now: Moment) {
        bytes.withUnsafeBytes { receive($0, at: now) }
    }

    /// The socket ended or failed.
    package mutating func transportEnded(_ reason: String) {
        // A peer with another key, or none, can make nothing of what it was sent.
        let hint = privateNetwork != nil && peer == nil ? "; it may not have this private network's key" : ""
        end(.transportEnded(reason + hint))
        output = []
    }

    /// Whether `produce` would give bytes.
    package func hasOutput(includingBulk: Bool = true) -> Bool {
        !output.isEmpty
            || records != nil && (!plainOutput.isEmpty || muxer.hasOutput(includingBulk: includingBulk) && canUseMuxer)
            || privateNetwork?.hasOutput == true && !isClosed
    }

    /// Appends bytes for the socket to `bytes`: about `bytesMax` if so much waits, as few records as possible, and
    /// nothing of bulk streams if they must wait.
    package mutating func produce(
        into bytes: inout [UInt8], bytesMax: Int, includingBulk: Bool = true, at now: Moment
    ) {
        guard privateNetwork != nil else {
            return produceOpen(into: &bytes, bytesMax: bytesMax, includingBulk: includingBulk, at: now)
        }
        guard !isClosed || peer != nil else { return }
        privateNetwork?.begin(into: &bytes)
        let start = bytes.count
        produceOpen(into: &bytes, bytesMax: bytesMax, includingBulk: includingBulk, at: now)
        privateNetwork?.seal(&bytes, from: start)
    }

    /// What the socket gets, but for a private network's encryption.
    private mutating func produceOpen(
        into bytes: inout [UInt8], bytesMax: Int, includingBulk: Bool, at now: Moment
    ) {
        if !output.isEmpty {
            bytes += output
            output = []
        }
        guard records != nil else { return }
        var plaintext: [UInt8] = []
        swap(&plaintext, &unsealed)
        while bytes.count < bytesMax,
            !plainOutput.isEmpty || muxer.hasOutput(includingBulk: includingBulk) && canUseMuxer
        {
            plaintext += plainOutput
            plainOutput = []
            // A frame may carry the record over its first limit by one header and body.
            let room = NoiseRecords.plaintextBytesMax - configuration.yamux.frameBodyBytesMax - YamuxHeader.byteCount
            if canUseMuxer {
                muxer.produce(
                    into: &plaintext, bytesMax: min(room, bytesMax - bytes.count), includingBulk: includingBulk)
            }
            do throws(Violation) {
                try plaintext.withUnsafeBufferPointer { (buffer) throws(Violation) in
                    try records?.seal(UnsafeRawBufferPointer(buffer), into: &bytes)
                }
            } catch {
                end(.violation(error))
                break
            }
            plaintext.removeAll(keepingCapacity: true)
        }
        plaintext.removeAll(keepingCapacity: true)
        swap(&plaintext, &unsealed)
        if !muxer.events.isEmpty { handleMuxerEvents(at: now) }
    }

    /// The muxer's frames may go out once it is agreed, its go-away after the end too.
    private var canUseMuxer: Bool {
        switch phase {
        case .running, .closed: peer != nil
        case .proposingSecurity, .answeringSecurity, .handshaking, .proposingMuxer, .answeringMuxer: false
        }
    }

    // MARK: For tests

    /// Whether the Noise payload lists muxers; rust and py send no list.
    var offersMuxersEarly: Bool {
        get { upgrade.listsMuxers }
        set { upgrade.listsMuxers = newValue }
    }

    /// Changes our Noise payload before it is sealed, as a forger would.
    var forgesPayload: (@Sendable (inout [UInt8]) -> Void)? {
        get { upgrade.forgesPayload }
        set { upgrade.forgesPayload = newValue }
    }

    /// Puts bytes before the muxer's, as a hostile peer would.
    mutating func sendRaw(_ bytes: [UInt8]) { plainOutput += bytes }

    // MARK: Time

    /// When `advance` must be called at the latest; nil once closed.
    package var nextDeadline: Moment? {
        switch phase {
        case .closed: return nil
        case .running:
            let deadline = min(nextPing, lastReceived + ConnectionLimits.silenceTimeout)
            return channelDeadline.map { min($0, deadline) } ?? deadline
        case .proposingSecurity, .answeringSecurity, .handshaking, .proposingMuxer, .answeringMuxer:
            return upgradeDeadline
        }
    }

    /// Does what is due at `now`.
    package mutating func advance(to now: Moment) {
        switch phase {
        case .closed: return
        case .running:
            guard now < lastReceived + ConnectionLimits.silenceTimeout else { return end(.silent) }
            if now >= nextPing {
                muxer.ping(at: now)
                nextPing = now + ConnectionLimits.pingInterval
            }
            if let channelDeadline, now >= channelDeadline { expireChannels(at: now) }
        case .proposingSecurity, .answeringSecurity, .handshaking, .proposingMuxer, .answeringMuxer:
            if now >= upgradeDeadline { end(.upgradeTimedOut) }
        }
    }

    // MARK: End

    /// Ends the connection: control messages that wait are still produced, then a go-away with code 0.
    package mutating func close(_ reason: String) {
        end(.local(reason))
    }

    /// Ends the connection once. Before authentication nothing is said to the peer.
    mutating func end(_ reason: CloseReason) {
        guard !isClosed else { return }
        if isRunning {
            switch reason {
            case .violation: muxer.goAway(code: 1)
            case .local: muxer.goAway(code: 0)
            case .noCommonProtocol, .wrongPeer, .otherNetwork, .ownIdentity, .goneAway, .upgradeTimedOut, .silent,
                .transportEnded:
                records = nil
            }
        } else {
            output = []
            records = nil
        }
        upgrade.wipe()
        channels = [:]
        phase = .closed(reason)
        events.append(.closed(reason))
    }

    // MARK: Upgrade

    /// Takes steps until `input` holds too little for another.
    private mutating func process(at now: Moment) throws(Violation) {
        while true {
            switch phase {
            case .proposingSecurity(var dialer):
                let outcome = try dialer.receive(from: &input, into: &output)
                phase = .proposingSecurity(dialer)
                switch outcome {
                case nil: return
                case .refused: return end(.noCommonProtocol)
                case .agreed:
                    phase = .handshaking
                    output += try upgrade.opening()
                }
            case .answeringSecurity(var listener):
                let agreed = try listener.receive(from: &input, into: &output) { $0 == Self.noiseProtocol }
                phase = .answeringSecurity(listener)
                guard agreed != nil else { return }
                phase = .handshaking
            case .handshaking:
                guard let session = try upgrade.receive(from: &input, into: &output) else { return }
                guard accept(session, at: now) else { return }
            case .proposingMuxer, .answeringMuxer, .running:
                try open(at: now)
                return
            case .closed: return
            }
        }
    }

    /// Checks who the peer is and goes on to the muxer; false if the connection ended.
    private mutating func accept(_ session: NoiseUpgrade.Session, at now: Moment) -> Bool {
        if let expected = configuration.expectedPeer, expected != session.peer {
            end(.wrongPeer(expected: expected, found: session.peer))
            return false
        }
        guard session.peer != configuration.identity.peerID else {
            end(.ownIdentity)
            return false
        }
        records = session.records
        handshakeHash = session.handshakeHash
        peer = session.peer
        if session.muxer != nil {
            startRunning(at: now)
        } else if configuration.isDialer {
            let dialer = MultistreamDialer(candidates: [Self.yamuxProtocol])
            plainOutput = dialer.opening
            phase = .proposingMuxer(dialer)
        } else {
            phase = .answeringMuxer(MultistreamListener())
        }
        return true
    }

    private mutating func startRunning(at now: Moment) {
        guard let peer else { return }
        phase = .running
        muxer.ping(at: now)
        nextPing = now + ConnectionLimits.pingInterval
        events.append(.secured(peer))
        startIdentify(at: now)
    }

    /// Decrypts whole records and hands their bytes to the muxer's negotiation or to the muxer.
    private mutating func open(at now: Moment) throws(Violation) {
        var plaintext: [UInt8] = []
        swap(&plaintext, &opened)
        defer {
            plaintext.removeAll(keepingCapacity: true)
            swap(&plaintext, &opened)
        }
        try records?.open(from: &input, into: &plaintext)
        if !isRunning {
            plainInput.append(plaintext)
            plaintext.removeAll(keepingCapacity: true)
            try negotiateMuxer(at: now)
            guard isRunning else { return }
            plaintext = plainInput.take(plainInput.count)
        }
        guard !plaintext.isEmpty else { return }
        let result = plaintext.withUnsafeBufferPointer { (buffer) -> Result<Void, Violation> in
            Result { () throws(Violation) in try muxer.receive(UnsafeRawBufferPointer(buffer), at: now) }
        }
        // What came before a violation still counts: chunking must not change what is reported.
        handleMuxerEvents(at: now)
        if !isClosed { try result.get() }
    }

    private mutating func negotiateMuxer(at now: Moment) throws(Violation) {
        switch phase {
        case .proposingMuxer(var dialer):
            let outcome = try dialer.receive(from: &plainInput, into: &plainOutput)
            phase = .proposingMuxer(dialer)
            switch outcome {
            case nil: return
            case .refused: end(.noCommonProtocol)
            case .agreed: startRunning(at: now)
            }
        case .answeringMuxer(var listener):
            let agreed = try listener.receive(from: &plainInput, into: &plainOutput) { $0 == Self.yamuxProtocol }
            phase = .answeringMuxer(listener)
            if agreed != nil { startRunning(at: now) }
        case .proposingSecurity, .answeringSecurity, .handshaking, .running, .closed: return
        }
    }

    /// Thirty-two bytes that only this node can know beforehand: the handshake hash and a counter, hashed.
    mutating func nextPingPayload() -> [UInt8] {
        pingCount += 1
        let input = handshakeHash + withUnsafeBytes(of: pingCount.littleEndian) { Array($0) }
        var digest = [UInt8](repeating: 0, count: ConnectionLimits.pingPayloadBytes)
        crypto_hash_sha256(&digest, input, UInt64(input.count))
        return digest
    }
}
