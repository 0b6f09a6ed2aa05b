/// The dot products of some vectors with each other, in float64: all that methods on spheres need to know of them.
struct GramMatrix {
    /// The number of vectors.
    let count: Int
    private var products: [Double]

    init(count: Int) {
        self.count = count
        products = [Double](repeating: 0, count: count * count)
    }

    /// <x_left, x_right>
    subscript(_ left: Int, _ right: Int) -> Double {
        get { products[left * count + right] }
        set {
            products[left * count + right] = newValue
            products[right * count + left] = newValue
        }
    }

    /// The norm of a vector.
    func norm(_ vector: Int) -> Double { self[vector, vector].squareRoot() }

    /// The dot product of two sums of the vectors.
    func product(_ left: [Double], _ right: [Double]) -> Double {
        var sum = 0.0
        for row in 0..<count {
            for column in 0..<count { sum += left[row] * right[column] * self[row, column] }
        }
        return sum
    }

    /// The norm of a sum of the vectors; what rounding makes negative counts as 0.
    func norm(of coefficients: [Double]) -> Double { max(0, product(coefficients, coefficients)).squareRoot() }

    static func += (sum: inout GramMatrix, added: GramMatrix) {
        for index in sum.products.indices { sum.products[index] += added.products[index] }
    }
}

extension TensorPass {
    /// The dot products of inputs, or of their differences from the base.
    func gramMatrix(_ inputs: [Int], base: Int?) throws(MergeError) -> GramMatrix {
        try reduce(reading: inputs + (base.map { [$0] } ?? []), into: GramMatrix(count: inputs.count)) { piece in
            GramMatrix(inputs, base: base, of: piece, 0..<piece.count)
        } fold: {
            $0 += $1
        }
    }
}

extension GramMatrix {
    /// The dot products of some values of a piece.
    init(_ inputs: [Int], base: Int?, of piece: TensorPass.Piece, _ range: Range<Int>) {
        self.init(count: inputs.count)
        for left in inputs.indices {
            for right in 0...left {
                let (one, two) = (piece[inputs[left]], piece[inputs[right]])
                // Four sums, because one would wait for itself at every addition.
                var sums = (0.0, 0.0, 0.0, 0.0)
                var index = range.lowerBound
                if let base = base.map({ piece[$0] }) {
                    func term(_ index: Int) -> Double {
                        (Double(one[index]) - Double(base[index])) * (Double(two[index]) - Double(base[index]))
                    }
                    while index + 4 <= range.upperBound {
                        sums.0 += term(index)
                        sums.1 += term(index + 1)
                        sums.2 += term(index + 2)
                        sums.3 += term(index + 3)
                        index += 4
                    }
                    while index < range.upperBound {
                        sums.0 += term(index)
                        index += 1
                    }
                } else {
                    func term(_ index: Int) -> Double { Double(one[index]) * Double(two[index]) }
                    while index + 4 <= range.upperBound {
                        sums.0 += term(index)
                        sums.1 += term(index + 1)
                        sums.2 += term(index + 2)
                        sums.3 += term(index + 3)
                        index += 4
                    }
                    while index < range.upperBound {
                        sums.0 += term(index)
                        index += 1
                    }
                }
                self[left, right] = (sums.0 + sums.1) + (sums.2 + sums.3)
            }
        }
    }
}
