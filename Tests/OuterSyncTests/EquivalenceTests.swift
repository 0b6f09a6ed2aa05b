import Compression
import OuterSync
import Testing

/// A quadratic bowl per node, whose gradient is exact to compute: loss = sum of curvature * (x - centre)^2 / 2.
private struct Bowl {
    let curvature: [Float]
    let centre: [Float]

    init(_ seed: UInt64, _ count: Int) {
        curvature = samples(seed, count, 0.5).map { 0.5 + $0.magnitude }
        centre = samples(seed + 1000, count, 1)
    }

    /// Plain SGD from `start`.
    func descend(_ start: [Float], steps: Int, rate: Float) -> [Float] {
        var x = start
        for _ in 0..<steps {
            for index in x.indices { x[index] -= rate * (curvature[index] * (x[index] - centre[index])) }
        }
        return x
    }
}

@Suite struct EquivalenceTests {
    private static func wholeModel(_ count: Int) throws -> FragmentLayout {
        try FragmentLayout(tensors: [TensorDescription(name: "w", shape: [count], block: nil)], rule: .whole)
    }

    @Test func theOuterStepMatchesTheGoldenVector() throws {
        let node = TestNode(
            try Self.wholeModel(1), codec: .float32, rule: OuterRule(learningRate: 0.7, momentum: 0.9))
        let zero = FragmentIndex(0)
        let start = FragmentHead(genesis: [1], scalars: [], fragment: node.workshop.layout.fragments[0])
        let workshop = FragmentWorkshop(
            layout: node.workshop.layout, encoding: PayloadEncoding(.float32),
            rule: OuterRule(learningRate: 0.7, momentum: 0.9),
            heads: [start], blobs: node.store, headStore: node.store)
        for (round, (theta, velocity)) in [(0.867, 0.1), (0.6773, 0.19), (0.43657, 0.271)].enumerated() {
            // The gradient travels itself, not base - live, whose rounding would blur the golden digits.
            let base = workshop.head(zero)
            let description = PayloadDescription(
                kind: .result, codec: .float32, fragment: zero, base: base.digest, tiles: [TileIndex(0)])
            let bytes = try PayloadBundle.encode(description, of: workshop.layout.fragments[0]) { _, output in
                output[0] = 0.1
            }
            let digest = try node.store.write(bytes)
            let payload = CommittedPayload(
                tiles: [TileIndex(0)], shares: [], blob: BlobReference(digest: digest, byteCount: bytes.count))
            let result = workshop.run(
                .outerStep(
                    fragment: zero, base: base.digest,
                    step: OuterStepDescription(payloads: [payload], scalars: [UInt8(round)])))
            guard case .outerStepped(let head) = result else { throw UnexpectedResult(result: result) }
            #expect(workshop.run(.adopt(fragment: zero, head: head)) == .adopted)
            #expect(abs(Double(workshop.head(zero).theta[0]) - theta) < 1e-6)
            #expect(abs(Double(workshop.head(zero).velocity[0]) - velocity) < 1e-6)
        }
    }

    /// U2: one member and a plain outer step of rate 1 is training as if there were no swarm.
    @Test func oneMemberWithPlainOuterStepsIsPlainTraining() throws {
        let count = 700
        let node = TestNode(
            try Self.wholeModel(count), codec: .float32, rule: OuterRule(learningRate: 1, momentum: 0))
        let bowl = Bowl(7, count)
        let zero = FragmentIndex(0)
        var plain = node.workshop.head(zero).theta
        for round in 1...5 as ClosedRange<UInt64> {
            let live = bowl.descend(node.workshop.head(zero).theta, steps: 20, rate: 0.05)
            plain = bowl.descend(plain, steps: 20, rate: 0.05)
            _ = try runRound(
                [node], zero, round, live: [live], shares: [TrainingShare(tokens: 160, steps: 20)], owners: [0])
        }
        for (shared, own) in zip(node.workshop.head(zero).theta, plain) {
            #expect(abs(shared - own) <= 2 * max(own.ulp, Float(0.25).ulp))
        }
    }

    /// U3: one inner SGD step, plain outer step: the same as one step on the mean gradient.
    @Test func oneStepOfFourMembersIsDataParallel() throws {
        let count = 700
        let layout = try Self.wholeModel(count)
        let nodes = (0..<4).map { _ in
            TestNode(layout, codec: .float32, rule: OuterRule(learningRate: 1, momentum: 0))
        }
        let bowls = (0..<4).map { Bowl(UInt64($0) * 31 + 3, count) }
        let zero = FragmentIndex(0)
        var parallel = nodes[0].workshop.head(zero).theta.map(Double.init)
        for round in 1...10 as ClosedRange<UInt64> {
            let theta = nodes[0].workshop.head(zero).theta
            _ = try runRound(
                nodes, zero, round, live: bowls.map { $0.descend(theta, steps: 1, rate: 0.05) },
                shares: [TrainingShare](repeating: TrainingShare(tokens: 8, steps: 1), count: 4), owners: [3])
            for index in 0..<count {
                let gradient = bowls.reduce(0.0) {
                    $0 + Double($1.curvature[index]) * (parallel[index] - Double($1.centre[index]))
                }
                parallel[index] -= 0.05 * gradient / 4
            }
        }
        for (shared, expected) in zip(nodes[0].workshop.head(zero).theta, parallel) {
            #expect(abs(Double(shared) - expected) <= 1e-6 * max(1, abs(expected)))
        }
    }

