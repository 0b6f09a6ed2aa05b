import Logging
import OuterSync
import PeerNet
import Swarm
import Transport

/// How a node finds the members of its swarm: the invite's addresses, the hash table, the local network.
extension NodeDaemon {
    /// Asked by newcomers without an invite: an empty request is answered by the id of a swarm that is open to anybody.
    static let openSwarmProtocol = "/atoll/open-swarm/1.0.0"

    /// Between two look-ups of members.
    private static let lookupInterval: Duration = .seconds(60)
    /// Peers that should remember this node as one of the swarm.
    private static let keepersWanted = 4
    /// Members looked for at once.
    private static let membersWanted = 16

    /// Whether private and loopback addresses count in the hash table: if the ways into the swarm, or for its first node
    /// the address that it listens on, are all of that kind, then the whole swarm is.
    static func isLocal(_ bootstrap: [PeerAddresses], listening address: Multiaddr) -> Bool {
        let ways = bootstrap.flatMap(\.addresses)
        return ways.isEmpty ? address.isLocal : ways.allSatisfy(\.isLocal)
    }

    /// Whether multicast may find anybody: not for a node that listens on loopback alone.
    private var isOnNetwork: Bool { listenAddresses.contains { !$0.isLoopback } }

    /// Joins gossip and the hash table, tells the table which swarm this node belongs to, and looks for others now and
    /// then, until cancelled.
    func discover() async {
        do {
            try await host.subscribe(topic)
            try await host.subscribe(membersTopic)
        } catch { logger.error("gossip is off: \(error)") }
        if isOnNetwork {
            do { try await host.discoverLocally() } catch {
                logger.info("nodes on the local network are not looked for: \(error)")
            }
        }
        // Members of all branches look for each other in one place.
        let rendezvous = (try? Self.topic(of: setup.swarmID)) ?? topic
        let key = Kademlia.rendezvousKey("\(rendezvous)")
        let contacts = bootstrap.map { PeerContact(peer: $0.peer, addresses: $0.addresses) }
        _ = await host.bootstrapTable(contacts, invited: invited)
        // The table itself publishes a key again and again, but not soon enough for who came first and found nobody.
        var keepers = 0
        while !Task.isCancelled {
            if keepers < Self.keepersWanted { keepers = await host.provide(key) }
            for contact in await host.findProviders(of: key, wanted: Self.membersWanted) {
                await host.dial(contact.peer, at: contact.addresses)
            }
            // Cancellation ends the wait, and then the loop.
            try? await Task.sleep(for: Self.lookupInterval)
        }
    }

    /// How this node begins in the table: where all is local others can dial it; elsewhere that is to be shown first.
    static func tableMode(isLocal: Bool) -> Kademlia.Mode { isLocal ? .server : .client }

    /// Has peers dial this node now and then, and serves the table as long as they can, until cancelled. A server that
    /// nobody can dial costs everybody's look-ups their time.
    func judgeReachability() async {
        guard await !host.isNetworkLocal else { return }
        var judge = ReachabilityJudge()
        var turn = 0
        while !Task.isCancelled {
            let peers = await host.peers()
            let candidates = ReachabilityJudge.candidates(
                told: await host.announcedAddresses(),
                seen: peers.filter { !$0.isOutbound }.compactMap { $0.identify?.observedAddress })
            let servers = peers.filter {
                $0.identify?.protocols.contains(AutoNATLimits.dialRequestProtocol) == true
            }
            // Others each time: what one says is never enough to take a proof back.
            let count = candidates.isEmpty ? 0 : min(servers.count, ReachabilityJudge.peersPerRound)
            let asked = (0..<count).map { servers[(turn + $0) % servers.count] }
            turn = (turn + count) % max(1, servers.count)
            for peer in asked {
                judge.take(await autonat.check(candidates, by: peer.peerID, over: host), from: peer.peerID)
            }
            await host.setTableMode(judge.isReachable ? .server : .client)
            // Cancellation ends the wait, and then the loop.
            try? await Task.sleep(for: judge.roundEnded(hasAsked: !asked.isEmpty))
        }
    }
}
