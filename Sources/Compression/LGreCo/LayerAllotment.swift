/// Which setting each layer gets, found by the dynamic programme of L-GreCo (arXiv:2210.17357; reference §6).
///
/// Pure and deterministic: the same table gives the same allotment everywhere. It is still solved once, signed and sent
/// with a version, because members measure different tables, and who solves by himself expects other sizes than the rest.
///
/// Where this departs from the release of L-GreCo:
/// - the uniform setting is the fall-back where rounded-up errors leave no assignment (the release backtracks garbage);
/// - a candidate above the budget, or without a finite error, is dropped (the release clips it to the whole budget);
/// - a candidate without error costs no bucket (the release charges one), so that layers sent raw do not eat the budget;
/// - sums are checked once more with the true numbers before anything is returned.
package struct LayerAllotment: Hashable, Sendable {
    /// Where an allotment comes from.
    package enum Origin: Hashable, Sendable {
        /// The dynamic programme found it.
        case programme
        /// All layers have this setting, because the programme found nothing within its limits that is better.
        case uniform(Codec)
    }

    /// Buckets of the error budget, D, where the caller does not choose.
    package static let bucketsDefault = 10_000
    /// Most buckets.
    package static let bucketsMax = 100_000
    /// Most layers × buckets: 256 MiB of sums.
    package static let cellsMax = 1 << 25
    /// Most that the budget may be of the uniform setting's error.
    private static let budgetFactorMax = 0x1p20

    /// Per layer the place of the chosen candidate in its curve.
    package let choice: [Int]
    /// Per layer the chosen setting.
    package let settings: [Codec]
    /// The bytes of all layers.
    package let byteCount: Int
    /// The summed error of all layers, in the table's metric.
    package let error: Double
    /// Who made it.
    package let origin: Origin

    init(_ choice: [Int], of table: ErrorTable, from origin: Origin) {
        self.choice = choice
        settings = zip(table.curves, choice).map { $0.candidates[$1].setting }
        byteCount = table.byteCount(of: choice)
        error = table.error(of: choice)
        self.origin = origin
    }

    /// The fewest bytes whose summed error is at most that of the uniform setting times a factor.
    ///
    /// L: layers; C: candidates of a layer; D: buckets.
    ///
    /// The result is never larger than the uniform setting, and never above the budget where `budgetFactor` is at least 1;
    /// below 1 the uniform setting is the fall-back all the same, although it is above the budget itself.
    /// Its bytes are at most those of the best assignment whose error is at most budget × (1 − L / D).
    ///
    /// - Parameters:
    ///   - budgetFactor: α, above 0.
    ///   - buckets: D, the steps into which the budget is cut. Errors are rounded up to whole steps.
    /// - Complexity: O(L·C·D), L·D float64.
    package static func solve(
        _ table: ErrorTable, budgetFactor: Double = 1, buckets: Int = bucketsDefault
    ) throws(AllotmentError) -> LayerAllotment {
        guard budgetFactor > 0, budgetFactor <= budgetFactorMax else { throw .badBudgetFactor }
        try check(table, buckets)
        let uniformChoice = table.uniformChoice
        let uniformByteCount = table.byteCount(of: uniformChoice)
        let budget = budgetFactor * table.error(of: uniformChoice)
        let step = budget / Double(buckets)
        let items = table.curves.map { curve in
            zip(curve.errors, curve.candidates).map { error, candidate in
                let cost = bucketCount(of: error, step: step, budget: budget, buckets: buckets)
                return AllotmentProgramme.Item(
                    cost: cost ?? 0, value: cost == nil ? .infinity : Double(candidate.byteCount))
            }
        }
        let programme = AllotmentProgramme(items, buckets: buckets, start: .atMost)
        // A sum of true errors that fills every bucket may exceed the budget by a rounding; one bucket less cannot.
        for last in [buckets, buckets - 1] {
            guard let bucket = programme.bestBucket(in: 0...last) else { break }
            let found = LayerAllotment(programme.choice(at: bucket), of: table, from: .programme)
            if found.error <= budget, found.byteCount <= uniformByteCount { return found }
        }
        return LayerAllotment(uniformChoice, of: table, from: .uniform(table.group.uniform))
    }

    /// An error in whole buckets, rounded up; nil where it is above the budget.
    private static func bucketCount(of error: Double, step: Double, budget: Double, buckets: Int) -> Int? {
        guard error <= budget else { return nil }
        guard error > 0 else { return 0 }
        // Budgets near the smallest numbers have no steps.
        guard step > 0, step.isNormal else { return nil }
        let count = (error / step).rounded(.up)
        // The quotient may have been rounded down to a whole number, or up past the last.
        guard count < Double(buckets) else { return buckets }
        return Int(count) + (count * step < error ? 1 : 0)
    }

    static func check(_ table: ErrorTable, _ buckets: Int) throws(AllotmentError) {
        guard (1...bucketsMax).contains(buckets) else { throw .badBucketCount(buckets) }
        let cells = table.curves.count * buckets
        guard cells <= cellsMax else { throw .tooManyCells(cells) }
    }
}
