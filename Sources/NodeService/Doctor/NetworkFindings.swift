import PeerNet
import Transport

/// What follows from what peers say. Pure, so that every case can be tested.
enum NetworkFindings {
    /// Clocks that differ by more are told apart by what people see, such as expiry dates.
    private static let clockWarningSeconds = 1.0
    /// Records and invites of such a node are refused or outlive their expiry.
    private static let clockFaultSeconds = 10.0

    static func all(_ facts: NetworkFacts) -> [Finding] {
        guard !facts.peers.isEmpty else {
            return [
                .warning(
                    .peers, "no peer is connected, so what others see of this node is unknown",
                    cure: "Start the node, or name an invite or an address to ask: atoll doctor INVITE")
            ]
        }
        let count = facts.peers.count == 1 ? "1 peer answers" : "\(facts.peers.count) peers answer"
        return [.ok(.peers, count)] + reachability(facts) + clock(facts.peers) + versions(facts)
    }

    // MARK: Reachability

    static func reachability(_ facts: NetworkFacts) -> [Finding] {
        guard !facts.addresses.isEmpty else { return [] }
        var findings: [Finding] = []
        let addresses = Set(facts.checks.map(\.address)).sorted()
        let isReachable = facts.checks.contains { $0.result == .reachable }
        for address in addresses {
            let checks = facts.checks.filter { $0.address == address }
            let open = checks.count { $0.result == .reachable }
            let closed = checks.count { $0.result == .unreachable }
            if open > 0 {
                findings.append(.ok(.port, "\(address) is reachable: \(peers(open)) connected to it"))
            } else if closed > 0 {
                let cause = "\(address) is blocked: \(peers(closed)) could not connect to it"
                findings.append(
                    isReachable
                        ? .warning(.port, cause, cure: "Nothing needs to be done: another address is reachable")
                        : .fault(.port, cause, cure: openThePort(address)))
            } else if let reason = checks.first?.reason {
                findings.append(undecided("whether \(address) is reachable is unknown: \(reason)"))
            }
        }
        if addresses.isEmpty { findings.append(undecided("no peer could be asked whether this node is reachable")) }
        return findings
    }

    private static func peers(_ count: Int) -> String { count == 1 ? "1 peer" : "\(count) peers" }

    private static func undecided(_ cause: String) -> Finding {
        .warning(.port, cause, cure: "Ask a peer on the other side of the router: atoll doctor MULTIADDR")
    }

    private static func openThePort(_ address: String) -> String {
        let endpoint = (try? Multiaddr(address))?.tcpEndpoint
        let port = endpoint.map { "TCP port \($0.port)" } ?? "the TCP port"
        return "Open \(port) in this machine's firewall and forward it in the router to this machine; until then "
            + "this node works only with peers that it can dial"
    }

    /// What a connection from one port to several peers shows.
    static func mapping(_ observations: [MappingObservation]) -> [Finding] {
        let outside = observations.first { $0.observed != $0.local }?.observed
        let seenAs = outside.map { "\($0)" } ?? ""
        switch NATKind(observations) {
        case .none: return [.ok(.nat, "no address translation on the way to \(peers(observations.count))")]
        case .endpointIndependent:
            return [.ok(.nat, "endpoint-independent translation: all peers see \(seenAs)")]
        case .symmetric:
            return [
                .warning(
                    .nat, "symmetric translation: each peer sees another port, so no peer can tell others where we are",
                    cure: "Forward the listening port in the router, or use a router with full-cone translation")
            ]
        case .translated:
            return [.ok(.nat, "addresses are translated (seen as \(seenAs)); a second peer would show how")]
        case .unknown: return []
        }
    }

    // MARK: Clock

    static func clock(_ peers: [NetworkFacts.Peer]) -> [Finding] {
        let readings = peers.compactMap { peer -> (peer: String, offset: Double, difference: Double)? in
            guard let offset = peer.clockOffset, let uncertainty = peer.clockUncertainty else { return nil }
            return (peer.peerID, offset, max(0, abs(offset) - uncertainty))
        }.sorted { $0.offset < $1.offset }
        guard !readings.isEmpty else {
            return [
                .warning(
                    .clock, "no peer tells its clock", cure: "Check the time yourself: timedatectl, or date -u")
            ]
        }
        // Most peers are right: with the median's sign and size goes what most of them say.
        let median = readings[readings.count / 2]
        if median.difference >= clockWarningSeconds {
            let direction = median.offset > 0 ? "behind" : "ahead of"
            let amount = "\(NodeReport.decimal(abs(median.offset), places: 1)) s"
            let whose = readings.count < 3 ? "; one of the two is wrong" : ""
            let others =
                readings.count < 3 ? "peer \(median.peer)" : "most of \(NetworkFindings.peers(readings.count))"
            let cause = "this clock is \(amount) \(direction) that of \(others)\(whose)"
            let cure = "Set the time, and keep it right with NTP: timedatectl set-ntp true"
            let isFault = median.difference >= clockFaultSeconds
            return [isFault ? .fault(.clock, cause, cure: cure) : .warning(.clock, cause, cure: cure)]
        }
        let wrong = readings.filter { $0.difference >= clockFaultSeconds }
        let milliseconds = NodeReport.decimal(1000 * abs(median.offset), places: 0)
        return [.ok(.clock, "agrees with \(NetworkFindings.peers(readings.count)): \(milliseconds) ms apart")]
            + wrong.map {
                Finding.warning(
                    .clock, "peer \($0.peer)'s clock is \(NodeReport.decimal(abs($0.offset), places: 1)) s off",
                    cure: "Tell its owner: timedatectl set-ntp true")
            }
    }

    // MARK: Versions

    static func versions(_ facts: NetworkFacts) -> [Finding] {
        var findings: [Finding] = []
        if facts.version != AtollVersion.text {
            findings.append(
                .fault(
                    .version, "the running node is of version \(facts.version), this command of \(AtollVersion.text)",
                    cure: "Restart the node: atoll node stop; atoll node start"))
        }
        let own = PeerHostConfiguration(listenAddresses: [], agentVersion: "").protocolVersion
        for peer in facts.peers where peer.agent.hasPrefix("atoll/") {
            let swarm = peer.protocols.filter { $0.hasPrefix("/atoll/swarm/") }
            if !swarm.isEmpty, !swarm.contains(NodeDaemon.swarmProtocol) {
                let spoken = swarm.joined(separator: ", ")
                findings.append(mismatch(peer, "speaks \(spoken), this node \(NodeDaemon.swarmProtocol)"))
            } else if !peer.protocolVersion.isEmpty, peer.protocolVersion != own {
                findings.append(mismatch(peer, "speaks \(peer.protocolVersion), this node \(own)"))
            } else if minor(peer.agent) != minor(AtollVersion.agent) {
                findings.append(
                    .warning(
                        .version, "peer \(peer.peerID) runs \(peer.agent), this node \(AtollVersion.agent)",
                        cure: "Update the older one when it suits; they still understand each other"))
            }
        }
        if findings.isEmpty { findings = [.ok(.version, "\(AtollVersion.text), as all atoll peers")] }
        return findings
    }

    private static func mismatch(_ peer: NetworkFacts.Peer, _ difference: String) -> Finding {
        .fault(
            .version, "version mismatch: peer \(peer.peerID) (\(peer.agent)) \(difference)",
            cure: "Run the same version on both: the older one must be updated")
    }

    /// `atoll/0.1` of `atoll/0.1.7`.
    private static func minor(_ agent: String) -> Substring {
        agent.lastIndex(of: ".").map { agent[..<$0] } ?? agent[...]
    }
}
