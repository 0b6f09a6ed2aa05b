import Compression
import PeerNet
import Swarm

/// The invites of a swarm that asks for them, and who shows which.
package struct InvitePlan: Hashable, Sendable {
    /// One invite of the founder's.
    package struct Invite: Hashable, Sendable {
        /// Peers that may come in by it.
        package var uses: UInt32
        /// Seconds from the start of the run to its end; negative: it was over before.
        package var lifetimeSeconds: Int

        /// Wraps the two.
        package init(uses: UInt32, lifetimeSeconds: Int) {
            self.uses = uses
            self.lifetimeSeconds = lifetimeSeconds
        }
    }

    /// All invites, issued before the run.
    package var invites: [Invite]
    /// Per node the invite that it shows; nil: none. The founder, node 0, needs none.
    package var shown: [Int?]
    /// Nodes that must never get anything of the swarm.
    package var outsiders: Set<NodeNumber>

    /// Wraps the fields.
    package init(invites: [Invite], shown: [Int?], outsiders: Set<NodeNumber>) {
        self.invites = invites
        self.shown = shown
        self.outsiders = outsiders
    }

    /// Unix time at the start of a run.
    static let epoch: UInt64 = 1_800_000_000

    /// The invites as their receivers get them.
    func credentials(founder: Identity, swarmID: Digest) throws(InvariantViolation) -> [Credential] {
        var credentials: [Credential] = []
        for (index, invite) in invites.enumerated() {
            let expires = Int64(Self.epoch) + Int64(invite.lifetimeSeconds)
            let secret = [UInt8](repeating: UInt8(truncatingIfNeeded: index + 100), count: 32)
            guard
                let credential = Credential(
                    founder: founder, swarmID: swarmID, secret: secret, expires: UInt64(clamping: expires),
                    uses: invite.uses)
            else { throw InvariantViolation(.contract, nil, "invite \(index) cannot be issued") }
            credentials.append(credential)
        }
        return credentials
    }
}

extension Scenario {
    /// Four members by invite, of whom one is revoked on the way, and four who must stay outside: with an expired invite,
    /// with one that was used up, with a revoked one and with none. The founder is killed once; messages get lost.
    package static func byInvite(seed: UInt64) -> Scenario {
        var generator = SeededGenerator(seed: seed, stream: 9)
        let starts = [0, 2, 4, 6, 8, 60, 45, 12]
        let nodes = starts.map { start in
            NodeDescription(
                access: NetworkAccess(
                    delay: generator.draw(.milliseconds(1)...(.milliseconds(60))), jitter: .milliseconds(20),
                    uplinkBytesPerSecond: generator.draw(5e4...5e5), lossProbability: 0.01),
                stepDuration: generator.draw(.milliseconds(250)...(.milliseconds(700))),
                syncLatencyMax: .milliseconds(20), jobBytesPerSecond: 1e6, startsAt: .seconds(start),
                stepsPerLocalSnapshot: 8)
        }
        var scenario = Scenario(
            seed: seed, nodes: nodes,
            model: ModelDescription(
                fragmentParameterCounts: [500, 700, 400], innerStepsPerRound: 20, overlapSteps: 2, tokensPerStep: 512,
                tokenBudget: 1 << 40),
            faults: [
                TimedFault(at: .seconds(1), fault: .revokeInvite(2)),
                TimedFault(at: .seconds(80), fault: .crash(NodeNumber(0))),
                TimedFault(at: .seconds(83), fault: .restart(NodeNumber(0))),
                TimedFault(at: .seconds(90), fault: .revokeNode(NodeNumber(3))),
            ], faultsEnd: .seconds(120), roundsAfterFaults: 2, recoveryTimeMax: .seconds(300))
        scenario.invites = InvitePlan(
            invites: [
                .init(uses: 3, lifetimeSeconds: 100), .init(uses: 9, lifetimeSeconds: -121),
                .init(uses: 9, lifetimeSeconds: 10_000),
            ],
            shown: [nil, 0, 0, 0, 1, 0, 2, nil], outsiders: Set([4, 5, 6, 7].map(NodeNumber.init)))
        return scenario
    }
}
