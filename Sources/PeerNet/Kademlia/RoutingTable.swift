/// The peers that this node knows to work, one bucket for each length of the prefix that their keys share with its own.
///
/// It decides who is listed and who goes; who has answered is for the caller to know. A full bucket takes nobody:
/// peers that have been there for long are likelier to stay, and newcomers cannot push them out (Maymounkov and
/// Mazières, "Kademlia", section 2.2). At most `bitCount` × `bucketSize` peers, in practice `bucketSize` × log2 of the
/// network's size.
struct RoutingTable: Sendable {
    /// A listed peer.
    struct Entry: Hashable, Sendable {
        let peer: PeerID
        let key: KademliaKey
        var addresses: [Multiaddr]
        var groups: [IPGroup]
        /// When the peer last answered.
        var answeredAt: Moment
        /// When its answer last brought a peer that was new to the look-up.
        var usefulAt: Moment
        /// Requests in a row that it left unanswered.
        var failures = 0
    }

    /// What became of a peer that was offered.
    enum Verdict: Hashable, Sendable {
        case added, updated, bucketFull
        /// Too many peers of its IP group are listed.
        case groupFull
        /// This node itself.
        case own
    }

    private let own: KademliaKey
    private var buckets: [[Entry]] = Array(repeating: [], count: KademliaKey.bitCount)
    private var groupCounts: [IPGroup: Int] = [:]
    /// When a look-up last went through each bucket's range.
    private var refreshedAt: [Moment?] = Array(repeating: nil, count: KademliaKey.bitCount)
    private(set) var count = 0

    init(own: KademliaKey) { self.own = own }

    var isEmpty: Bool { count == 0 }

    /// The prefix lengths of buckets with a peer in them, shortest first.
    var nonEmptyBuckets: [Int] { buckets.indices.filter { !buckets[$0].isEmpty } }

    /// Every entry, bucket by bucket.
    var entries: [Entry] { buckets.flatMap { $0 } }

    subscript(peer: PeerID) -> Entry? { place(of: peer).map { buckets[$0.bucket][$0.index] } }

    /// Whether a peer of these groups would be taken, or is listed.
    func verdict(on peer: PeerID, groups: [IPGroup]) -> Verdict {
        let key = KademliaKey(peer)
        guard key != own else { return .own }
        let bucket = buckets[own.commonPrefixLength(with: key)]
        let listed = bucket.first { $0.peer == peer }
        for group in groups {
            let already = listed?.groups.contains(group) == true ? 1 : 0
            let inBucket = bucket.count { $0.groups.contains(group) } - already
            let inTable = groupCounts[group, default: 0] - already
            guard inBucket < KademliaLimits.groupInBucketMax, inTable < KademliaLimits.groupInTableMax
            else { return .groupFull }
        }
        if listed != nil { return .updated }
        return bucket.count < KademliaLimits.bucketSize ? .added : .bucketFull
    }

    /// Lists a peer that answered, or takes its new addresses. A listed one whose new addresses are of a full group
    /// goes: else one address for entering would do for many peers.
    mutating func insert(_ contact: PeerContact, groups: [IPGroup], at now: Moment) -> Verdict {
        let verdict = verdict(on: contact.peer, groups: groups)
        switch verdict {
        case .added:
            let key = KademliaKey(contact.peer)
            buckets[own.commonPrefixLength(with: key)].append(
                Entry(
                    peer: contact.peer, key: key, addresses: contact.addresses, groups: groups, answeredAt: now,
                    usefulAt: now))
            count += 1
            for group in groups { groupCounts[group, default: 0] += 1 }
        case .updated:
            guard let place = place(of: contact.peer) else { break }
            uncount(buckets[place.bucket][place.index].groups)
            buckets[place.bucket][place.index].addresses = contact.addresses
            buckets[place.bucket][place.index].groups = groups
            for group in groups { groupCounts[group, default: 0] += 1 }
        case .groupFull: remove(contact.peer)
        case .bucketFull, .own: break
        }
        return verdict
    }

    /// Notes that a listed peer answered.
    mutating func answered(_ peer: PeerID, isUseful: Bool, at now: Moment) {
        guard let place = place(of: peer) else { return }
        buckets[place.bucket][place.index].answeredAt = now
        buckets[place.bucket][place.index].failures = 0
        if isUseful { buckets[place.bucket][place.index].usefulAt = now }
    }

