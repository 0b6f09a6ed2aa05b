import Compression
import Glibc
import PeerNet
import Swarm
import Transport

/// Looks for swarms on the local network by multicast DNS, for a newcomer that has no address.
struct LocalSwarmSearch {
    /// A swarm and a member's addresses, each ending in its id.
    struct Found: Hashable, Sendable {
        var swarmID: Digest
        var ways: [Multiaddr]
        /// Why the member would not let this node in; nil: it would.
        var refusal: AdmissionRefusal?
    }

    /// How long to listen: the first answers come within a quarter of a second, lost ones a second later.
    private static let duration: Duration = .seconds(4)
    /// Peers that are asked.
    private static let peersMax = 64

    /// The swarm of this id if it lets this node in without an invite, or, without an id, the only swarm that is open to
    /// anybody here. `host` is started and knows nobody.
    static func find(_ wanted: Digest?, through host: PeerHost) async throws -> Found {
        try await host.discoverLocally()
        return try choice(of: await all(wanted, through: host), wanted: wanted)
    }

    /// What the answers come to.
    static func choice(of answers: [Found], wanted: Digest?) throws(UserError) -> Found {
        let found = answers.filter { $0.refusal == nil }
        let refusals = answers.compactMap(\.refusal)
        let ids = Set(found.map(\.swarmID)).sorted()
        switch (ids.count, wanted) {
        case (1, _):
            return Found(swarmID: ids[0], ways: Array(found.flatMap(\.ways).prefix(Invite.bootstrapMax)))
        case (0, nil):
            throw UserError(
                "no swarm that is open to anybody answers on this network",
                cure: "Form one with atoll swarm new, or pass an invite", exitCode: .unavailable)
        case (0, let wanted?):
            // Who cannot tell yet says less than who refuses.
            if let refusal = refusals.first(where: { !$0.isTemporary }) ?? refusals.first {
                throw UserError(
                    "the swarm \(wanted.short) is on this network, but \(refusal)", cure: refusal.cure,
                    exitCode: refusal.isTemporary ? .unavailable : .noPermission)
            }
            throw UserError(
                "nobody on this network is in the swarm \(wanted.short)",
                cure: "Ask a member for an invite, which names an address", exitCode: .unavailable)
        case (_, _):
            throw UserError(
                "\(ids.count) swarms answer on this network: \(ids.map { "\($0)" }.joined(separator: ", "))",
                cure: "Pass one of them: atoll swarm join \(ids[0])", exitCode: .usage)
        }
    }

    /// Everybody who answers in time; with a wanted swarm, the first member that lets this node in ends the
    /// search.
    private static func all(_ wanted: Digest?, through host: PeerHost) async -> [Found] {
        let (answers, continuation) = AsyncStream.makeStream(of: Found.self)
        let search = Task {
            await withDiscardingTaskGroup { group in
                var ways: [PeerID: [Multiaddr]] = [:]
                while let event = await host.next() {
                    switch event {
                    case .discovered(let contact) where ways.count < peersMax || ways[contact.peer] != nil:
                        ways[contact.peer] = contact.addresses.map { $0.encapsulating(p2p: contact.peer) }
                        await host.dial(contact.peer, at: contact.addresses, mayBeLocal: true)
                    case .connected(let peer, _):
                        let places = ways[peer] ?? []
                        group.addTask {
                            guard var found = await swarm(of: peer, wanted: wanted, through: host) else { return }
                            found.ways = places
                            continuation.yield(found)
                        }
                    default: continue
                    }
                }
            }
        }
        let alarm = Task {
            await host.wait(duration)
            continuation.finish()
        }
        var found: [Found] = []
        for await answer in answers {
            found.append(answer)
            if answer.swarmID == wanted, answer.refusal == nil { break }
        }
        alarm.cancel()
        search.cancel()
        return found
    }

    /// The wanted swarm if the peer is in it; without a wanted one, the swarm that it invites anybody to.
    static func swarm(of peer: PeerID, wanted: Digest?, through host: PeerHost) async -> Found? {
        guard let wanted else {
            let answer = try? await host.request(
                [], to: peer, on: NodeDaemon.openSwarmProtocol, responseBytesMax: Digest.byteCount)
            return answer.flatMap { Digest(bytes: $0) }.map { Found(swarmID: $0, ways: []) }
        }
        // Only members are given blobs; a newcomer is given the charter here, or the reason.
        let request = AdmissionRequest(swarmID: wanted, presentation: [])
        let answer = try? await host.request(
            request.encoded, to: peer, on: AdmissionRequest.protocolName,
            responseBytesMax: AdmissionRequest.answerByteCountMax)
        switch answer.flatMap({ AdmissionRequest.Answer($0) }) {
        case .charter(let bytes)? where Charter.swarmID(ofSealed: bytes) == wanted:
            return Found(swarmID: wanted, ways: [])
        case .refused(let refusal)?: return Found(swarmID: wanted, ways: [], refusal: refusal)
        case .charter?, .otherSwarm?, nil: return nil
        }
    }
}
