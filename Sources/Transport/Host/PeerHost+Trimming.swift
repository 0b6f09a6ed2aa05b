package import PeerNet

/// Which connections stay when there are many.
extension PeerHost {
    /// Peers that may be protected.
    private static let protectedMax = 4096

    /// Keeps connections of a peer out of trimming, and those from where it is known to be out of the limits per group of
    /// addresses. False if too many are protected already.
    @discardableResult
    package func protect(_ peer: PeerID) -> Bool {
        guard protectedPeers.contains(peer) || protectedPeers.count < Self.protectedMax else { return false }
        protectedPeers.insert(peer)
        vouchedHosts = nil
        return true
    }

    /// Ends what `protect` began.
    package func unprotect(_ peer: PeerID) {
        protectedPeers.remove(peer)
        vouchedHosts = nil
    }

    /// Whether a protected peer is known to be at this host.
    func isVouchedFor(_ address: Multiaddr) -> Bool {
        guard !protectedPeers.isEmpty, let host = address.tcpEndpoint?.host else { return false }
        let hosts = vouchedHosts ?? Set(protectedPeers.flatMap { book.hosts(of: $0) })
        vouchedHosts = hosts
        return hosts.contains(host)
    }

    /// Closes the least useful connections if there are too many.
    func trimConnections(at now: Moment) {
        let open = links.values.filter { $0.peer != nil && $0.closeReason == nil }
        guard open.count > limits.connectionsBeforeTrimming else { return }
        let candidates = open.map { link in
            ConnectionTrimming.Candidate(
                id: link.id, isProtected: link.peer.map(protectedPeers.contains) ?? false, since: link.securedAt ?? now,
                usefulBytes: link.peer.flatMap { entries[$0]?.use.value(at: now) } ?? 0,
                group: link.remoteAddress.ipGroup)
        }
        let surplus = open.count - limits.trimmedConnections
        for id in ConnectionTrimming.victims(among: candidates, count: surplus, at: now) {
            if let link = links[id] { close(link, .local("this node has enough connections")) }
        }
    }
}
