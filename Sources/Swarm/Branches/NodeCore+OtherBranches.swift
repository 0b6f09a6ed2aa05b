import PeerNet

// Members of other branches are one swarm with this node: they let each other in, tell each other of members and records,
// and serve each other's blobs. Rounds, ledgers and heads are a branch's own.

extension Message {
    /// What bytes of a peer are to a node of a branch.
    enum Arrival: Sendable {
        case own(Message)
        /// A message that concerns the whole swarm, by a member of another branch.
        case swarmWide(Message, branch: String)
        /// Of a round of another branch; nothing in it has been looked at.
        case othersRound
    }

    /// Decodes an envelope of any branch; total.
    static func arrival(_ bytes: [UInt8], in context: BranchContext) throws(Refusal) -> Arrival {
        guard bytes.count <= Limits.messageBytesMax else { throw Refusal("a message is too large") }
        let (branch, message) = try opened(bytes, in: context)
        if branch == context.branch { return .own(try checked(message, in: context)) }
        guard Branch.isID(branch) else { throw Refusal("a message is of no branch") }
        switch message {
        case .hello, .status, .goodbye, .admission, .admissionRefused, .records:
            return .swarmWide(try checked(message, in: context), branch: branch)
        case .plan, .join, .roster, .offer, .result, .hold, .commit, .ack, .final, .ledgerRequest, .ledgerPage,
            .snapshotRequest, .snapshot:
            return .othersRound
        }
    }
}

extension NodeCore {
    mutating func otherBranchSent(_ message: Message, of branch: String, _ peer: PeerID) {
        switch message {
        case .hello(let hello):
            refusal = nil
            let isNews = peers[peer]?.incarnation == nil
            takeAddresses(of: hello, from: peer)
            guard peers[peer] != nil else { return }  // the table is full
            peers.update(peer) { entry in
                entry.branch = branch
                entry.reports = []
            }
            if isNews { event(.otherBranchConnected(peer, branch: branch)) }
            exchangeAdmissions(with: peer, that: hello.report.admission)
            meet(hello.report.members)
            tellRecords(to: peer)
        case .status(let report):
            exchangeAdmissions(with: peer, that: report.admission)
            meet(report.members)
        case .goodbye: peers.update(peer) { $0.isLeaving = true }
        case .admission(let notice): admissionReceived(notice, from: peer)
        case .admissionRefused(let refusal): refused(refusal, by: peer)
        case .records(let notice): recordsReceived(notice, from: peer)
        case .plan, .join, .roster, .offer, .result, .hold, .commit, .ack, .final, .ledgerRequest, .ledgerPage,
            .snapshotRequest, .snapshot:
            break
        }
    }
}

extension PeerTable {
    /// Connected peers that have said to be of another branch, ascending.
    var elsewhere: [PeerID] {
        known.filter { self[$0]?.isConnected == true && self[$0]?.branch != nil }
    }
}
