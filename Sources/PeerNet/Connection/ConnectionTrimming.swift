/// Which connections go when there are too many: never those of protected peers or new ones, first those that were of
/// the least use lately, among them those of the most crowded group of addresses, and among them the youngest.
package enum ConnectionTrimming {
    /// A new connection has so long to prove its use.
    package static let gracePeriod: Duration = .seconds(30)

    /// One authenticated connection.
    package struct Candidate: Hashable, Sendable {
        package var id: UInt64
        /// Whether its peer is one that the owner needs.
        package var isProtected: Bool
        /// When it was authenticated.
        package var since: Moment
        /// What this node wanted from the peer lately, in bytes; older ones count less. What a peer sends unasked must
        /// not count, or a stranger could buy its place.
        package var usefulBytes: Double
        /// Where it comes from.
        package var group: IPGroup?

        /// Wraps the fields.
        package init(id: UInt64, isProtected: Bool, since: Moment, usefulBytes: Double, group: IPGroup?) {
            self.id = id
            self.isProtected = isProtected
            self.since = since
            self.usefulBytes = usefulBytes
            self.group = group
        }

        /// Use in steps of eight times, so that small differences do not hide a crowd.
        var useClass: Int {
            guard usefulBytes >= 1024 else { return 0 }
            return min(usefulBytes, 1e15).exponent / 3
        }
    }

    /// At most `count` connections to close, the least useful first.
    package static func victims(among candidates: [Candidate], count: Int, at now: Moment) -> [UInt64] {
        var rest = candidates.filter { !$0.isProtected && now - $0.since >= gracePeriod }
        var crowd: [IPGroup: Int] = [:]
        for candidate in candidates { if let group = candidate.group { crowd[group, default: 0] += 1 } }
        var victims: [UInt64] = []
        while victims.count < count {
            let key = { (candidate: Candidate) -> (Int, Int, UInt64, UInt64) in
                let crowding = candidate.group.flatMap { crowd[$0] } ?? 0
                return (candidate.useClass, -crowding, .max - candidate.since.nanoseconds, candidate.id)
            }
            guard let index = rest.indices.min(by: { key(rest[$0]) < key(rest[$1]) }) else { break }
            let victim = rest.remove(at: index)
            victims.append(victim.id)
            if let group = victim.group { crowd[group, default: 0] -= 1 }
        }
        return victims
    }
}
