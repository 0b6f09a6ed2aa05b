/// What one setting costs one layer, and what it loses there.
package struct LayerCandidate: Hashable, Sendable {
    /// The setting.
    package let setting: Codec
    /// Bytes on the wire, exactly, with scales and indices.
    package let byteCount: Int
    /// The L2 norm of what is lost, ‖x − x̂‖, not squared, of what is really encoded (the error-feedback sum).
    package let errorNorm: Double

    /// Collects the three.
    package init(setting: Codec, byteCount: Int, errorNorm: Double) {
        self.setting = setting
        self.byteCount = byteCount
        self.errorNorm = errorNorm
    }
}

/// Error against size of one layer's candidates; made by `ErrorTable`, which checks them.
package struct ErrorCurve: Hashable, Sendable {
    /// The candidates; those without a finite error are kept in place and never chosen.
    package let candidates: [LayerCandidate]
    /// Per candidate what it adds to the summed error: finite and not negative, or infinite where it must not be chosen.
    package let errors: [Double]
    /// The uniform setting's place among the candidates, c0.
    package let uniformIndex: Int

    /// Whether a candidate may be chosen.
    package func isUsable(_ index: Int) -> Bool { errors[index].isFinite }

    /// The place of a setting that may be chosen.
    package func index(of setting: Codec) -> Int? {
        candidates.indices.first { candidates[$0].setting == setting && isUsable($0) }
    }
}

/// The error curves of all layers of one budget group: all that an allotment is decided from.
///
/// Only candidates of one group fit into a table, so a sparse setting under error feedback cannot be measured against
/// the budget of a dense one.
package struct ErrorTable: Hashable, Sendable {
    /// Most layers. A model of 120 blocks has some 1100 tensors.
    package static let layersMax = 4096
    /// Most candidates of a layer.
    package static let candidatesMax = 256
    /// Most bytes of a candidate, 1 TiB: all sums of bytes stay below 2^53, where float64 is exact.
    package static let byteCountMax = 1 << 40

    /// The group that every candidate belongs to.
    package let group: BudgetGroup
    /// How errors are summed.
    package let metric: ErrorMetric
    /// One curve per layer.
    package let curves: [ErrorCurve]

    /// Checks candidates and makes the table.
    ///
    /// A layer to which the uniform setting does not apply (a small one that is always sent raw) states under that
    /// setting what a uniform run sends of it.
    ///
    /// - Parameter layers: per layer its candidates, each setting at most once, the uniform one among them. A candidate
    ///   whose error is not finite is dropped: it stays in place, but is never chosen.
    /// - Throws: what `AllotmentError` lists under the table.
    package init(
        group: BudgetGroup, metric: ErrorMetric = .norm, layers: [[LayerCandidate]]
    ) throws(AllotmentError) {
        guard layers.count <= Self.layersMax else { throw .tooManyLayers(layers.count) }
        var curves: [ErrorCurve] = []
        curves.reserveCapacity(layers.count)
        for (layerIndex, candidates) in layers.enumerated() {
            curves.append(try Self.curve(candidates, layerIndex, group, metric))
        }
        self.group = group
        self.metric = metric
        self.curves = curves
    }

    private static func curve(
        _ candidates: [LayerCandidate], _ layerIndex: Int, _ group: BudgetGroup, _ metric: ErrorMetric
    ) throws(AllotmentError) -> ErrorCurve {
        guard candidates.count <= candidatesMax else { throw .tooManyCandidates(layerIndex: layerIndex) }
        var seen: Set<Codec> = []
        var errors: [Double] = []
        for candidate in candidates {
            guard group.holds(candidate.setting) else {
                throw .foreignFamily(layerIndex: layerIndex, candidate.setting)
            }
            guard seen.insert(candidate.setting).inserted else {
                throw .repeatedSetting(layerIndex: layerIndex, candidate.setting)
            }
            guard (0...byteCountMax).contains(candidate.byteCount) else {
                throw .badByteCount(layerIndex: layerIndex, candidate.setting)
            }
            guard !(candidate.errorNorm < 0) else { throw .negativeError(layerIndex: layerIndex, candidate.setting) }
            let error = metric.value(ofNorm: candidate.errorNorm)
            // Sums of the errors of all layers must stay finite too.
            errors.append(error <= errorMax ? error : .infinity)
        }
        guard let uniformIndex = candidates.firstIndex(where: { $0.setting == group.uniform }) else {
            throw .uniformMissing(layerIndex: layerIndex)
        }
        guard errors[uniformIndex].isFinite else { throw .uniformNotFinite(layerIndex: layerIndex) }
        return ErrorCurve(candidates: candidates, errors: errors, uniformIndex: uniformIndex)
    }

    /// Errors above this count as infinite; 4096 layers of it, times a budget factor, are still finite.
    private static let errorMax = 0x1p900

    /// The uniform setting's choice of candidates.
    package var uniformChoice: [Int] { curves.map(\.uniformIndex) }

    /// The bytes of all layers with these candidates.
    package func byteCount(of choice: [Int]) -> Int {
        var sum = 0
        for (curve, index) in zip(curves, choice) { sum += curve.candidates[index].byteCount }
        return sum
    }

    /// The summed error of all layers with these candidates, added in order.
    package func error(of choice: [Int]) -> Double {
        var sum = 0.0
        for (curve, index) in zip(curves, choice) { sum += curve.errors[index] }
        return sum
    }

    /// Sorts each layer's candidates into budget groups: one table per group, in their order.
    ///
    /// - Throws: also where a family belongs to no group or to two.
    package static func grouped(
        _ layers: [[LayerCandidate]], into groups: [BudgetGroup], metric: ErrorMetric = .norm
    ) throws(AllotmentError) -> [ErrorTable] {
        var owners: [UInt8: Int] = [:]
        for (groupIndex, group) in groups.enumerated() {
            for family in group.families where owners.updateValue(groupIndex, forKey: family) != nil {
                throw .familyInTwoGroups(family)
            }
        }
        var sorted = [[[LayerCandidate]]](
            repeating: [[LayerCandidate]](repeating: [], count: layers.count), count: groups.count)
        for (layerIndex, candidates) in layers.enumerated() {
            for candidate in candidates {
                guard let owner = owners[candidate.setting.family] else {
                    throw .familyWithoutGroup(candidate.setting.family)
                }
                sorted[owner][layerIndex].append(candidate)
            }
        }
        var tables: [ErrorTable] = []
        for (group, layers) in zip(groups, sorted) {
            tables.append(try ErrorTable(group: group, metric: metric, layers: layers))
        }
        return tables
    }
}

