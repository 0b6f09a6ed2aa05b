import Compression
import OuterSync

/// The shared side of one fragment in the laboratory: its head, the round under way, and the bytes that have been sent.
struct LabFragment {
    /// The fragment.
    let fragment: FragmentLayout.Fragment
    /// The canonical head.
    private(set) var head: FragmentHead
    /// Bytes that all workers together have uploaded for this fragment.
    private(set) var uploaded = 0

    private let rounds: LabSettings.Rounds
    private let owners: [[TileIndex]]
    private var pending: Round?
    private var ownerResidual: [Float]
    private let ownerDecay: Float
    /// Per worker, and at last for the means, from where the low-rank codec's searches start.
    private var memories: [[TileIndex: EncoderMemory]]
    /// Per worker what chooses its codecs; empty where nothing may be chosen.
    private var tables: [CodecTables]
    private var roundCount = 0

    /// A round whose contributions are made.
    private struct Round {
        var appliesAt: UInt64
        var base: Digest
        var shares: [TrainingShare]
        /// Per owner, per worker the payload.
        var payloads: [[[UInt8]]]
        var pending: [LocalFragment.Pending]
    }

    init(_ fragment: FragmentLayout.Fragment, theta: [Float], rounds: LabSettings.Rounds, workers: Int) {
        self.fragment = fragment
        self.rounds = rounds
        head = FragmentHead(genesis: theta, scalars: [], fragment: fragment)
        ownerDecay = if case .scatter(_, let decay) = rounds.exchange { decay } else { 0 }
        ownerResidual = ownerDecay > 0 ? [Float](repeating: 0, count: theta.count) : []
        memories = [[TileIndex: EncoderMemory]](repeating: [:], count: workers + 1)
        tables = (0..<(rounds.ladder.isEmpty ? 0 : workers)).map { _ in
            CodecTables(fragment, rounds.encoding, objective: rounds.objective)
        }
        switch rounds.exchange {
        case .gather: owners = [fragment.tiles.indices.map(TileIndex.init)]
        case .scatter: owners = Self.deal(fragment.tiles, among: workers)
        }
    }

