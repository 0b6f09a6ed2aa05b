package import Compression
package import OuterSync
package import PeerNet
package import Swarm

/// What all nodes of a scenario share: charter, layout and genesis.
package struct SimulatedWorld: Sendable {
    /// The swarm's charter; its model fields are plausible and unused, as the layout is the scenario's own.
    package let charter: Charter
    /// The swarm id.
    package let swarmID: Digest
    /// The cut of the stand-in model: every tensor is one tile.
    package let layout: FragmentLayout
    /// The first branch and, where the scenario has one, the second.
    package let branches: [SimulatedBranch]
    /// The sizes that cores are told.
    package let shapes: [FragmentShape]
    /// The nodes' keys, by number.
    package let identities: [Identity]
    /// The nodes' addresses, by number.
    package let addresses: [Multiaddr]

    /// What the nodes show to be let in, by the invites' numbers; empty where everybody is let in.
    let credentials: [Credential]

    /// Derives everything from the scenario.
    package init(_ scenario: Scenario) throws(InvariantViolation) {
        var generator = SeededGenerator(seed: scenario.seed, stream: 2)
        var identities: [Identity] = []
        var addresses: [Multiaddr] = []
        for number in scenario.nodes.indices {
            let seed = (0..<32).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            let octets: [UInt8] = [10, 0, UInt8(number / 250), UInt8(number % 250 + 1)]
            guard let identity = Identity(seed: seed), let address = Multiaddr(ipBytes: octets, tcpPort: 4001) else {
                throw InvariantViolation(.contract, nil, "no identity or address for node \(number)")
            }
            identities.append(identity)
            addresses.append(address)
        }
        self.identities = identities
        self.addresses = addresses
        layout = try Self.layout(of: scenario.model, using: &generator)
        let genesis = layout.fragments.map { fragment in
            let theta = (0..<fragment.parameterCount).map { _ in Float(generator.nextUnit() - 0.5) }
            return FragmentHead(
                genesis: theta,
                scalars: Self.scalars(
                    fragment: fragment.index, round: 0, tokens: 0, isClosing: false, voters: [identities[0].peerID]),
                fragment: fragment)
        }
        shapes = layout.fragments.map { fragment in
            let longest = fragment.tiles.map(\.count).max() ?? 0
            let encoding = scenario.model.encoding
            return FragmentShape(
                tileCount: fragment.tiles.count, payloadBytesMax: 4096 + 8 * fragment.parameterCount,
                snapshotTileBytesMax: 64 + 8 * longest,
                resultBytes: encoding.ladder.isEmpty ? [] : encoding.resultCodecs.map { fragment.byteCount($0) })
        }
        var charter = Self.charter(of: scenario.model, founder: identities[0].peerID, seed: scenario.seed)
        charter.gatherMembersMax = scenario.model.gatherMembersMax
        charter.syncMode = scenario.model.syncMode
        if scenario.model.syncMode.isLate { charter.blendAlpha = 0 }
        if scenario.model.syncMode == .fullOverlap {
            charter.outer = Charter.Outer(learningRate: 0.5, momentum: 0.2)
            charter.outer.penalty = scenario.seed.isMultiple(of: 2) ? .gap : .excess
            charter.outer.momentumClip = scenario.seed.isMultiple(of: 3) ? 2 : 0
        }
        if scenario.invites != nil { charter.admission = .invite }
        self.charter = charter
        do {
            swarmID = Charter.swarmID(ofSealed: try charter.sealed(by: identities[0]))
        } catch {
            throw InvariantViolation(.contract, nil, "the charter cannot be sealed: \(error)")
        }
        let main = SimulatedBranch(maker: NodeNumber(0), genesis: genesis)
        let second = try SimulatedBranch.second(
            scenario, layout: layout, from: genesis, identities: identities, swarmID: swarmID)
        branches = [main] + (second.map { [$0] } ?? [])
        credentials = try scenario.invites?.credentials(founder: identities[0], swarmID: swarmID) ?? []
    }

    /// Cuts each fragment into tensors of uneven sizes; the last fragment is the one outside the blocks.
    private static func layout(
        of model: ModelDescription, using generator: inout SeededGenerator
    ) throws(InvariantViolation) -> FragmentLayout {
        var tensors: [TensorDescription] = []
        let last = model.fragmentParameterCounts.count - 1
        for (index, parameterCount) in model.fragmentParameterCounts.enumerated() {
            var rest = parameterCount
            while rest > 0 {
                let count = min(rest, generator.draw(model.tensorParameters))
                tensors.append(
                    TensorDescription(
                        name: "fragment\(index).\(tensors.count)", shape: [count], block: index == last ? nil : index))
                rest -= count
            }
        }
        do {
            return try FragmentLayout(tensors: tensors)
        } catch {
            throw InvariantViolation(.contract, nil, "the model cannot be cut: \(error)")
        }
    }

    private static func charter(of model: ModelDescription, founder: PeerID, seed: UInt64) -> Charter {
        Charter(
            name: "simulated", founder: founder,
            model: Charter.Model(
                vocabularySize: 256, width: 32, layerCount: max(1, model.fragmentParameterCounts.count - 1),
                headCount: 2, keyValueHeadCount: 2, headWidth: 16, feedForwardWidth: 64, contextLength: 64,
                ropeTheta: 10_000, rmsNormEpsilon: 1e-5, tiedEmbeddings: true),
            tokenizer: Digest(hashing: Array("bytes".utf8)), seed: seed,
            inner: Charter.Inner(
                learningRate: 1e-3, finalLearningRateShare: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8,
                weightDecay: 0.1, gradientClip: 1, warmupTokens: 0, batchSequences: 8),
            outer: Charter.Outer(learningRate: 0.7, momentum: 0.9), fragmentRule: .stridedThrees,
            innerStepsPerRound: model.innerStepsPerRound, overlapSteps: model.overlapSteps, blendAlpha: 0.25,
            encoding: model.encoding, tokenBudget: model.tokenBudget)
    }

    /// A head's scalars leaf, as the protocol's page writes it: the checker's own copy of that layout.
    static func scalars(
        fragment: FragmentIndex, round: UInt64, tokens: UInt64, isClosing: Bool, voters: [PeerID]
    ) -> [UInt8] {
        var bytes = Array("atoll scalars 1\0".utf8)
        func append(_ value: UInt64, byteCount: Int) {
            for shift in 0..<byteCount { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * shift))) }
        }
        append(UInt64(fragment.value), byteCount: 4)
        append(round, byteCount: 8)
        append(tokens, byteCount: 8)
        append(isClosing ? 1 : 0, byteCount: 1)
        append(UInt64(voters.count), byteCount: 4)
        for voter in voters { bytes += voter.publicKey }
        return bytes
    }

    /// The node with a peer id.
    package func node(_ peer: PeerID) -> NodeNumber? {
        identities.firstIndex { $0.peerID == peer }.map(NodeNumber.init)
    }
}
