/// Every bound of the swarm protocol, with where its value comes from and what happens at it.
package struct Limits: Hashable, Sendable {
    /// Largest control message; the driver closes a stream that announces more. A commit of 128 members fits.
    package static let messageBytesMax = 64 << 10
    /// Largest signed charter, with room for some hundred more fields.
    package static let charterBytesMax = 4 << 10
    /// Members in one round; a roster takes voters first, then the lowest peer ids, and leaves the rest out.
    package static let roundMembersMax = 128
    /// Fragments of one model.
    package static let fragmentsMax = 256
    /// Tiles of one fragment: a snapshot's manifest must fit into one message.
    package static let fragmentTilesMax = 1_600
    /// Attempts of one round; far beyond what back-off lets happen.
    package static let attemptsMax: UInt32 = 1 << 20
    /// Tokens or steps that one share may claim; sums of shares of one round cannot overflow.
    package static let shareMax: UInt64 = 1 << 48
    /// Highest rate class; classes are steps of a factor of two in a member's measured rate.
    package static let rateClassMax: UInt32 = 16
    /// Codecs in a charter's ladder.
    package static let ladderMax = 8
    /// Highest rate that a join may name: 100 Gbit/s.
    package static let kilobitsMax: UInt32 = 100_000_000
    /// Peers remembered; at the limit unknown ones that are not connected are ignored.
    package static let membersMax = 1_024
    /// Peers that the core asks to be connected to; beyond, it dials nobody.
    package static let dialedPeersMax = 64
    /// Addresses remembered per peer; the rest is dropped.
    package static let addressesPerPeerMax = 8
    /// Bytes of one address; longer ones are dropped.
    package static let addressBytesMax = 256
    /// Members told in one hello or status, chosen at random.
    package static let toldMembersMax = 32
    /// Bytes that a peer which is not let in yet may send at once: a presentation of `presentedVouchersMax`.
    package static let presentationBytesMax = 16 << 10
    /// Vouchers in one presentation: the peer's own after those of the members that let one another in.
    package static let presentedVouchersMax = 16
    /// Connected peers that are not let in yet; a further one is disconnected at once.
    package static let strangersMax = 256
    /// Peers that one capability, or all capabilities of one delegate together, may bring in.
    package static let capabilityUsesMax: UInt32 = 1_000
    /// Vouchers held; at the limit nobody new is let in.
    package static let vouchersMax = 1_024
    /// Revocations held, and those of one delegate among them; further ones are ignored.
    package static let revocationsMax = 1_024
    package static let revocationsPerDelegateMax = 128
    /// Delegations held; the founder cannot make more.
    package static let delegationsMax = 64
    /// Seconds by which clocks may differ: a capability is good for so much longer than it says.
    package static let clockSkewSeconds: UInt64 = 120
    /// Characters of a branch's or expert's name.
    package static let recordNameBytesMax = 40
    /// Characters of other text in a record: a domain, the id of a parent.
    package static let recordTextBytesMax = 80
    /// Domains that a record names.
    package static let recordDomainsMax = 16
    /// Largest record: a branch of 256 fragments fits, and so does an expert of as many in 64 files.
    package static let recordBytesMax = 32 << 10
    /// Records in one message; as many more messages follow as there must be.
    package static let recordsPerMessageMax = 64
    /// What a branch's start can be made of.
    package static let branchParentsMax = 16
    /// Files of an expert: a model in shards beside its tokenizer.
    package static let expertFilesMax = 64
    /// Branches and experts known, and those of one peer among them; further ones are not taken.
    package static let branchesMax = 64
    package static let branchesPerPeerMax = 8
    package static let expertsMax = 128
    package static let expertsPerPeerMax = 16
    /// Connected members of other branches beyond which known ones are not dialed.
    package static let dialedElsewhereMax = 32
    /// Rounds that a node replays from payloads before it prefers a snapshot.
    package static let replayRoundsMax: UInt64 = 8
    /// Final commits between two snapshots of one fragment.
    package static let snapshotIntervalRounds: UInt64 = 4
    /// Snapshots of one fragment kept as blobs.
    package static let snapshotsKept = 2
    /// Fetches under way at once; the rest waits its turn.
    package static let fetchesInFlightMax = 32
    /// Finals that wait for their predecessor; a page request closes the gap instead.
    package static let durationSamplesMax = 16

    /// Largest message on `/atoll/link/1.0.0`; a table of 1,600 tiles that all differ fits.
    package static let linkMessageBytesMax = 32 << 10
    /// Messages on one link at once, beside two per fragment; then one per second.
    package static let linkMessagesBurst = 32
    /// Messages about links that a peer may send for every second; a fast swarm of small fragments tells of some tables.
    package static let linkMessagesPerSecond = 16

    /// Between two reports of what was measured of a link, if it has changed.
    package var linkReportInterval: Duration = .seconds(5)
    /// How long a connected peer may take to present itself where not everybody is let in.
    package var presentationTimeout: Duration = .seconds(30)
    /// Before a peer that has refused this node is dialed again.
    package var refusedRest: Duration = .seconds(600)
    /// Between two exchanges of admission records with one peer.
    package var admissionExchangeInterval: Duration = .seconds(5)
    /// Between two status messages to a random peer.
    package var statusInterval: Duration = .seconds(15)
    /// A phase's first deadline, before anything is learnt, on top of the time that its bytes take.
    package var firstDeadline: Duration = .seconds(5)
    /// Added to every learnt deadline, so that a fast round does not make the next one hasty.
    package var deadlineGrace: Duration = .seconds(1)
    /// No learnt deadline is longer.
    package var deadlineMax: Duration = .seconds(600)
    /// The link rate that first deadlines assume: 8 Mbit/s.
    package var firstRateBytesPerSecond: Double = 1_000_000
    /// Before an unanswered request or a failed fetch or write is tried again; doubles up to `retryMax`.
    package var retry: Duration = .seconds(2)
    /// Longest wait between two tries.
    package var retryMax: Duration = .seconds(30)

    /// The protocol's constants.
    package init() {}
}