    /// Deals tiles, the largest first, each to the owner who has fewest parameters so far.
    private static func deal(_ tiles: [FragmentLayout.Tile], among workers: Int) -> [[TileIndex]] {
        var owners = [[TileIndex]](repeating: [], count: workers)
        var loads = [Int](repeating: 0, count: workers)
        for index in tiles.indices.sorted(by: { (tiles[$0].count, $1) > (tiles[$1].count, $0) }) {
            let owner = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) } ?? 0
            loads[owner] += tiles[index].count
            owners[owner].append(TileIndex(index))
        }
        return owners.map { $0.sorted { $0.value < $1.value } }
    }

    // MARK: One round

    /// Takes everybody's outer gradient at the end of a tick; what waits from the round before is applied first if the rule
    /// says so.
    mutating func snapshot(_ workers: [LabWorker], at tick: UInt64, closing: Bool) throws {
        let base = head.digest
        var round = Round(appliesAt: tick, base: base, shares: [], payloads: owners.map { _ in [] }, pending: [])
        for (member, worker) in workers.enumerated() {
            let local = worker.fragments[fragment.index.value]
            let accumulated = local.accumulated(live: worker.live(fragment))
            var decoded = [Float](repeating: 0, count: accumulated.count)
            let codecs = try codecs(of: member, accumulated)
            for (owner, tiles) in owners.enumerated() where !tiles.isEmpty {
                let description = PayloadDescription(
                    kind: .contribution, codecs: tiles.map { codecs[$0.value] }, fragment: fragment.index, base: base,
                    tiles: tiles)
                let payload = try PayloadBundle.encode(
                    description, of: fragment, memories: &memories[member]
                ) { tile, output in
                    _ = output.update(fromContentsOf: accumulated[tile.range])
                }
                try decode(payload, description, into: &decoded)
                round.payloads[owner].append(payload)
            }
            round.shares.append(worker.takeShare(fragment.index))
            round.pending.append(LocalFragment.Pending(accumulated: accumulated, decoded: decoded))
        }
        count(round)
        switch rounds.overlap {
        case .steps(let steps, _):
            round.appliesAt = tick + (closing ? 0 : steps)
            pending = round
        case .wholeRound:
            // The first round is awaited, or the second would start where the first did.
            if let earlier = pending { try finish(earlier, workers) }
            pending = round
            if roundCount == 0 || closing {
                try finish(round, workers)
                pending = nil
            }
            overwrite(workers)
        case .eager:
            var mean: [Float]?
            if let earlier = pending { mean = try finish(earlier, workers) }
            pending = round
            stepEagerly(workers, round, mean)
            if closing {
                try finish(round, workers)
                pending = nil
            }
        }
        roundCount += 1
    }

    /// Applies the round under way if its time has come, or at once.
    ///
    /// - Parameter overwrites: whether the live value keeps nothing of its own.
    mutating func apply(
        _ workers: [LabWorker], at tick: UInt64, waits: Bool = true, overwrites: Bool = false
    ) throws {
        guard case .steps(_, let alpha) = rounds.overlap, let round = pending, tick >= round.appliesAt || !waits else {
            return
        }
        pending = nil
        try finish(round, workers)
        for worker in workers {
            worker.fragments[fragment.index.value].base = head.theta
            worker.blend(
                fragment, overwrites ? head.theta : worker.fragments[fragment.index.value].resumption,
                alpha: overwrites ? 0 : alpha)
        }
    }

    /// The codec of each tile of a worker's contribution: one for all, or what L-GreCo chooses for the whole fragment.
    private mutating func codecs(of member: Int, _ accumulated: [Float]) throws -> [Codec] {
        let uniform = PayloadEncoding.codecs(rounds.codec, for: fragment.tiles)
        guard !tables.isEmpty else { return uniform }
        let all = fragment.tiles.indices.map(TileIndex.init)
        let chosen = try tables[member].choose(
            for: [all], room: ContributionRoom(), round: RoundIndex(UInt64(roundCount) + 1), values: accumulated)
        return chosen[0]?.codecs ?? uniform
    }

    /// Averages a round, moves the head and settles what encoding has left over; gives the decoded mean.
    @discardableResult
    private mutating func finish(_ round: Round, _ workers: [LabWorker]) throws -> [Float] {
        var payloads: [CommittedPayload] = []
        var blobs: [Digest: [UInt8]] = [:]
        var mean = [Float](repeating: 0, count: fragment.parameterCount)
        let resultCodec: Codec = if case .scatter(let codec, _) = rounds.exchange { codec } else { .float32 }
        for (owner, tiles) in owners.enumerated() where !tiles.isEmpty {
            var aggregation = Aggregation(
                fragment: fragment, encoding: rounds.encoding, resultCodec: resultCodec, base: round.base,
                tiles: tiles, rule: rounds.rule)
            aggregation.memories = memories[workers.count]
            let outcome = try aggregation.run(
                round.payloads[owner].enumerated().compactMap { member, bytes in
                    round.shares[member].contributes
                        ? Aggregation.Contribution(member: member, share: round.shares[member], bytes: bytes) : nil
                }, adding: ownerResidual.map { ownerDecay * $0 })
            memories[workers.count] = aggregation.memories
            guard let result = outcome.result, outcome.refused.isEmpty else {
                throw LabError("a contribution was refused: \(outcome.refused.first?.reason ?? "there is none")")
            }
            try decode(
                result,
                PayloadDescription(
                    kind: .result, charterCodec: resultCodec, fragment: fragment, base: round.base, tiles: tiles),
                into: &mean)
            keepOwnerResidual(outcome.encoded, tiles, decoded: mean)
            if case .scatter = rounds.exchange { uploaded += result.count * (workers.count - 1) }
            let digest = Digest(ofBlob: result)
            blobs[digest] = result
            payloads.append(
                CommittedPayload(
                    tiles: tiles, shares: outcome.members.map { round.shares[$0] },
                    blob: BlobReference(digest: digest, byteCount: result.count)))
        }
        head = try head.advanced(
            by: OuterStepDescription(payloads: payloads, scalars: []), rule: rounds.rule, codec: resultCodec,
            fragment: fragment, base: round.base
        ) { blobs[$0] }
        for (worker, pending) in zip(workers, round.pending) {
            worker.fragments[fragment.index.value].settle(pending, tiles: fragment.tiles)
        }
        return mean
    }

    private mutating func keepOwnerResidual(_ encoded: [Float], _ tiles: [TileIndex], decoded: [Float]) {
        guard !ownerResidual.isEmpty else { return }
        var position = 0
        for index in tiles {
            for place in fragment.tiles[index.value].range {
                ownerResidual[place] = encoded[position] - decoded[place]
                position += 1
            }
        }
    }

    /// Overwrites everybody's live fragment with the head and measures from there.
    private func overwrite(_ workers: [LabWorker]) {
        for worker in workers {
            worker.fragments[fragment.index.value].base = head.theta
            worker.blend(fragment, head.theta, alpha: 0)
        }
    }

    private func stepEagerly(_ workers: [LabWorker], _ round: Round, _ mean: [Float]?) {
        for (worker, pending) in zip(workers, round.pending) {
            worker.eager[fragment.index.value].step(
                own: pending.decoded, lateMean: mean, share: 1 / Float(workers.count), rule: rounds.rule)
            let theta = worker.eager[fragment.index.value].theta
            worker.fragments[fragment.index.value].base = theta
            worker.blend(fragment, theta, alpha: 0)
        }
    }

    // MARK: Bytes

    /// Counts what contributions cost: each goes to its owner, or to everybody.
    private mutating func count(_ round: Round) {
        for (owner, payloads) in round.payloads.enumerated() {
            for (member, payload) in payloads.enumerated() {
                switch rounds.exchange {
                case .gather: uploaded += payload.count * (payloads.count - 1)
                case .scatter where member != owner: uploaded += payload.count
                case .scatter: break
                }
            }
        }
    }

    private func decode(_ bytes: [UInt8], _ description: PayloadDescription, into values: inout [Float]) throws {
        let bundle = try PayloadBundle(decoding: bytes, expecting: description, of: fragment)
        var scratch: [Float] = []
        for (position, index) in description.tiles.enumerated() {
            let range = fragment.tiles[index.value].range
            try bundle.decodeTile(position, scratch: &scratch) { tile in
                values.replaceSubrange(range, with: tile)
            }
        }
    }
}