/// Why no allotment could be looked for.
package enum AllotmentError: Error, Hashable, Sendable {
    // The table.
    /// More layers than `ErrorTable.layersMax`.
    case tooManyLayers(Int)
    /// More candidates than `ErrorTable.candidatesMax`.
    case tooManyCandidates(layerIndex: Int)
    /// A candidate's family is not one of the group.
    case foreignFamily(layerIndex: Int, Codec)
    /// A setting stands twice in one layer.
    case repeatedSetting(layerIndex: Int, Codec)
    /// A size is negative or above `ErrorTable.byteCountMax`.
    case badByteCount(layerIndex: Int, Codec)
    /// An error is negative.
    case negativeError(layerIndex: Int, Codec)
    /// A layer lacks the group's uniform setting.
    case uniformMissing(layerIndex: Int)
    /// The uniform setting's error is not finite, so there is no budget.
    case uniformNotFinite(layerIndex: Int)
    // The groups.
    /// Two groups claim one family.
    case familyInTwoGroups(UInt8)
    /// A candidate's family belongs to no group.
    case familyWithoutGroup(UInt8)
    // The programme.
    /// The budget factor is not a number above 0 and at most 2^20.
    case badBudgetFactor
    /// There must be 1 to `LayerAllotment.bucketsMax` buckets.
    case badBucketCount(Int)
    /// Layers × buckets is above `LayerAllotment.cellsMax`.
    case tooManyCells(Int)
    // The statistics.
    /// The measurements of a cycle are not those that the statistics are of.
    case wrongShape
    /// Enough cycles are in the statistics already.
    case tooManyCycles(Int)
    /// Too few cycles are in the statistics.
    case tooFewCycles(got: Int, needed: Int)
}
