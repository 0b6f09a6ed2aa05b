/// The dynamic programme under every allotment: one candidate per layer, least summed value, bounded summed cost.
///
/// Costs are whole buckets, values are float64. Row l holds for every b the least summed value of the first l layers
/// whose costs sum to at most (or to exactly) b, infinite where there is none. Rows are kept instead of choices: the
/// inner loop is then one addition and one minimum, which vectorises, and the way back finds each choice by computing
/// the same sum again, which gives the same bits.
struct AllotmentProgramme: ~Copyable {
    /// What a candidate costs and adds.
    struct Item {
        /// Whole buckets; a cost above the last bucket makes it unusable.
        var cost: Int
        /// Finite, or infinite where it must not be chosen.
        var value: Double
    }

    /// Where the sums of costs begin.
    enum Start {
        /// Sums are at most b.
        case atMost
        /// Sums are exactly b.
        case exactly
    }

    /// All layers' items, one layer after the other.
    private let items: [Item]
    /// Where each layer's items begin, and their end.
    private let starts: [Int]
    /// The number of buckets, D.
    private let buckets: Int
    /// (layers + 1) × (D + 1) sums.
    private let rows: [Double]

    /// Computes all rows.
    ///
    /// - Complexity: O(L·|C|·D); (L + 1)·(D + 1) float64 at once, nothing in the loops.
    init(_ layers: [[Item]], buckets: Int, start: Start) {
        var starts = [0]
        for layer in layers { starts.append(starts[starts.count - 1] + layer.count) }
        let items = layers.flatMap { $0 }
        let width = buckets + 1
        rows = [Double](unsafeUninitializedCapacity: (layers.count + 1) * width) { rows, count in
            count = (layers.count + 1) * width
            rows.initialize(repeating: .infinity)
            guard var last = rows.baseAddress else { return }
            switch start {
            case .atMost: last.update(repeating: 0, count: width)
            case .exactly: last[0] = 0
            }
            for layer in layers.indices {
                let next = last + width
                for item in items[starts[layer]..<starts[layer + 1]] where item.value.isFinite && item.cost <= buckets {
                    Self.relax(next + item.cost, from: last, adding: item.value, count: width - item.cost)
                }
                last = next
            }
        }
        self.items = items
        self.starts = starts
        self.buckets = buckets
    }

    /// The kernel: next[i] = min(next[i], last[i] + value).
    private static func relax(
        _ next: UnsafeMutablePointer<Double>, from last: UnsafeMutablePointer<Double>, adding value: Double, count: Int
    ) {
        for index in 0..<count {
            let sum = last[index] + value
            next[index] = sum < next[index] ? sum : next[index]
        }
    }

    /// The smallest of `bucketRange` with the least value, or nil where all are infinite.
    func bestBucket(in bucketRange: ClosedRange<Int>) -> Int? {
        let start = rows.count - buckets - 1
        var best: Int?
        var least = Double.infinity
        for bucket in bucketRange where rows[start + bucket] < least {
            least = rows[start + bucket]
            best = bucket
        }
        return best
    }

    /// The choice that gives the value of one bucket: per layer the place of its item, the first of equals.
    ///
    /// - Precondition: the bucket's value is finite.
    func choice(at bucket: Int) -> [Int] {
        let width = buckets + 1
        var choice = [Int](repeating: 0, count: starts.count - 1)
        var bucket = bucket
        for layer in choice.indices.reversed() {
            let target = rows[(layer + 1) * width + bucket]
            let found = (starts[layer]..<starts[layer + 1]).first { index in
                let item = items[index]
                return item.value.isFinite && item.cost <= bucket
                    && rows[layer * width + bucket - item.cost] + item.value == target
            }
            guard let found else { preconditionFailure("a finite sum comes from one of the layer's items") }
            choice[layer] = found - starts[layer]
            bucket -= items[found].cost
        }
        return choice
    }
}
