package import Compression

/// What a contribution may take on its way, for an encoder that chooses codecs.
package struct ContributionRoom: Hashable, Sendable {
    /// One owner's side.
    package struct Owner: Hashable, Sendable {
        /// The most bytes that the link to it carries in time; nil: not known.
        package var byteCountMax: Int?
        /// The families that it decodes; nil: all of the charter's.
        package var families: Set<UInt8>?

        /// Wraps the two.
        package init(byteCountMax: Int? = nil, families: Set<UInt8>? = nil) {
            self.byteCountMax = byteCountMax
            self.families = families
        }
    }

    /// The most bytes that all payloads together may take on the encoder's own link; nil: not known.
    package var byteCountMax: Int?
    /// Per position of the assignment; nil for the encoder itself, whose own payload goes nowhere. Empty: as if all were
    /// without limits.
    package var owners: [Owner?]

    /// Wraps the two.
    package init(byteCountMax: Int? = nil, owners: [Owner?] = []) {
        self.byteCountMax = byteCountMax
        self.owners = owners
    }
}

/// How one owner's tiles are encoded, from a round on.
package struct CodecTable: Hashable, Sendable {
    /// The first round that is encoded by it.
    package var fromRound: RoundIndex
    /// Per tile of the owner.
    package var codecs: [Codec]
    /// The bytes that a payload has before the entropy stage.
    package var byteCount: Int

    /// Wraps the three.
    package init(fromRound: RoundIndex, codecs: [Codec], byteCount: Int) {
        self.fromRound = fromRound
        self.codecs = codecs
        self.byteCount = byteCount
    }
}

