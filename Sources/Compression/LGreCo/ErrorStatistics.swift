/// Mean sizes and errors of every layer's candidates over some cycles, from which the next allotment is solved.
///
/// One cycle's gradients are noise: a table is solved from the mean of 10 to 50 of them, after warm-up (reference §9).
package struct ErrorStatistics: Hashable, Sendable {
    /// What one setting did to one layer in one cycle.
    package struct Measurement: Hashable, Sendable {
        /// Bytes on the wire.
        package let byteCount: Int
        /// ‖x − x̂‖, not squared, of what was really encoded.
        package let errorNorm: Double

        /// Collects the two.
        package init(byteCount: Int, errorNorm: Double) {
            self.byteCount = byteCount
            self.errorNorm = errorNorm
        }
    }

    /// Fewest cycles that a table is made from, where the caller does not choose.
    package static let cyclesMinDefault = 10
    /// Most cycles; then a table is due and new statistics begin.
    package static let cyclesMax = 50

    /// The group of all settings.
    package let group: BudgetGroup
    /// How errors are summed.
    package let metric: ErrorMetric
    /// Per layer its settings.
    package let settings: [[Codec]]
    /// The cycles so far.
    package private(set) var cycleCount = 0

    /// Per layer and setting, flat.
    private var byteSums: [Int]
    /// Per layer and setting, flat; of what the metric makes of the norm.
    private var errorSums: [Double]

    /// Starts with no cycle.
    ///
    /// - Parameter settings: per layer its settings; as in `ErrorTable`, which the first check is left to.
    package init(
        group: BudgetGroup, metric: ErrorMetric = .norm, settings: [[Codec]]
    ) throws(AllotmentError) {
        let empty = settings.map { $0.map { LayerCandidate(setting: $0, byteCount: 0, errorNorm: 0) } }
        _ = try ErrorTable(group: group, metric: metric, layers: empty)
        self.group = group
        self.metric = metric
        self.settings = settings
        let count = settings.reduce(0) { $0 + $1.count }
        byteSums = [Int](repeating: 0, count: count)
        errorSums = [Double](repeating: 0, count: count)
    }

    /// Adds one cycle; all of it or nothing.
    ///
    /// An error that is not finite drops its candidate from the table for good; a negative one is refused.
    package mutating func add(_ cycle: [[Measurement]]) throws(AllotmentError) {
        guard cycleCount < Self.cyclesMax else { throw .tooManyCycles(cycleCount) }
        guard cycle.count == settings.count else { throw .wrongShape }
        for (layerIndex, (layer, settings)) in zip(cycle, settings).enumerated() {
            guard layer.count == settings.count else { throw .wrongShape }
            for (measurement, setting) in zip(layer, settings) {
                guard (0...ErrorTable.byteCountMax).contains(measurement.byteCount) else {
                    throw .badByteCount(layerIndex: layerIndex, setting)
                }
                guard !(measurement.errorNorm < 0) else { throw .negativeError(layerIndex: layerIndex, setting) }
            }
        }
        var index = 0
        for measurement in cycle.joined() {
            byteSums[index] += measurement.byteCount
            errorSums[index] += metric.value(ofNorm: measurement.errorNorm)
            index += 1
        }
        cycleCount += 1
    }

    /// The mean of all cycles; bytes are rounded up.
    package func table(cyclesMin: Int = cyclesMinDefault) throws(AllotmentError) -> ErrorTable {
        let needed = max(1, cyclesMin)
        guard cycleCount >= needed else { throw .tooFewCycles(got: cycleCount, needed: needed) }
        var index = 0
        var layers: [[LayerCandidate]] = []
        for settings in settings {
            var layer: [LayerCandidate] = []
            for setting in settings {
                let error = errorSums[index] / Double(cycleCount)
                layer.append(
                    LayerCandidate(
                        setting: setting, byteCount: (byteSums[index] + cycleCount - 1) / cycleCount,
                        errorNorm: metric.norm(ofValue: error)))
                index += 1
            }
            layers.append(layer)
        }
        return try ErrorTable(group: group, metric: metric, layers: layers)
    }
}

extension ErrorMetric {
    /// The norm that has this value.
    fileprivate func norm(ofValue value: Double) -> Double {
        switch self {
        case .norm: value
        case .squaredNorm: value.squareRoot()
        }
    }
}
