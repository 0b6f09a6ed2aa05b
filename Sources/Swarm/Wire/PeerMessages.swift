import Compression
import OuterSync
import PeerNet

/// Where a peer stands with one fragment.
struct FragmentReport: Hashable, Sendable {
    var ledgerRound: RoundIndex
    var headRound: RoundIndex
    /// The head's digest as of `ledgerRound`.
    var head: Digest
    var closed: Bool
}

/// What two members tell each other when they meet; the same content, later, is a status.
struct Report: Hashable, Sendable {
    var fragments: [FragmentReport]
    var members: [PeerAddresses]
    /// Which admission records it holds.
    var admission = AdmissionSummary()
    /// It answers a status and is not answered itself.
    var isAnswer = false
}

/// The first message on a connection.
struct Hello: Hashable, Sendable {
    var incarnation: UInt64
    var addresses: [Multiaddr]
    var report: Report
}

/// A contribution's blob for the tiles that the receiver owns in an attempt's roster.
struct Offer: Hashable, Sendable {
    var id: AttemptID
    var blob: BlobReference
}

/// Payloads that a voter holds durably.
struct Hold: Hashable, Sendable {
    var id: AttemptID
    var blobs: [Digest]
}

/// The tiles of a snapshot and the head's drift; scalars and head digest follow from the ledger.
struct SnapshotOffer: Hashable, Sendable {
    var fragment: FragmentIndex
    var round: RoundIndex
    /// Empty: the sender has no snapshot.
    var tiles: [BlobReference]
    var drift = OuterDrift.none
}

extension Report {
    init(
        _ fragments: [WireFragmentStatus], _ members: [WireMember], _ admission: some Collection<UInt8>
    ) throws(Refusal) {
        guard fragments.count <= Limits.fragmentsMax else { throw Refusal("a report has too many fragments") }
        guard members.count <= Limits.toldMembersMax else { throw Refusal("a report has too many members") }
        self.fragments = []
        for fragment in fragments {
            self.fragments.append(
                FragmentReport(
                    ledgerRound: RoundIndex(fragment.ledgerRound), headRound: RoundIndex(fragment.headRound),
                    head: try digest(fragment.head, "a reported head"), closed: fragment.closed))
        }
        self.members = []
        for member in members {
            guard let peer = PeerID(publicKey: member.peer) else { throw Refusal("a reported member is no key") }
            self.members.append(PeerAddresses(peer: peer, addresses: usableAddresses(member.addresses.map(array))))
        }
        self.admission = try AdmissionSummary(bytes: Array(admission))
    }

    var wireFragments: [WireFragmentStatus] {
        fragments.map { fragment in
            var entry = WireFragmentStatus()
            entry.ledgerRound = fragment.ledgerRound.value
            entry.headRound = fragment.headRound.value
            entry.head = wire(fragment.head.bytes)
            entry.closed = fragment.closed
            return entry
        }
    }

    var wireMembers: [WireMember] {
        members.map { member in
            var entry = WireMember()
            entry.peer = wire(member.peer.publicKey)
            entry.addresses = member.addresses.map { wire($0.bytes) }
            return entry
        }
    }
}

/// The addresses that this node understands, at most `Limits.addressesPerPeerMax`; a peer may know newer kinds, so
/// others are dropped, not punished.
func usableAddresses(_ addresses: [[UInt8]]) -> [Multiaddr] {
    var usable: [Multiaddr] = []
    for bytes in addresses where bytes.count <= Limits.addressBytesMax && usable.count < Limits.addressesPerPeerMax {
        if let address = try? Multiaddr(bytes: bytes), !usable.contains(address) { usable.append(address) }
    }
    return usable
}
