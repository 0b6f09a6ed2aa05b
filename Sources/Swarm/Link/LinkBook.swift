import Compression
import OuterSync
import PeerNet

/// What this node knows about the links to its peers, and from them about its own.
struct LinkBook: Sendable {
    /// One link.
    struct Link: Sendable {
        /// What comes from the peer.
        var received = GoodputMeter()
        var roundTrip: Duration?
        /// What the peer says of this link: what it receives from this node in kbit/s, and its own round trip.
        var sentKilobits: UInt32 = 0
        var reportedRoundTrip: Duration?
        /// From its hello; nil before.
        var hello: LinkHello?
        /// The newest table that the peer made, per fragment.
        var theirs: [FragmentIndex: LinkTable] = [:]
        /// This node's newest table for the peer, per fragment, and whether it was told on this connection.
        var ours: [FragmentIndex: (table: LinkTable, isTold: Bool)] = [:]
        /// The contribution sent last.
        var last: Contribution?
        /// The report that was sent last.
        var reported = LinkReport(receivedKilobits: 0, roundTrip: nil)
        /// Whether the peer is connected and was greeted.
        var isConnected = false
        /// Counts the changes of the book: the higher, the newer this entry.
        fileprivate(set) var age: UInt64 = 0
        /// Messages that it may still send at once, and when that was last counted.
        var allowance: (messages: Double, at: Moment)?
    }

    /// A contribution over a link.
    struct Contribution: Hashable, Sendable {
        var fragment: FragmentIndex
        var round: RoundIndex
        /// What its table said that it takes at most; nil: the charter's codec was used.
        var predictedBytes: Int?
        var realBytes: Int
    }

    private(set) var links: [PeerID: Link] = [:]
    private var changes: UInt64 = 0
    /// What comes from all peers together.
    private var received = GoodputMeter()
    /// What the owner of this node allows.
    private let limits: LinkRates
    /// The class of the last join; sticky.
    private var rateClass: UInt32?

    init(limits: LinkRates = LinkRates()) { self.limits = limits }

    subscript(_ peer: PeerID) -> Link? { links[peer] }

    /// Changes a link's entry, making one if there is room: of links that are gone only measurements are kept, and those
    /// that have not changed for longest make room. Links of connected peers never do.
    mutating func update(_ peer: PeerID, _ change: (inout Link) -> Void) {
        if links[peer] == nil, links.count >= Limits.membersMax {
            let idle = links.filter { !$0.value.isConnected && $0.value.hello == nil }
            guard let victim = idle.min(by: { $0.value.age < $1.value.age })?.key else { return }
            links[victim] = nil
        }
        changes += 1
        change(&links[peer, default: Link()])
        links[peer]?.age = changes
    }

    /// The peer is greeted: its entry stays while it is connected.
    mutating func connected(_ peer: PeerID) {
        update(peer) { $0.isConnected = true }
        mustTellAgain(peer)
    }

    mutating func received(_ transfer: BlobTransferRecord, from peer: PeerID) {
        guard transfer.ended >= transfer.began, transfer.byteCount >= 0 else { return }
        received.add(transfer)
        update(peer) { $0.received.add(transfer) }
    }

    mutating func measured(_ roundTrip: Duration, to peer: PeerID) {
        guard roundTrip > .zero else { return }
        update(peer) { $0.roundTrip = roundTrip }
    }

    /// What was agreed on ends with the connection, and so does the peer's word on how much it receives.
    mutating func disconnected(_ peer: PeerID) {
        guard links[peer] != nil else { return }
        update(peer) { link in
            link.hello = nil
            link.sentKilobits = 0
            link.isConnected = false
        }
        mustTellAgain(peer)
    }

    /// A new connection: the peer may have been started anew and know nothing.
    private mutating func mustTellAgain(_ peer: PeerID) {
        guard links[peer] != nil else { return }
        update(peer) { link in
            for fragment in link.ours.keys { link.ours[fragment]?.isTold = false }
            link.reported = LinkReport(receivedKilobits: 0, roundTrip: nil)
        }
    }

    /// The peer begins: what it said of tables before a restart counts no more.
    mutating func greeted(_ hello: LinkHello, by peer: PeerID) {
        update(peer) { link in
            link.hello = hello
            link.theirs = [:]
        }
    }

    /// Notes a contribution for a peer. Gives the table to tell it, with the next version if it is a new one.
    mutating func sent(
        _ fragment: FragmentIndex, _ round: RoundIndex, _ table: CodecTable?, realBytes: Int, to peer: PeerID
    ) -> LinkTable? {
        var news: LinkTable?
        update(peer) { link in
            link.last = .init(
                fragment: fragment, round: round, predictedBytes: table?.byteCount, realBytes: realBytes)
            guard let table else { return }
            let known = link.ours[fragment]
            guard known?.table.codecs != table.codecs || known?.isTold == false else { return }
            let isNew = known?.table.codecs != table.codecs
            var content = LinkTable(
                receiver: peer, fragment: fragment, version: (known?.table.version ?? 0) + (isNew ? 1 : 0), table)
            // Never before the one that it replaces, though the maker may have come back to an older choice.
            if isNew { content.fromRound = round }
            link.ours[fragment] = (content, true)
            news = content
        }
        return news
    }

    // MARK: This node's own link

    /// What this node's link carries: down, all that comes together; up, what the peer that receives most says. One peer's
    /// word counts for at most 64 times what the median peer says. The owner's limits bound both, and stand for what is
    /// not measured yet.
    var ownRates: LinkRates {
        let reports = links.values.map(\.sentKilobits).filter { $0 > 0 }.sorted()
        var up: UInt32 = 0
        if let largest = reports.last {
            let median = UInt64(reports[(reports.count - 1) / 2])
            up = UInt32(clamping: min(UInt64(largest), 64 * median))
        }
        func known(_ values: UInt32...) -> UInt32 { values.filter { $0 > 0 }.min() ?? 0 }
        return LinkRates(up: known(up, limits.up), down: known(received.kilobits, limits.down))
    }

    /// The rate class to join with: that of the slower direction that is known, one class for every factor of two from
    /// 64 kbit/s on. It changes only when the rate is half as much again outside of the last one's range.
    mutating func currentClass(unmeasured: UInt32) -> UInt32 {
        let rates = ownRates
        guard let rate = [rates.up, rates.down].filter({ $0 > 0 }).min() else { return rateClass ?? unmeasured }
        if let rateClass {
            let low = Double(64 << (rateClass - 1))
            let isInside = Double(rate) >= low / 1.5 && Double(rate) <= 2 * low * 1.5
            if isInside || rateClass == 1 && rate < 128 { return rateClass }
        }
        let new = Self.rateClass(ofKilobits: rate)
        rateClass = new
        return new
    }

    /// 1 up to 127 kbit/s, one more for each factor of two.
    static func rateClass(ofKilobits rate: UInt32) -> UInt32 {
        let steps = rate / 64
        return steps < 2 ? 1 : min(Limits.rateClassMax, UInt32(UInt32.bitWidth - steps.leadingZeroBitCount))
    }
}
