import Glibc
import Numerics

/// CMA-ES: searches for the point of least cost in a box, by ranks of costs alone.
///
/// The caller asks for a generation, finds the costs, and tells them. Equal seeds and costs give equal points. Points outside
/// the box are drawn again a few times and then put on its border.
/// - SeeAlso: Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv:1604.00772), algorithm in appendix A and its defaults.
package struct EvolutionStrategy: Sendable {
    /// Points per generation.
    package let populationSize: Int
    /// Where the next generation is drawn around, in the unit box.
    package private(set) var mean: [Double]
    /// The overall step size, in units of the box.
    package private(set) var stepSize: Double

    private let count: Int
    private var random: SeededRandom
    /// Of the better half of a generation, best first; they sum to 1.
    private let weights: [Double]
    private let effectiveCount: Double
    private var covariance: [[Double]]
    /// Axes of the covariance, as columns, and the standard deviations along them.
    private var axes: [[Double]]
    private var deviations: [Double]
    private var stepPath: [Double]
    private var covariancePath: [Double]
    private var generation = 0

    /// - Parameters:
    ///   - start: the first mean, in the unit box; at least one number.
    ///   - stepSize: standard deviation of the first generation.
    package init(start: [Double], stepSize: Double = 0.2, seed: UInt64) {
        precondition(!start.isEmpty, "there must be something to search")
        count = start.count
        mean = start.map { min(1, max(0, $0)) }
        self.stepSize = stepSize
        random = SeededRandom(seed: seed)
        let size = 4 + Int(3 * log(Double(start.count)))
        populationSize = size
        let raw = (0..<size / 2).map { log(Double(size + 1) / 2) - log(Double($0 + 1)) }
        let sum = raw.reduce(0, +)
        weights = raw.map { $0 / sum }
        effectiveCount = 1 / weights.reduce(0) { $0 + $1 * $1 }
        covariance = Self.identity(count)
        axes = Self.identity(count)
        deviations = Array(repeating: 1, count: count)
        stepPath = Array(repeating: 0, count: count)
        covariancePath = Array(repeating: 0, count: count)
    }

    /// The points of the next generation.
    package mutating func ask() -> [[Double]] {
        (0..<populationSize).map { _ in
            var point = draw()
            for _ in 0..<8 where !point.allSatisfy({ (0...1).contains($0) }) { point = draw() }
            return point.map { min(1, max(0, $0)) }
        }
    }

    private mutating func draw() -> [Double] {
        let normal = (0..<count).map { Double(random.nextNormal()) * deviations[$0] }
        return (0..<count).map { row in
            mean[row] + stepSize * (0..<count).reduce(0) { $0 + axes[row][$1] * normal[$1] }
        }
    }

    /// Learns from the costs of the points that `ask` gave; an infinite cost counts as the worst.
    package mutating func tell(_ points: [[Double]], costs: [Double]) {
        precondition(points.count == populationSize && costs.count == populationSize, "a generation is told as a whole")
        generation += 1
        let size = Double(count)
        // Ties are broken by the order, so that equal costs give equal paths.
        let order = costs.indices.sorted { (costs[$0], $0) < (costs[$1], $1) }
        let steps = order.prefix(weights.count).map { place in
            (0..<count).map { (points[place][$0] - mean[$0]) / stepSize }
        }
        let step = (0..<count).map { axis in zip(weights, steps).reduce(0) { $0 + $1.0 * $1.1[axis] } }
        for axis in 0..<count { mean[axis] = min(1, max(0, mean[axis] + stepSize * step[axis])) }

        let stepRate = (effectiveCount + 2) / (size + effectiveCount + 5)
        let damping = 1 + 2 * max(0, sqrt((effectiveCount - 1) / (size + 1)) - 1) + stepRate
        let stepGain = sqrt(stepRate * (2 - stepRate) * effectiveCount)
        let whitened = whiten(step)
        for axis in 0..<count { stepPath[axis] = (1 - stepRate) * stepPath[axis] + stepGain * whitened[axis] }
        let pathLength = sqrt(stepPath.reduce(0) { $0 + $1 * $1 })
        let expected = sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size * size))
        let isShort =
            pathLength / sqrt(1 - pow(1 - stepRate, 2 * Double(generation))) < (1.4 + 2 / (size + 1)) * expected

        let pathRate = (4 + effectiveCount / size) / (size + 4 + 2 * effectiveCount / size)
        let pathGain = isShort ? sqrt(pathRate * (2 - pathRate) * effectiveCount) : 0
        for axis in 0..<count { covariancePath[axis] = (1 - pathRate) * covariancePath[axis] + pathGain * step[axis] }

        let rankOne = 2 / ((size + 1.3) * (size + 1.3) + effectiveCount)
        let rankMany = min(
            1 - rankOne,
            2 * (effectiveCount - 2 + 1 / effectiveCount) / ((size + 2) * (size + 2) + effectiveCount))
        let kept = 1 - rankOne - rankMany + (isShort ? 0 : rankOne * pathRate * (2 - pathRate))
        for row in 0..<count {
            for column in 0..<count {
                let many = zip(weights, steps).reduce(0) { $0 + $1.0 * $1.1[row] * $1.1[column] }
                covariance[row][column] =
                    kept * covariance[row][column] + rankOne * covariancePath[row] * covariancePath[column]
                    + rankMany * many
            }
        }
        stepSize = min(1, stepSize * exp((stepRate / damping) * (pathLength / expected - 1)))
        decompose()
    }

    /// C^(-1/2) v.
    private func whiten(_ vector: [Double]) -> [Double] {
        let turned = (0..<count).map { axis in
            (0..<count).reduce(0) { $0 + axes[$1][axis] * vector[$1] } / deviations[axis]
        }
        return (0..<count).map { row in (0..<count).reduce(0) { $0 + axes[row][$1] * turned[$1] } }
    }

    /// Axes and deviations of the covariance, by Jacobi's rotations.
    private mutating func decompose() {
        var matrix = covariance
        var vectors = Self.identity(count)
        for _ in 0..<50 {
            var off = 0.0
            for row in 0..<count { for column in 0..<row { off += matrix[row][column] * matrix[row][column] } }
            if off < 1e-24 { break }
            for row in 0..<count {
                for column in 0..<row { Self.rotate(&matrix, &vectors, row, column) }
            }
        }
        axes = vectors
        // Rounding may push a variance to zero or below.
        deviations = (0..<count).map { sqrt(max(1e-20, matrix[$0][$0])) }
    }

    /// One rotation that makes the element at (p, q) zero.
    private static func rotate(_ matrix: inout [[Double]], _ vectors: inout [[Double]], _ p: Int, _ q: Int) {
        let element = matrix[p][q]
        guard element != 0 else { return }
        let ratio = (matrix[q][q] - matrix[p][p]) / (2 * element)
        let tangent = (ratio >= 0 ? 1 : -1) / (abs(ratio) + sqrt(ratio * ratio + 1))
        let cosine = 1 / sqrt(tangent * tangent + 1)
        let sine = tangent * cosine
        for index in matrix.indices {
            let (left, right) = (matrix[index][p], matrix[index][q])
            matrix[index][p] = cosine * left - sine * right
            matrix[index][q] = sine * left + cosine * right
        }
        for index in matrix.indices {
            let (left, right) = (matrix[p][index], matrix[q][index])
            matrix[p][index] = cosine * left - sine * right
            matrix[q][index] = sine * left + cosine * right
            let (first, second) = (vectors[index][p], vectors[index][q])
            vectors[index][p] = cosine * first - sine * second
            vectors[index][q] = sine * first + cosine * second
        }
    }

    private static func identity(_ count: Int) -> [[Double]] {
        (0..<count).map { row in (0..<count).map { $0 == row ? 1 : 0 } }
    }
}