    /// Notes that a listed peer left a request unanswered: it is told to nobody until it answers, and goes after too
    /// many, unless `mayEvict` is false because this node may itself be cut off.
    mutating func failed(_ peer: PeerID, mayEvict: Bool) {
        guard let place = place(of: peer) else { return }
        let failures = buckets[place.bucket][place.index].failures + 1
        if failures < KademliaLimits.failuresMax {
            buckets[place.bucket][place.index].failures = failures
        } else if mayEvict {
            remove(peer)
        }
    }

    /// Takes a peer off the table.
    mutating func remove(_ peer: PeerID) {
        guard let place = place(of: peer) else { return }
        uncount(buckets[place.bucket].remove(at: place.index).groups)
        count -= 1
    }

    /// The listed peers closest to `target`, the closest first; those that failed last time come only if
    /// `includesFailing`.
    ///
    /// The target's own bucket holds the closest ones, then all deeper buckets together, then the shallower ones, each
    /// farther than the one before, so that only as many as needed are sorted.
    func closest(to target: KademliaKey, count: Int, includesFailing: Bool = false) -> [Entry] {
        let start = min(own.commonPrefixLength(with: target), buckets.count - 1)
        var found: [(distance: KademliaKey, entry: Entry)] = []
        func take(_ bucket: [Entry]) {
            for entry in bucket where includesFailing || entry.failures == 0 {
                found.append((entry.key.distance(to: target), entry))
            }
        }
        take(buckets[start])
        if found.count < count { for bucket in buckets[(start + 1)...] { take(bucket) } }
        for bucket in buckets[..<start].reversed() {
            guard found.count < count else { break }
            take(bucket)
        }
        return found.sorted { $0.distance < $1.distance }.prefix(count).map(\.entry)
    }

    /// The peer that a full bucket could do without: of those that have not answered since `moment`, the one longest
    /// useless.
    func doubtful(inBucketOf peer: PeerID, notSince moment: Moment) -> Entry? {
        buckets[min(own.commonPrefixLength(with: KademliaKey(peer)), buckets.count - 1)]
            .filter { $0.answeredAt < moment }
            .min { ($0.usefulAt, $0.key) < ($1.usefulAt, $1.key) }
    }

    /// Entries that failed last time or have not answered since `moment`, the longest silent first.
    func due(notSince moment: Moment) -> [Entry] {
        entries.filter { $0.failures > 0 || $0.answeredAt < moment }
            .sorted { ($0.answeredAt, $0.key) < ($1.answeredAt, $1.key) }
    }

    /// Notes that a look-up of `target` ran.
    mutating func noteLookup(of target: KademliaKey, at now: Moment) {
        let prefix = own.commonPrefixLength(with: target)
        if prefix < refreshedAt.count { refreshedAt[prefix] = now }
    }

    /// Buckets with peers through which no look-up went since `moment`.
    func stale(notSince moment: Moment) -> [Int] {
        nonEmptyBuckets.filter { bucket in
            bucket <= KademliaLimits.refreshPrefixMax && refreshedAt[bucket].map { $0 < moment } ?? true
        }
    }

    /// Raw bytes whose point falls into a bucket; nil where none was found within a bounded number of draws.
    func randomKey(inBucket bucket: Int, using random: inout SplitMix64) -> [UInt8]? {
        guard bucket <= KademliaLimits.refreshPrefixMax else { return nil }
        // Sixteen times the expected number of draws: all but about one try in nine million succeed.
        for _ in 0..<(16 << (bucket + 1)) {
            let bytes = random.bytes(32)
            if own.commonPrefixLength(with: KademliaKey(hashing: bytes)) == bucket { return bytes }
        }
        return nil
    }

    private func place(of peer: PeerID) -> (bucket: Int, index: Int)? {
        let bucket = own.commonPrefixLength(with: KademliaKey(peer))
        guard bucket < buckets.count, let index = buckets[bucket].firstIndex(where: { $0.peer == peer }) else {
            return nil
        }
        return (bucket, index)
    }

    private mutating func uncount(_ groups: [IPGroup]) {
        for group in groups {
            guard let number = groupCounts[group] else { continue }
            groupCounts[group] = number > 1 ? number - 1 : nil
        }
    }
}
