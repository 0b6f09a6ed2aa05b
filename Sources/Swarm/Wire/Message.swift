import Compression
import OuterSync
import PeerNet
import SwiftProtobuf

/// A control message, decoded, checked for shape, and with its signatures verified.
enum Message: Hashable, Sendable {
    case hello(Hello)
    case status(Report)
    case plan(Signed<Plan>)
    case join(Signed<Join>, accepted: Signed<Commit>?)
    case roster(Signed<Roster>)
    case offer(Offer)
    case result(Signed<OwnerResult>)
    case hold(Hold)
    case commit(Signed<Commit>)
    case ack(Signed<Ack>)
    case final(Final)
    case ledgerRequest(FragmentIndex, from: RoundIndex)
    case ledgerPage(FragmentIndex, [Final])
    case snapshotRequest(FragmentIndex)
    case snapshot(SnapshotOffer)
    case goodbye
    case admission(AdmissionNotice)
    case admissionRefused(AdmissionRefusal)
    case records(RecordNotice)
}

extension Message {
    static let version: UInt32 = 1

    /// Decodes an envelope of at most `Limits.messageBytesMax` bytes; total.
    init(bytes: [UInt8], in context: BranchContext) throws(Refusal) {
        guard bytes.count <= Limits.messageBytesMax else { throw Refusal("a message is too large") }
        let (branch, message) = try Self.opened(bytes, in: context)
        guard branch == context.branch else { throw Refusal("a message is of another branch") }
        self = try Self.checked(message, in: context)
    }

    /// Decodes what a peer may say that is not let in: who it is, and that it does not let this node in either. Anything
    /// else is nil and costs no signature check.
    init?(stranger bytes: [UInt8], in context: BranchContext) throws(Refusal) {
        guard bytes.count <= Limits.presentationBytesMax else { throw Refusal("a stranger's message is too large") }
        let (_, message) = try Self.opened(bytes, in: context)
        switch message {
        case .admission(let admission) where admission.presents: self = try Self.checked(message, in: context)
        case .admissionRefused: self = try Self.checked(message, in: context)
        default: return nil
        }
    }

    static func opened(
        _ bytes: [UInt8], in context: BranchContext
    ) throws(Refusal) -> (branch: String, message: WireEnvelope.OneOf_Message) {
        let envelope = try decode(WireEnvelope.self, bytes)
        guard envelope.version == version else {
            throw Refusal("a message has version \(envelope.version), not \(version)")
        }
        guard envelope.swarmID.elementsEqual(context.swarmID.bytes) else {
            throw Refusal("it belongs to another swarm")
        }
        guard let message = envelope.message else { throw Refusal("a message is empty or of an unknown kind") }
        return (envelope.branch, message)
    }

    static func checked(
        _ message: WireEnvelope.OneOf_Message, in context: BranchContext
    ) throws(Refusal) -> Message {
        switch message {
        case .hello(let hello):
            return .hello(
                Hello(
                    incarnation: hello.incarnation, addresses: usableAddresses(hello.addresses.map(array)),
                    report: try Report(hello.fragments, hello.members, hello.admission)))
        case .status(let status):
            var report = try Report(status.fragments, status.members, status.admission)
            report.isAnswer = status.answer
            return .status(report)
        case .plan(let plan): return .plan(try Signed(plan, in: context))
        case .join(let delivery): return try joined(delivery, in: context)
        case .roster(let roster): return .roster(try Signed(roster, in: context))
        case .offer(let offer):
            let id = try AttemptID(fragment: offer.fragment, round: offer.round, attempt: offer.attempt)
            return .offer(Offer(id: id, blob: try BlobReference(offer.blob)))
        case .result(let result): return .result(try Signed(result, in: context))
        case .hold(let hold): return .hold(try Hold(hold))
        case .commit(let commit): return .commit(try Signed(commit, in: context))
        case .ack(let ack): return .ack(try Signed(ack, in: context))
        case .final(let final): return .final(try Final(final, in: context))
        case .ledgerRequest(let request):
            let id = try AttemptID(fragment: request.fragment, round: request.fromRound, attempt: 0)
            return .ledgerRequest(id.fragment, from: id.round)
        case .ledgerPage(let page):
            let id = try AttemptID(fragment: page.fragment, round: 1, attempt: 0)
            var finals: [Final] = []
            for final in page.finals { finals.append(try Final(final, in: context)) }
            return .ledgerPage(id.fragment, finals)
        case .snapshotRequest(let request):
            return .snapshotRequest(try AttemptID(fragment: request.fragment, round: 1, attempt: 0).fragment)
        case .snapshot(let snapshot): return .snapshot(try SnapshotOffer(snapshot))
        case .goodbye: return .goodbye
        case .admission(let admission):
            return .admission(
                try AdmissionNotice(admission, in: BranchContext(swarmID: context.swarmID, branch: "")))
        case .admissionRefused(let refused):
            // A reason of a newer version still refuses.
            return .admissionRefused(AdmissionRefusal(rawValue: refused.reason) ?? .invalid)
        case .records(let records): return .records(try RecordNotice(records))
        }
    }

