import Compression
package import OuterSync
import PeerNet
package import Swarm

/// A branch of a simulated swarm.
package struct SimulatedBranch: Sendable {
    /// Who made it, and alone decides its first round.
    package var maker: NodeNumber
    /// The heads before the first round.
    package var genesis: [FragmentHead]
    /// What its maker has signed; nil: the branch that the swarm started with.
    package var record: Branch?

    init(maker: NodeNumber, genesis: [FragmentHead], record: Branch? = nil) {
        self.maker = maker
        self.genesis = genesis
        self.record = record
    }

    /// The scenario's second branch; it starts from the parameters of the first one.
    static func second(
        _ scenario: Scenario, layout: FragmentLayout, from first: [FragmentHead], identities: [Identity],
        swarmID: Digest
    ) throws(InvariantViolation) -> SimulatedBranch? {
        guard let maker = scenario.secondBranch.min() else { return nil }
        let identity = identities[maker.value]
        let genesis = zip(layout.fragments, first).map { fragment, head in
            FragmentHead(
                genesis: head.theta,
                scalars: SimulatedWorld.scalars(
                    fragment: fragment.index, round: 0, tokens: 0, isClosing: false, voters: [identity.peerID]),
                fragment: fragment)
        }
        let starts = first.map { head in
            let bytes = head.theta.flatMap { value in
                withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
            }
            return BlobReference(digest: Digest(ofBlob: bytes), byteCount: bytes.count)
        }
        let record = BranchRecord(
            name: "second", parents: [.init(source: Branch.main, weight: 1)], starts: starts, tokenBudget: 0,
            domains: [])
        do {
            return SimulatedBranch(
                maker: maker, genesis: genesis, record: try Branch(record, by: identity, swarmID: swarmID))
        } catch { throw InvariantViolation(.contract, maker, "the second branch cannot be signed: \(error)") }
    }
}
