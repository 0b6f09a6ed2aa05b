import Compression
import OuterSync
import PeerNet

/// What two members tell each other first on a link.
struct LinkHello: Hashable, Sendable {
    /// Families that the sender decodes.
    var families: Set<UInt8>
    /// The largest payload that it takes.
    var payloadBytesMax: Int
}

/// What the sender has measured of a link.
struct LinkReport: Hashable, Sendable {
    /// What it receives; 0: nothing measured yet.
    var receivedKilobits: UInt32
    var roundTrip: Duration?
}

/// How its maker encodes what it sends to one receiver, from a round on.
struct LinkTable: SignedContent {
    static let kind = SignedKind.table
    /// Codecs in a row; longer tables are refused.
    static let runsMax = Limits.fragmentTilesMax

    var receiver: PeerID
    var fragment: FragmentIndex
    var version: UInt32
    var fromRound: RoundIndex
    /// Per tile that the receiver owns.
    var codecs: [Codec]
    var predictedBytes: Int

    init(receiver: PeerID, fragment: FragmentIndex, version: UInt32, _ table: CodecTable) {
        self.receiver = receiver
        self.fragment = fragment
        self.version = version
        fromRound = table.fromRound
        codecs = table.codecs
        predictedBytes = table.byteCount
    }

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        let message = try decode(WireLinkTableBody.self, body)
        guard let receiver = PeerID(publicKey: message.receiver) else { throw Refusal("a table's receiver is no key") }
        self.receiver = receiver
        let id = try AttemptID(fragment: message.fragment, round: message.fromRound, attempt: 0)
        fragment = id.fragment
        fromRound = id.round
        version = message.version
        guard (1...Self.runsMax).contains(message.runs.count) else { throw Refusal("a table has no runs or too many") }
        codecs = []
        for run in message.runs {
            guard let family = UInt8(exactly: run.family), let level = UInt16(exactly: run.level),
                let codec = Codec(family: family, level: level)
            else { throw Refusal("a table names a codec that does not exist") }
            guard run.tiles >= 1, Int(run.tiles) <= Limits.fragmentTilesMax - codecs.count else {
                throw Refusal("a table has too many tiles")
            }
            codecs += repeatElement(codec, count: Int(run.tiles))
        }
        guard message.predictedBytes >= 1 else { throw Refusal("a table predicts no bytes") }
        predictedBytes = Int(message.predictedBytes)
    }

    var body: [UInt8] {
        var message = WireLinkTableBody()
        message.receiver = wire(receiver.publicKey)
        message.fragment = UInt32(fragment.value)
        message.version = version
        message.fromRound = fromRound.value
        message.predictedBytes = UInt32(clamping: predictedBytes)
        for codec in codecs {
            if let last = message.runs.last, last.family == UInt32(codec.family), last.level == UInt32(codec.level) {
                message.runs[message.runs.count - 1].tiles += 1
                continue
            }
            var run = WireLinkTableRun()
            run.family = UInt32(codec.family)
            run.level = UInt32(codec.level)
            run.tiles = 1
            message.runs.append(run)
        }
        return encode(message)
    }
}

/// A message on `/atoll/link/1.0.0`, decoded, checked for shape, and with its signature verified.
enum LinkMessage: Hashable, Sendable {
    case hello(LinkHello)
    case report(LinkReport)
    case table(Signed<LinkTable>)

    static let version: UInt32 = 1
    /// Longest round trip that a report may name: beyond it every connection has timed out.
    private static let roundTripMicrosecondsMax: UInt32 = 600_000_000

    /// Decodes a message of a peer; total.
    init(bytes: [UInt8], from peer: PeerID, in context: BranchContext) throws(Refusal) {
        guard bytes.count <= Limits.linkMessageBytesMax else { throw Refusal("a link message is too large") }
        let envelope = try decode(WireLinkEnvelope.self, bytes)
        guard envelope.version == Self.version else {
            throw Refusal("a link message has version \(envelope.version), not \(Self.version)")
        }
        guard envelope.swarmID.elementsEqual(context.swarmID.bytes) else {
            throw Refusal("it belongs to another swarm")
        }
        switch envelope.message {
        case .hello(let hello): self = .hello(try LinkHello(hello))
        case .report(let report):
            guard report.receivedKbits <= Limits.kilobitsMax, report.roundTripMicros <= Self.roundTripMicrosecondsMax
            else { throw Refusal("a link report is out of range") }
            self = .report(
                LinkReport(
                    receivedKilobits: report.receivedKbits,
                    roundTrip: report.roundTripMicros == 0 ? nil : .microseconds(Int(report.roundTripMicros))))
        case .table(let table):
            var message = WireSigned()
            message.signer = wire(peer.publicKey)
            message.body = table.body
            message.signature = table.signature
            self = .table(try Signed(message, in: context))
        case nil: throw Refusal("a link message is empty or of an unknown kind")
        }
    }

    /// The message's bytes.
    func bytes(in context: BranchContext) -> [UInt8] {
        var envelope = WireLinkEnvelope()
        envelope.version = Self.version
        envelope.swarmID = wire(context.swarmID.bytes)
        switch self {
        case .hello(let hello):
            envelope.hello.families = hello.families.sorted().map { UInt32($0) }
            envelope.hello.payloadBytesMax = UInt32(clamping: hello.payloadBytesMax)
        case .report(let report):
            envelope.report.receivedKbits = report.receivedKilobits
            let microseconds = (report.roundTrip?.inSeconds ?? 0) * 1e6
            envelope.report.roundTripMicros = UInt32(min(microseconds, Double(Self.roundTripMicrosecondsMax)))
        case .table(let table):
            envelope.table.body = wire(table.body)
            envelope.table.signature = wire(table.signature)
        }
        return encode(envelope)
    }
}

extension LinkHello {
    init(_ message: WireLinkHello) throws(Refusal) {
        guard (1...256).contains(message.families.count) else { throw Refusal("a link hello names no families") }
        families = []
        var last = -1
        for family in message.families {
            // One of a newer version may be above what is known here, but not above a byte.
            guard let family = UInt8(exactly: family), Int(family) > last else {
                throw Refusal("a link hello's families do not ascend")
            }
            last = Int(family)
            families.insert(family)
        }
        guard message.payloadBytesMax >= 1 else { throw Refusal("a link hello takes no payload") }
        payloadBytesMax = Int(message.payloadBytesMax)
    }
}