    private static func joined(_ delivery: WireJoinDelivery, in context: BranchContext) throws(Refusal) -> Message {
        let join = try Signed<Join>(delivery.join, in: context)
        guard delivery.hasAcceptedCommit else {
            guard join.content.accepted == nil else {
                throw Refusal("a join names an accepted commit without showing it")
            }
            return .join(join, accepted: nil)
        }
        let commit = try Signed<Commit>(delivery.acceptedCommit, in: context)
        guard let accepted = join.content.accepted, accepted.attempt == commit.content.id.attempt,
            accepted.value == commit.content.valueDigest,
            commit.content.id.fragment == join.content.id.fragment, commit.content.id.round == join.content.id.round
        else { throw Refusal("a join shows another commit than it names as accepted") }
        return .join(join, accepted: commit)
    }

    /// The envelope's bytes.
    func bytes(in context: BranchContext) -> [UInt8] {
        var envelope = WireEnvelope()
        envelope.version = Self.version
        envelope.swarmID = wire(context.swarmID.bytes)
        envelope.branch = context.branch
        envelope.message = wireMessage
        return encode(envelope)
    }

    private var wireMessage: WireEnvelope.OneOf_Message {
        switch self {
        case .hello(let hello):
            var message = WireHello()
            message.incarnation = hello.incarnation
            message.addresses = hello.addresses.map { wire($0.bytes) }
            message.fragments = hello.report.wireFragments
            message.members = hello.report.wireMembers
            message.admission = wire(hello.report.admission.bytes)
            return .hello(message)
        case .status(let report):
            var message = WireStatus()
            message.fragments = report.wireFragments
            message.members = report.wireMembers
            message.answer = report.isAnswer
            message.admission = wire(report.admission.bytes)
            return .status(message)
        case .plan(let plan): return .plan(plan.message)
        case .join(let join, let accepted):
            var message = WireJoinDelivery()
            message.join = join.message
            if let accepted { message.acceptedCommit = accepted.message }
            return .join(message)
        case .roster(let roster): return .roster(roster.message)
        case .offer(let offer): return .offer(offer.message)
        case .result(let result): return .result(result.message)
        case .hold(let hold): return .hold(hold.message)
        case .commit(let commit): return .commit(commit.message)
        case .ack(let ack): return .ack(ack.message)
        case .final(let final): return .final(final.message)
        case .ledgerRequest(let fragment, let round):
            var message = WireLedgerRequest()
            message.fragment = UInt32(fragment.value)
            message.fromRound = round.value
            return .ledgerRequest(message)
        case .ledgerPage(let fragment, let finals):
            var message = WireLedgerPage()
            message.fragment = UInt32(fragment.value)
            message.finals = finals.map(\.message)
            return .ledgerPage(message)
        case .snapshotRequest(let fragment):
            var message = WireSnapshotRequest()
            message.fragment = UInt32(fragment.value)
            return .snapshotRequest(message)
        case .snapshot(let offer): return .snapshot(offer.message)
        case .goodbye: return .goodbye(WireGoodbye())
        case .admission(let notice): return .admission(notice.message)
        case .admissionRefused(let refusal):
            var message = WireAdmissionRefused()
            message.reason = refusal.rawValue
            return .admissionRefused(message)
        case .records(let notice): return .records(notice.message)
        }
    }
}

extension Offer {
    var message: WireOffer {
        var message = WireOffer()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.blob = blob.message
        return message
    }
}

extension Hold {
    init(_ message: WireHold) throws(Refusal) {
        guard message.blobs.count <= Limits.roundMembersMax else { throw Refusal("a hold names too many payloads") }
        id = try AttemptID(fragment: message.fragment, round: message.round, attempt: message.attempt)
        blobs = []
        for blob in message.blobs { blobs.append(try digest(blob, "a held payload")) }
    }

    var message: WireHold {
        var message = WireHold()
        message.fragment = UInt32(id.fragment.value)
        message.round = id.round.value
        message.attempt = id.attempt
        message.blobs = blobs.map { wire($0.bytes) }
        return message
    }
}

extension SnapshotOffer {
    init(_ message: WireSnapshot) throws(Refusal) {
        guard message.tiles.count <= Limits.fragmentTilesMax else { throw Refusal("a snapshot has too many tiles") }
        fragment = try AttemptID(fragment: message.fragment, round: 1, attempt: 0).fragment
        round = RoundIndex(message.round)
        tiles = []
        for tile in message.tiles { tiles.append(try BlobReference(tile)) }
        for norm in [message.lastStep, message.largestGradient] where !(norm.isFinite && norm.sign == .plus) {
            throw Refusal("a snapshot's drift is no norm")
        }
        drift = OuterDrift(lastStep: message.lastStep, largestGradient: message.largestGradient)
    }

    var message: WireSnapshot {
        var message = WireSnapshot()
        message.fragment = UInt32(fragment.value)
        message.round = round.value
        message.tiles = tiles.map(\.message)
        message.lastStep = drift.lastStep
        message.largestGradient = drift.largestGradient
        return message
    }
}