    /// U4: one fragment, no overlap, alpha 0 and a lossless codec is DiLoCo, bit for bit.
    @Test func streamingWithOneFragmentAndNoOverlapIsDiLoCo() throws {
        let count = 700
        let rule = OuterRule(learningRate: 0.7, momentum: 0.9)
        let layout = try Self.wholeModel(count)
        let nodes = (0..<2).map { _ in TestNode(layout, codec: .float32, rule: rule) }
        let bowls = (0..<2).map { Bowl(UInt64($0) * 17 + 5, count) }
        let zero = FragmentIndex(0)
        let fragment = layout.fragments[0]
        // DiLoCo as printed: copy Theta, train, average the differences, Nesterov.
        var theta = nodes[0].workshop.head(zero).theta
        var velocity = [Float](repeating: 0, count: count)
        var models = nodes.map { $0.workshop.head(zero).theta }
        for round in 1...6 as ClosedRange<UInt64> {
            let trained = bowls.map { $0.descend(theta, steps: 15, rate: 0.05) }
            for index in 0..<count {
                let first = Double(theta[index] - trained[0][index])
                let delta = Float((first + Double(theta[index] - trained[1][index])) / 2)
                velocity[index] = rule.momentum * velocity[index] + delta
                theta[index] -= rule.learningRate * (delta + rule.momentum * velocity[index])
            }
            for node in nodes.indices { models[node] = bowls[node].descend(models[node], steps: 15, rate: 0.05) }
            let live = models.map { model in model.withUnsafeBufferPointer { fragment.gather(from: $0) } }
            _ = try runRound(
                nodes, zero, round, live: live,
                shares: [TrainingShare](repeating: TrainingShare(tokens: 120, steps: 15), count: 2), owners: [1])
            for node in nodes.indices {
                models[node].withUnsafeMutableBufferPointer { model in
                    fragment.blend(
                        [TileIndex(0)], of: nodes[node].workshop.head(zero).theta, into: model, alpha: 0)
                }
            }
            #expect(nodes[0].workshop.head(zero).theta == theta && nodes[0].workshop.head(zero).velocity == velocity)
            #expect(models[0] == theta && models[1] == theta)
        }
    }

    /// U5: all peers hold the same bits for any overlap, blend, codec, cut and order of arrival.
    @Test(arguments: 0..<12 as Range<UInt64>)
    func allPeersHoldTheSameBitsInAnySetting(seed: UInt64) throws {
        var random = SplitMix(seed)
        let layout = try smallLayout()
        let codec: Codec = seed % 3 == 0 ? .float32 : .e3m0
        let alpha = Float.random(in: 0..<1, using: &random)
        let overlap = Int.random(in: 0...5, using: &random)
        let memberCount = Int.random(in: 1...5, using: &random)
        let rule = OuterRule(learningRate: 0.6, momentum: 0.9)
        let nodes = (0..<memberCount).map { _ in TestNode(layout, codec: codec, rule: rule) }
        let bowls = (0..<memberCount).map { Bowl(seed * 100 + UInt64($0), layout.parameterCount) }
        var models = nodes.map { _ in [Float](repeating: 0, count: layout.parameterCount) }
        for fragment in layout.fragments {
            for node in nodes.indices {
                models[node].withUnsafeMutableBufferPointer {
                    fragment.overwrite($0, with: nodes[node].workshop.head(fragment.index).theta)
                }
            }
        }
        for slot in 0..<6 {
            let fragment = layout.fragments[slot % layout.fragments.count]
            let steps = nodes.map { _ in Int.random(in: 1...20, using: &random) }
            for node in nodes.indices {
                models[node] = bowls[node].descend(models[node], steps: steps[node], rate: 0.02)
            }
            let live = models.map { model in model.withUnsafeBufferPointer { fragment.gather(from: $0) } }
            for node in nodes.indices { models[node] = bowls[node].descend(models[node], steps: overlap, rate: 0.02) }
            // runRound throws unless all nodes computed the same digest.
            _ = try runRound(
                nodes, fragment.index, UInt64(slot / 3 + 1), live: live,
                shares: steps.map { TrainingShare(tokens: UInt64($0) * 8, steps: UInt64($0)) },
                owners: fragment.tiles.map { _ in Int.random(in: 0..<memberCount, using: &random) },
                order: Array(nodes.indices).shuffled(using: &random))
            for node in nodes.indices {
                models[node].withUnsafeMutableBufferPointer {
                    fragment.blend(
                        fragment.tiles.indices.map(TileIndex.init), of: nodes[node].workshop.head(fragment.index).theta,
                        into: $0, alpha: alpha)
                }
            }
        }
        #expect(Set(nodes.map { $0.workshop.currentHeads.map(\.digest) }).count == 1)
    }
}