/// Chooses the codecs of one fragment's contributions: errors are measured on what is really encoded, and a table is solved
/// from their means and kept for some rounds.
///
/// The fewest bytes whose error is at most that of the charter's codec on all tiles; where a link cannot carry that, the
/// least error within its bytes; where even the coarsest codecs are too much, those.
/// - SeeAlso: L-GreCo (arXiv:2210.17357), section 3, and `LayerAllotment`.
package struct CodecTables: Sendable {
    /// What a table is solved for.
    package enum Objective: Hashable, Sendable {
        /// The fewest bytes whose error is at most that of the charter's codec on all tiles.
        case fewestBytes
        /// As many bytes with the most error: the control of the laboratory, worse than a uniform codec if errors matter.
        case mostError
    }

    /// Rounds that a table is kept at least, unless its owner's tiles or the room change so that it cannot be used.
    static let roundsKept: UInt64 = 4
    /// Rounds between two measurements, once `earlyMeasurements` have been made.
    static let measureInterval: UInt64 = 4
    static let earlyMeasurements = 3
    /// Steps of the budgets: with 1,600 tiles the programme takes 26 MiB.
    static let buckets = 2_000

    private struct Key: Hashable {
        var tiles: [TileIndex]
        var families: Set<UInt8>?
    }

    private struct Kept {
        var table: CodecTable
        var solvedAt: RoundIndex
        var usedAt: RoundIndex
        var byteCountMax: Int?
    }

    private let fragment: FragmentLayout.Fragment
    private let encoding: PayloadEncoding
    private let group: BudgetGroup
    private let objective: Objective
    /// Per tile its codec without a choice, and its candidates; fewer than two: nothing to choose.
    private let fixed: [Codec]
    private let candidates: [[Codec]]
    /// Tiles with candidates, ascending; the statistics' layers.
    private let choosable: [Int]
    private var statistics: ErrorStatistics?
    /// What earlier statistics say while new ones have no cycle.
    private var table: ErrorTable?
    private var measurements = 0
    private var measuredAt: RoundIndex?
    private var kept: [Key: Kept] = [:]

    /// Starts without measurements.
    package init(
        _ fragment: FragmentLayout.Fragment, _ encoding: PayloadEncoding, objective: Objective = .fewestBytes
    ) {
        self.fragment = fragment
        self.encoding = encoding
        self.objective = objective
        group = BudgetGroup(uniform: encoding.contribution, otherFamilies: encoding.ladder.map(\.family))
        fixed = PayloadEncoding.codecs(encoding.contribution, for: fragment.tiles)
        candidates = zip(fragment.tiles, fixed).map { tile, fixed in
            // What a codec leaves to E3M0 it does not encode.
            guard fixed == encoding.contribution else { return [] }
            return encoding.contributionCodecs.filter { PayloadEncoding.codecs($0, for: [tile]) == [$0] }
        }
        choosable = fragment.tiles.indices.filter { [candidates] in candidates[$0].count > 1 }
    }

    /// Per position the table of that owner's tiles; nil where the assignment is empty.
    ///
    /// - Parameter values: [parameterCount] float32, what is encoded.
    package mutating func choose(
        for assignment: [[TileIndex]], room: ContributionRoom, round: RoundIndex, values: [Float]
    ) throws(AllotmentError) -> [CodecTable?] {
        precondition(values.count == fragment.parameterCount, "values must have their fragment's shape")
        let isRemote = assignment.indices.map { room.owners.isEmpty || room.owners[$0] != nil }
        // A tile outside the fragment is refused by the encoder.
        let sizes = assignment.map { tiles in
            tiles.reduce(0) { $0 + (fragment.tiles.indices.contains($1.value) ? fragment.tiles[$1.value].count : 0) }
        }
        let remoteSize = zip(sizes, isRemote).reduce(0) { $0 + ($1.1 ? $1.0 : 0) }
        try measureIfDue(round, values)
        // Ownership is sticky; what it once was is not kept for long.
        kept = kept.filter { $0.value.usedAt.value + Self.roundsKept >= round.value }
        var tables: [CodecTable?] = []
        for (position, tiles) in assignment.enumerated() {
            guard !tiles.isEmpty, tiles.allSatisfy({ fragment.tiles.indices.contains($0.value) }) else {
                tables.append(nil)
                continue
            }
            let owner = room.owners.isEmpty ? ContributionRoom.Owner() : room.owners[position]
            guard let owner else {
                tables.append(table(tiles.map { fixed[$0.value] }, tiles, round))
                continue
            }
            // Each owner's share of this node's link, and no more than the link to it carries.
            let share = room.byteCountMax.map { Int(Double($0) * Double(sizes[position]) / Double(max(1, remoteSize))) }
            let limit = [share, owner.byteCountMax].compactMap { $0 }.min()
            let key = Key(tiles: tiles, families: owner.families)
            if let entry = kept[key], isGood(entry, round, limit) {
                kept[key]?.usedAt = round
                tables.append(entry.table)
                continue
            }
            let codecs = try solve(tiles, owner.families, limit)
            let old = kept[key]?.table
            let new = old?.codecs == codecs ? old : nil
            let table = new ?? table(codecs, tiles, round)
            kept[key] = Kept(table: table, solvedAt: round, usedAt: round, byteCountMax: limit)
            tables.append(table)
        }
        return tables
    }

    /// Whether a table can stay: for some rounds, as long as it fits or nothing finer than the last try would.
    private func isGood(_ kept: Kept, _ round: RoundIndex, _ limit: Int?) -> Bool {
        if let limit, kept.table.byteCount > limit, kept.byteCountMax.map({ limit < $0 }) ?? true { return false }
        return round.value < kept.solvedAt.value + Self.roundsKept
    }

    private func table(_ codecs: [Codec], _ tiles: [TileIndex], _ round: RoundIndex) -> CodecTable {
        CodecTable(fromRound: round, codecs: codecs, byteCount: byteCount(codecs, tiles))
    }

    private func byteCount(_ codecs: [Codec], _ tiles: [TileIndex]) -> Int {
        let header = PayloadDescription.headerByteCount(tileCount: tiles.count, isMixed: Set(codecs).count > 1)
        return zip(codecs, tiles).reduce(header) { $0 + $1.0.byteCount(of: fragment.tiles[$1.1.value].shape) }
    }

    /// The codecs of some tiles for a link.
    private func solve(
        _ tiles: [TileIndex], _ families: Set<UInt8>?, _ limit: Int?
    ) throws(AllotmentError) -> [Codec] {
        var codecs = tiles.map { fixed[$0.value] }
        guard let table else { return codecs }
        var layers: [[LayerCandidate]] = []
        var places: [Int] = []
        for (place, tile) in tiles.enumerated() {
            guard let layer = choosable.firstIndex(of: tile.value) else { continue }
            layers.append(
                table.curves[layer].candidates.filter {
                    $0.setting == encoding.contribution || families?.contains($0.setting.family) ?? true
                })
            places.append(place)
        }
        guard !layers.isEmpty else { return codecs }
        let owned = try ErrorTable(group: group, layers: layers)
        let fewest = try LayerAllotment.solve(owned, buckets: Self.buckets)
        var settings = fewest.settings
        if objective == .mostError,
            case .fits(let worst) = try LayerAllotment.mostError(with: fewest.byteCount, owned, buckets: Self.buckets)
        {
            settings = worst.settings
        }
        if let limit {
            for (place, setting) in zip(places, settings) { codecs[place] = setting }
            if byteCount(codecs, tiles) > limit {
                let chosen = Set(places)
                let rest = tiles.indices.filter { !chosen.contains($0) }.reduce(
                    PayloadDescription.headerByteCount(tileCount: tiles.count, isMixed: true)
                ) { $0 + codecs[$1].byteCount(of: fragment.tiles[tiles[$1].value].shape) }
                switch try LayerAllotment.leastError(within: max(0, limit - rest), owned, buckets: Self.buckets) {
                case .fits(let allotment): settings = allotment.settings
                case .tooFewBytes:
                    settings = layers.map { layer in
                        layer.filter(\.errorNorm.isFinite).min { $0.byteCount < $1.byteCount }?.setting
                            ?? encoding.contribution
                    }
                }
            }
        }
        for (place, setting) in zip(places, settings) { codecs[place] = setting }
        return codecs
    }

    // MARK: Errors

    /// Adds a cycle to the statistics, often at first and now and then later.
    private mutating func measureIfDue(_ round: RoundIndex, _ values: [Float]) throws(AllotmentError) {
        guard !choosable.isEmpty else { return }
        if let measuredAt {
            let interval = measurements < Self.earlyMeasurements ? 1 : Self.measureInterval
            guard round.value >= measuredAt.value + interval else { return }
        }
        if statistics.map({ $0.cycleCount >= ErrorStatistics.cyclesMax }) ?? true {
            statistics = try ErrorStatistics(group: group, settings: choosable.map { candidates[$0] })
        }
        var scratch = Scratch()
        let cycle = choosable.map { tile in
            candidates[tile].map { codec in
                let shape = fragment.tiles[tile].shape
                return ErrorStatistics.Measurement(
                    byteCount: codec.byteCount(of: shape),
                    errorNorm: scratch.error(of: codec, shape: shape, values[fragment.tiles[tile].range]))
            }
        }
        // What the charter's codec refuses cannot be encoded at all, and would spoil the sums.
        let isMeasured = zip(choosable, cycle).allSatisfy { tile, layer in
            zip(candidates[tile], layer).allSatisfy { $0 != encoding.contribution || $1.errorNorm.isFinite }
        }
        guard isMeasured else { return }
        try statistics?.add(cycle)
        table = try statistics?.table(cyclesMin: 1)
        measurements += 1
        measuredAt = round
    }

    /// Buffers of measurements.
    private struct Scratch {
        var bytes: [UInt8] = []
        var decoded: [Float] = []

        /// The L2 norm of what a codec loses of values; infinite where it refuses them.
        mutating func error(of codec: Codec, shape: TileShape, _ values: ArraySlice<Float>) -> Double {
            let byteCount = codec.byteCount(of: shape)
            if bytes.count < byteCount { bytes = [UInt8](repeating: 0, count: byteCount) }
            if decoded.count < shape.count { decoded = [Float](repeating: 0, count: shape.count) }
            var memory = EncoderMemory()
            var squares = 0.0
            let isEncoded = values.withUnsafeBufferPointer { values in
                bytes.withUnsafeMutableBytes { bytes in
                    decoded.withUnsafeMutableBufferPointer { decoded in
                        let bytes = UnsafeMutableRawBufferPointer(rebasing: bytes[..<byteCount])
                        let decoded = UnsafeMutableBufferPointer(rebasing: decoded[..<shape.count])
                        do throws(CodecError) {
                            try codec.encode(values, shape: shape, memory: &memory, into: bytes)
                            try codec.decode(UnsafeRawBufferPointer(bytes), shape: shape, into: decoded)
                        } catch { return false }
                        for index in 0..<shape.count {
                            let difference = Double(values[index]) - Double(decoded[index])
                            squares += difference * difference
                        }
                        return true
                    }
                }
            }
            return isEncoded ? squares.squareRoot() : .infinity
        }
    }
}
