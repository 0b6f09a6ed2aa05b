import Compression
import OuterSync
import PeerNet

/// What the driver was asked for and has not answered.
struct Requests: Sendable {
    enum Request: Sendable {
        case slot(SlotBook.Key)
        case final(FragmentIndex, RoundIndex)
        case peer
        /// A voucher by this node's word goes to the others once it is on disk.
        case admission(AdmissionRecord?)
        /// A record of this node's own goes to the others once it is on disk.
        case record(RecordNotice?)
        case job(FragmentIndex, Purpose)
    }

    /// Why a job was given.
    enum Purpose: Sendable {
        case contribution(RoundIndex, [Contributor.Target?])
        case aggregate(AttemptID)
        /// A payload by this peer is looked at.
        case check(RoundIndex, PeerID, PayloadCheck)
        /// The coordinator computes the head of what it will propose.
        case proposal(AttemptID, CommitValue, OuterStepDescription)
        /// A voter computes the head of what it was asked to ack.
        case review(AttemptID, OuterStepDescription)
        /// The head follows the ledger.
        case replay(RoundIndex, OuterStepDescription)
        case adopt(RoundIndex)
        case discard
        case capture(RoundIndex)
        case install(RoundIndex, SnapshotManifest)
    }

    private var requests: [Token: Request] = [:]
    private var next: UInt64 = 1
    /// Records that could not be written, in order; tried again later.
    var failedRecords: [(record: DurableRecord, token: Token)] = []
    /// Records on their way to disk, to be kept if they fail.
    private var records: [Token: DurableRecord] = [:]

    mutating func add(_ request: Request) -> Token {
        let token = Token(next)
        next += 1
        requests[token] = request
        return token
    }

    mutating func add(_ request: Request, record: DurableRecord) -> Token {
        let token = add(request)
        records[token] = record
        return token
    }

    /// The request that an answer ends; nil for one that was never made or has been answered.
    mutating func take(_ token: Token) -> Request? {
        records[token] = nil
        return requests.removeValue(forKey: token)
    }

    /// A record failed: its request stays open.
    mutating func fail(_ token: Token) {
        guard let record = records[token] else { return }
        failedRecords.append((record, token))
    }
}

extension Requests {
    /// Whether the head of a commit is being computed for its review.
    func isReviewing(_ id: AttemptID) -> Bool {
        requests.values.contains { request in
            if case .job(_, .review(id, _)) = request { true } else { false }
        }
    }
}
