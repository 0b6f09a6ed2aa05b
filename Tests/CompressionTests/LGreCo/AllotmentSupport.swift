import Compression
import Testing

/// A quantizer's family.
let quantizer: UInt8 = 3
/// A sparse family under error feedback.
let sparse: UInt8 = 5

/// The setting that stands for candidate c in tables made from plain numbers.
func setting(_ candidate: Int) -> Codec { .lowRank(rank: UInt8(candidate + 1)) }

/// The group of such tables.
func group(uniform candidate: Int) -> BudgetGroup { BudgetGroup(uniform: setting(candidate)) }

/// A table from errors and sizes per layer.
func table(
    _ errors: [[Double]], _ sizes: [[Int]], uniform: Int, metric: ErrorMetric = .norm
) throws -> ErrorTable {
    try ErrorTable(
        group: group(uniform: uniform), metric: metric,
        layers: zip(errors, sizes).map { errors, sizes in
            zip(errors, sizes).enumerated().map { candidate, pair in
                LayerCandidate(setting: setting(candidate), byteCount: pair.1, errorNorm: pair.0)
            }
        })
}

/// The golden case of the reference, §6.
func goldenTable() throws -> ErrorTable {
    try table(
        [[10, 6, 3], [4, 2, 1], [8, 5, 2]], [[10, 20, 40], [10, 20, 40], [100, 200, 400]], uniform: 1)
}

/// A seeded table with whole errors, and sizes that mostly fall as errors rise.
func randomTable(
    _ random: inout SplitMix, layersMax: Int = 4, candidatesMax: Int = 5, errorMax: Int = 12, droppingSome: Bool = false
) throws -> ErrorTable {
    let layers = Int.random(in: 1...layersMax, using: &random)
    let candidates = Int.random(in: 1...candidatesMax, using: &random)
    let uniform = Int.random(in: 0..<candidates, using: &random)
    var errors: [[Double]] = []
    var sizes: [[Int]] = []
    for _ in 0..<layers {
        var layerErrors = (0..<candidates).map { _ in Double(Int.random(in: 0...errorMax, using: &random)) }
        var layerSizes = (0..<candidates).map { _ in Int.random(in: 0...60, using: &random) }
        if Bool.random(using: &random) {
            layerErrors.sort(by: >)
            layerSizes.sort()
        }
        for index in 0..<candidates
        where droppingSome && index != uniform && Int.random(in: 0..<6, using: &random) == 0 {
            layerErrors[index] = Bool.random(using: &random) ? .nan : .infinity
        }
        errors.append(layerErrors)
        sizes.append(layerSizes)
    }
    return try table(errors, sizes, uniform: uniform)
}

/// Every assignment of usable candidates.
func everyChoice(of table: ErrorTable) -> [[Int]] {
    var choices: [[Int]] = [[]]
    for curve in table.curves {
        let usable = curve.candidates.indices.filter(curve.isUsable)
        choices = choices.flatMap { choice in usable.map { choice + [$0] } }
    }
    return choices
}

/// The allotment, or a failed expectation.
func fitting(_ result: ByteBudgetAllotment) throws -> LayerAllotment {
    guard case .fits(let allotment) = result else {
        throw Unexpected(text: "\(result)")
    }
    return allotment
}

/// A result of another kind than the test asks for.
struct Unexpected: Error {
    /// What came.
    let text: String
}
