import JSONText
import PeerNet
import Transport

extension NodeControl {
    /// What the running node has learnt from its peers; nil where no node runs.
    func diagnosis() async throws(UserError) -> NetworkFacts? {
        guard await isAnswered() else { return nil }
        guard let facts = NetworkFacts(json: try await ask(["command": "doctor"])) else { throw Self.unintelligible }
        return facts
    }
}

extension NodeDaemon {
    /// The node's part of the doctor's examination.
    func diagnosis() async -> NetworkFacts {
        var facts = await NetworkProbe(host: host, autonat: autonat).facts(addresses: listenAddresses)
        facts.diskProblem = diskProblem
        return facts
    }

    /// What a node that listens on `address` does for peers that ask to be dialed.
    ///
    /// Private addresses are dialed only by a node that has no public one itself, and only those from which it is asked:
    /// such a node's peers are its neighbours.
    static func reachabilityLimits(listening address: Multiaddr) -> AutoNATLimits {
        var limits = AutoNATLimits()
        let own = InterfaceAddresses.interfaces().compactMap { Multiaddr(ipBytes: $0.ip, tcpPort: 0) }
        let advertised = InterfaceAddresses.advertised(for: address)
        if advertised.allSatisfy(\.isLocal) { limits.localDials = .toRequester }
        limits.dialsIP6 = own.contains { if case .ip6? = $0.tcpEndpoint?.host { !$0.isLoopback } else { false } }
        return limits
    }
}
