/// Decides which inbound connections are let in, before anything is spent on them: so many in all, so many of one group of
/// addresses, so many that are not authenticated yet, and so many per second. Connections that count but say nothing give
/// way to newcomers, so that a flood cannot hold the door shut.
package struct InboundGate: Sendable {
    /// How many connections may be open.
    package struct Limits: Hashable, Sendable {
        /// Inbound connections in all.
        package var connectionsMax = 224
        /// Those of one group of addresses (IPv4 /24, IPv6 /48) on the open internet.
        package var groupConnectionsMax = 32
        /// Those of one group on this node's own networks, where strangers have no address.
        package var localGroupConnectionsMax = 128
        /// Connections that are not authenticated yet, in all.
        package var halfOpenMax = 64
        /// Those of one group.
        package var groupHalfOpenMax = 16
        /// Connections of one group that are let in per second, on average and at once.
        package var groupAcceptsPerSecond = 16.0
        package var groupAcceptsAtOnce = 64.0
        /// A connection that said nothing of use for so long may be dropped for a newcomer.
        package var halfOpenPatience: Duration = .seconds(1)
        /// Whether connections from this machine itself count as a group, too.
        package var countsLoopback = false

        /// The defaults.
        package init() {}
    }

    /// What becomes of a new connection.
    package enum Verdict: Hashable, Sendable {
        case admitted
        /// Let in, and this connection, which is not authenticated yet, is to be dropped for it.
        case admittedInPlace(of: UInt64)
        case refused(Refusal)
    }

    /// Why a connection is not let in.
    package enum Refusal: Hashable, Sendable {
        case connections, group, halfOpen, rate
    }

    private struct Group: Sendable {
        var open = 0
        var halfOpen = 0
        /// Connections that may be let in now.
        var tokens: Double
        var filledAt: Moment
    }

    private struct Member: Sendable {
        let group: IPGroup?
        /// Nil once authenticated.
        var halfOpenSince: Moment?
    }

    /// Groups that are remembered after their last connection is gone, for their rate.
    private static let idleGroupsMax = 1024

    private let limits: Limits
    private var members: [UInt64: Member] = [:]
    private var groups: [IPGroup: Group] = [:]
    private var halfOpen = 0

    /// Nothing is open yet.
    package init(limits: Limits) { self.limits = limits }

    /// Connections that count now.
    package var count: Int { members.count }

    /// Groups that are remembered.
    var groupCount: Int { groups.count }

    /// A connection arrived; if it is let in, it counts until `closed`.
    ///
    /// - Parameter isExempt: it comes from an address that the owner vouches for, and counts only in the sums.
    package mutating func admit(
        _ id: UInt64, from address: Multiaddr, isExempt: Bool = false, at now: Moment
    ) -> Verdict {
        let isCounted = !isExempt && (limits.countsLoopback || !address.isLoopback)
        let group = isCounted ? address.ipGroup : nil
        guard members.count < limits.connectionsMax else { return .refused(.connections) }
        if let group {
            var state = groups[group] ?? Group(tokens: limits.groupAcceptsAtOnce, filledAt: now)
            let earned = (now - state.filledAt).inSeconds * limits.groupAcceptsPerSecond
            state.tokens = min(limits.groupAcceptsAtOnce, state.tokens + max(0, earned))
            state.filledAt = now
            let openMax = address.isLocal ? limits.localGroupConnectionsMax : limits.groupConnectionsMax
            guard state.open < openMax else { return keep(state, of: group, .refused(.group)) }
            guard state.tokens >= 1 else { return keep(state, of: group, .refused(.rate)) }
            state.tokens -= 1
            groups[group] = state
        }
        var victim: UInt64?
        if let group, (groups[group]?.halfOpen ?? 0) >= limits.groupHalfOpenMax {
            victim = oldestHalfOpen(at: now) { $0.group == group }
            guard victim != nil else { return .refused(.halfOpen) }
        } else if halfOpen >= limits.halfOpenMax {
            victim = crowdedHalfOpen(at: now)
            guard victim != nil else { return .refused(.halfOpen) }
        }
        if let victim { closed(victim) }
        members[id] = Member(group: group, halfOpenSince: now)
        halfOpen += 1
        if let group {
            groups[group]?.open += 1
            groups[group]?.halfOpen += 1
        }
        forgetIdleGroups()
        return victim.map { .admittedInPlace(of: $0) } ?? .admitted
    }

    private mutating func keep(_ state: Group, of group: IPGroup, _ verdict: Verdict) -> Verdict {
        groups[group] = state
        return verdict
    }

    /// The peer of a connection is authenticated.
    package mutating func authenticated(_ id: UInt64) {
        guard let member = members[id], member.halfOpenSince != nil else { return }
        members[id]?.halfOpenSince = nil
        halfOpen -= 1
        if let group = member.group { groups[group]?.halfOpen -= 1 }
    }

    /// A connection is gone; nothing happens if it does not count.
    package mutating func closed(_ id: UInt64) {
        authenticated(id)
        guard let member = members.removeValue(forKey: id), let group = member.group else { return }
        groups[group]?.open -= 1
    }

    private func oldestHalfOpen(at now: Moment, where matches: (Member) -> Bool) -> UInt64? {
        let oldest = members.filter { $0.value.halfOpenSince != nil && matches($0.value) }.min {
            let (left, right) = ($0.value.halfOpenSince ?? now, $1.value.halfOpenSince ?? now)
            return left == right ? $0.key < $1.key : left < right
        }
        guard let oldest, let since = oldest.value.halfOpenSince, now - since >= limits.halfOpenPatience
        else { return nil }
        return oldest.key
    }

    /// The oldest of the group that has the most; connections that count in no group go together.
    private func crowdedHalfOpen(at now: Moment) -> UInt64? {
        var counts: [IPGroup?: Int] = [:]
        for member in members.values where member.halfOpenSince != nil { counts[member.group, default: 0] += 1 }
        let most = counts.values.max() ?? 0
        let crowded = Set(counts.filter { $0.value == most }.keys)
        return oldestHalfOpen(at: now) { crowded.contains($0.group) }
    }

    private mutating func forgetIdleGroups() {
        guard groups.count > members.count + Self.idleGroupsMax else { return }
        groups = groups.filter { $0.value.open > 0 }
    }
}
