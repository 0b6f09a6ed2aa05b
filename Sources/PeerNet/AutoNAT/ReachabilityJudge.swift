/// Whether others can dial this node, as far as AutoNAT has shown: a pure state machine over the results of checks.
///
/// One proof is enough, because it cannot be made up. That an address cannot be reached is a bare word, and the peer may be
/// the one that is cut off: it takes several peers to say so.
package struct ReachabilityJudge: Sendable {
    /// Peers that must have failed, since the last proof, before this node counts as out of reach.
    static let denialsMin = 3
    /// Peers asked in one round.
    package static let peersPerRound = 3
    /// Between the first two rounds; doubled from one to the next, because a check may cost this node 100 kB.
    private static let intervalMin: Duration = .seconds(30)
    /// Between two rounds, once what is known is only to be confirmed.
    private static let intervalMax: Duration = .seconds(600)

    /// Whether a peer has proved it lately.
    package private(set) var isReachable = false
    private var denials: Set<PeerID> = []
    private var interval = Self.intervalMin

    /// Starts without proof.
    package init() {}

    /// A round is over; gives how long to wait for the next one. One in which nobody could be asked does not count.
    package mutating func roundEnded(hasAsked: Bool) -> Duration {
        defer { if hasAsked { interval = min(interval * 2, Self.intervalMax) } }
        return isReachable ? Self.intervalMax : interval
    }

    /// Takes what a peer found.
    package mutating func take(_ result: Reachability, from peer: PeerID) {
        switch result {
        case .reachable:
            isReachable = true
            denials = []
        case .unreachable:
            denials.insert(peer)
            guard denials.count >= Self.denialsMin else { return }
            isReachable = false
            denials = []
        case .undecided: break
        }
    }

    /// What to have checked: addresses that this node tells, then those at which peers that dialed it saw it; nothing local,
    /// each once.
    package static func candidates(told: [Multiaddr], seen: [Multiaddr]) -> [Multiaddr] {
        var candidates: [Multiaddr] = []
        for address in (told + seen).map(\.withoutPeerID)
        where address.isDialable && !address.isLocal && !candidates.contains(address) {
            candidates.append(address)
        }
        return Array(candidates.prefix(AutoNATLimits.addressesMax))
    }
}
