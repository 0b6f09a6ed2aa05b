import Glibc
import PeerNet

/// One TCP connection of a host: socket, protocol state and what its streams are for. Owned by the host's actor.
final class Link {
    /// What a stream is for.
    enum Use {
        /// Our long-lived stream of control messages.
        case messagesOut(String)
        /// The peer's.
        case messagesIn(String, MessageAssembler)
        /// A request of ours.
        case requestOut(RequestCall)
        /// A request of the peer that is still arriving.
        case requestIn(String, body: [UInt8], bytesMax: Int, startedAt: Moment)
        /// A request of the peer that is being answered; whoever waits for room in the stream, and how many bytes
        /// waited when that last changed.
        case responding(waiter: CheckedContinuation<Bool, Never>?, queuedBytes: Int, progressAt: Moment)
        /// Our stream of gossip.
        case gossipOut
        /// The peer's.
        case gossipIn(PubsubStreamReader)
        /// A request of ours to the hash table.
        case kademliaOut(Kademlia.RequestToken, MessageAssembler, awaitsAnswer: Bool)
        /// Requests of the peer to ours.
        case kademliaIn(MessageAssembler)
        /// Messages both ways.
        case session(Session)
    }

    let id: UInt64
    let handle: StreamHandle
    let timer: TimerHandle
    let isOutbound: Bool
    let remoteAddress: Multiaddr
    var connection: Connection
    /// Set once authenticated.
    var peer: PeerID?
    var securedAt: Moment?
    /// When bytes last came.
    var heardAt = Moment.zero
    var traffic = Traffic()
    var uses: [StreamID: Use] = [:]
    /// Streams of the peer's requests, until they are over.
    var servedStreams: Set<StreamID> = []
    /// Requests of the peer that are being answered; one that the peer has reset counts until its handler is done.
    var answering = 0
    /// Reused buffer of bytes for the socket.
    var output: [UInt8] = []
    var isFlushScheduled = false
    /// How fast the socket takes bytes, which bounds what may wait in it.
    var sendRate = SendRate()
    /// Whether it stands in the queue for the host's upload, and whether reading waits for its download.
    var isPaced = false
    var isReadingPaused = false
    /// Another connection to the peer took over at this moment: no new streams here.
    var retiredAt: Moment?
    /// Why the connection ended, once it has; the socket may still be open to send the last bytes.
    var closeReason: CloseReason?
    /// Whom to tell once that it is authenticated, or ended before (a dial).
    var onSecured: ((Result<PeerID, CloseReason>) -> Void)?
    var offences = OffenceCount()
    var pingWaiters: [CheckedContinuation<Duration?, Never>] = []
    /// Whether it only carries large responses beside the peer's first connection, and whether it is one too many: closed when idle.
    var isParallel = false
    var isSurplus = false

    init(
        id: UInt64, handle: StreamHandle, timer: TimerHandle, isOutbound: Bool, remoteAddress: Multiaddr,
        connection: Connection
    ) {
        self.id = id
        self.handle = handle
        self.timer = timer
        self.isOutbound = isOutbound
        self.remoteAddress = remoteAddress
        self.connection = connection
    }
}

/// A request of this host that waits for its turn or its response.
final class RequestCall {
    let id: UInt64
    let peer: PeerID
    let protocolName: String
    let body: [UInt8]
    let responseBytesMax: Int
    let continuation: CheckedContinuation<Result<[UInt8], RequestError>, Never>
    /// Takes the response's bytes as they come, on the loop's thread; nil: they are collected in `response`.
    let sink: (@Sendable ([UInt8]) -> Void)?
    var response: [UInt8] = []
    var receivedBytes = 0
    /// Bytes that the peer may still send of this response and that the download cap has paid for.
    var prepaidBytes = 0
    var progressAt: Moment
    /// Where it runs, once it does.
    var link: Link?
    var stream: StreamID?

