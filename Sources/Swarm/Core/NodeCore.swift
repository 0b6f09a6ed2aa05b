package import PeerNet

/// One node's whole protocol: membership, rounds, ledger and join, as one pure state machine.
package struct NodeCore: Sendable {
    /// What the node was told at its start.
    let configuration: Configuration

    /// Takes up the work where the records left it; the first input must be `.started`.
    package init(_ configuration: Configuration, recovered: Recovered) throws(StartError) {
        self.configuration = configuration
    }

    /// Applies one input and appends what the driver must now do, in order, to `outputs`.
    package mutating func handle(_ input: Input, at now: Moment, into outputs: inout [Output]) {}

    /// Where the node stands.
    package var status: NodeStatus {
        NodeStatus(
            phase: .training, fragments: [], committedTokens: 0, tokenBudget: configuration.charter.tokenBudget,
            connectedMembers: [], knownMembers: 0, canPersist: true)
    }
}
