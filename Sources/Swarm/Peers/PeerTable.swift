import Compression
import OuterSync
import PeerNet

/// What this node knows about another member.
struct Peer: Sendable {
    var addresses: [Multiaddr] = []
    var isConnected = false
    /// It has said that it is about to stop.
    var isLeaving = false
    /// From its hello on this connection; a status may overtake it.
    var incarnation: UInt64?
    /// Where it stands, per fragment; empty until it has said so.
    var reports: [FragmentReport] = []
    /// Its last answer to a ledger or snapshot request was of no use; others are asked first.
    var wasUseless = false
    /// It has refused this node: not to be dialed before.
    var restsUntil: Moment?
    /// When admission records were sent to it.
    var admissionsSentAt: Moment?
    /// The branch that it trains, if that is another one than this node's.
    var branch: String?
    /// What both held of branches and experts when this node last told it of its own, and when that was.
    var recordsTold: (states: [RecordSummary], at: Moment)?

    /// Whether it can be asked for anything.
    var isMember: Bool { isConnected && !reports.isEmpty }
}

/// The members that this node knows, itself excluded; bounded.
struct PeerTable: Sendable {
    private var peers: [PeerID: Peer] = [:]
    private let me: PeerID

    init(me: PeerID) { self.me = me }

    subscript(_ peer: PeerID) -> Peer? { peers[peer] }

    var count: Int { peers.count }

    /// All, ascending.
    var known: [PeerID] { peers.keys.sorted() }

    /// Those with a connection that have said hello, ascending.
    var members: [PeerID] { peers.filter(\.value.isMember).keys.sorted() }

    func isMember(_ peer: PeerID) -> Bool { peers[peer]?.isMember ?? false }

    /// Changes a peer's entry, making one if there is room; a connected peer takes the place of one that is not.
    mutating func update(_ peer: PeerID, _ change: (inout Peer) -> Void) {
        guard peer != me else { return }
        var entry = peers[peer] ?? Peer()
        change(&entry)
        if peers[peer] == nil, peers.count >= Limits.membersMax {
            guard entry.isConnected, let victim = known.last(where: { peers[$0]?.isConnected == false }) else { return }
            peers[victim] = nil
        }
        peers[peer] = entry
    }

    /// Forgets a peer.
    mutating func remove(_ peer: PeerID) { peers[peer] = nil }

    /// The newest ledger round of a fragment that a connected member has told.
    func newestRound(of fragment: FragmentIndex) -> RoundIndex? {
        peers.values.filter(\.isMember).map { $0.reports[fragment.value].ledgerRound }.max()
    }

    /// Connected members whose ledger reaches a round, those not useless before first, ascending.
    func members(withLedger round: RoundIndex, of fragment: FragmentIndex) -> [PeerID] {
        preferred { $0.reports[fragment.value].ledgerRound >= round }
    }

    /// Connected members that hold the head of a round or a later one.
    func members(withHead round: RoundIndex, of fragment: FragmentIndex) -> [PeerID] {
        preferred { $0.reports[fragment.value].headRound >= round }
    }

    private func preferred(_ matches: (Peer) -> Bool) -> [PeerID] {
        let found = peers.filter { $0.value.isMember && matches($0.value) }
        return found.keys.sorted {
            let (left, right) = (found[$0]?.wasUseless ?? false, found[$1]?.wasUseless ?? false)
            return left != right ? right : $0 < $1
        }
    }
}