    init(
        id: UInt64, peer: PeerID, protocolName: String, body: [UInt8], responseBytesMax: Int, at now: Moment,
        sink: (@Sendable ([UInt8]) -> Void)?,
        continuation: CheckedContinuation<Result<[UInt8], RequestError>, Never>
    ) {
        self.id = id
        self.peer = peer
        self.protocolName = protocolName
        self.body = body
        self.responseBytesMax = responseBytesMax
        self.sink = sink
        self.continuation = continuation
        progressAt = now
    }
}

/// A connected peer: its connections and what is spread over them.
final class PeerEntry {
    let id: PeerID
    /// The connection that new streams use.
    var link: Link
    /// Connections that another one superseded and that still have streams.
    var retiring: [Link] = []
    var messageStreams: [String: StreamID] = [:]
    /// Message protocols that the peer does not speak.
    var refusedProtocols: Set<String> = []
    var runningRequests = 0
    var waitingRequests: [RequestCall] = []
    var identify: IdentifyRecord?
    /// Whether an event that tells `identify` waits for the consumer: it will tell the newest.
    var identifyEventWaits = false
    /// What this node wanted from the peer lately.
    var use = RecentUse()
    /// Additional connections, what decides about them, and bytes of large responses since it last did.
    var parallel: [Link] = []
    var tuner: ParallelTuner?
    var largeBytes = 0
    /// Additional connections that the peer may still open, until when, and beside which connection.
    var announced: (count: Int, until: Moment, link: UInt64) = (0, .zero, 0)

    /// All connections, the first one last.
    var links: [Link] { parallel + retiring + [link] }

    init(id: PeerID, link: Link) {
        self.id = id
        self.link = link
    }
}

/// Bytes that this node wanted from a peer, where older ones count less.
struct RecentUse {
    private static let halfLifeSeconds = 300.0
    private var bytes = 0.0
    private var countedAt = Moment.zero

    mutating func add(_ count: Int, at now: Moment) {
        bytes = value(at: now) + Double(count)
        countedAt = now
    }

    func value(at now: Moment) -> Double {
        bytes == 0 ? 0 : bytes / Glibc.exp2((now - countedAt).inSeconds / Self.halfLifeSeconds)
    }
}

/// What a peer asked for beyond its limits, minute by minute.
struct OffenceCount {
    private static let period: Duration = .seconds(60)
    private var count = 0
    private var since = Moment.zero

    /// Counts an offence; gives how many there were in this minute.
    mutating func add(_ weight: Int, at now: Moment) -> Int {
        if now - since >= Self.period { (count, since) = (0, now) }
        count += weight
        return count
    }
}

/// Cuts a stream of uvarint-prefixed messages; holds at most one message and one length.
struct MessageAssembler {
    private let bytesMax: Int
    private let bytesMin: Int
    private var length: [UInt8] = []
    private var message: [UInt8] = []
    private var missing: Int?

    /// Messages have `bytesMin` to `bytesMax` bytes. An empty one says nothing on a one-way stream, and costs its sender
    /// one byte and us an event.
    init(bytesMax: Int, bytesMin: Int = 1) {
        self.bytesMax = bytesMax
        self.bytesMin = bytesMin
    }

    /// Whether the bytes so far end with a message.
    var isBetweenMessages: Bool { missing == nil && length.isEmpty }

    /// Takes bytes and appends the messages they complete; false if the peer broke the framing or the limit.
    mutating func receive(_ bytes: [UInt8], into messages: inout [[UInt8]]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            if let count = missing {
                let taken = rest.prefix(count)
                message += taken
                rest = rest.dropFirst(taken.count)
                missing = count - taken.count
            } else if let byte = rest.popFirst() {
                length.append(byte)
                switch MessageFraming.readLength(length) {
                case .incomplete: continue
                case .malformed: return false
                case .length(let count):
                    guard count >= bytesMin, count <= bytesMax else { return false }
                    missing = count
                    length = []
                }
            }
            if missing == 0 {
                messages.append(message)
                message = []
                missing = nil
            }
        }
        return true
    }
}
