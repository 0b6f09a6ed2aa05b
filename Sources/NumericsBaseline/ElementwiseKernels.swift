import CVector
import Glibc

// Elementwise and row-wise operations of training. NaN and infinity: every kernel lets a NaN in its input reach its
// output; infinities follow IEEE arithmetic. None of these feeds a head, so fused multiply-add and reordered sums are fine;
// `blend` alone keeps to plain multiply and add, since live values restart training bit by bit.

/// Floats in a vector.
private let lanes = 16

/// The first `count` (below 16) floats at `source`, zeros behind them.
@inline(__always)
func loadPart(_ source: UnsafePointer<Float>, _ count: Int) -> SIMD16<Float> {
    var value = SIMD16<Float>(repeating: 0)
    var lane = 0
    while lane < count {
        value[lane] = source[lane]
        lane += 1
    }
    return value
}

/// Stores the first `count` (below 16) lanes.
@inline(__always)
func storePart(_ destination: UnsafeMutablePointer<Float>, _ value: SIMD16<Float>, _ count: Int) {
    var lane = 0
    while lane < count {
        destination[lane] = value[lane]
        lane += 1
    }
}

/// RMSNorm: y = x * inverse * weight with inverse = 1 / sqrt(mean(x^2) + epsilon), per row.
///
/// x, y: [rows, width]; weight: [width]; inverse: [rows], kept for the gradient.
package func rmsNorm(
    _ rows: Int, _ width: Int, _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ epsilon: Float,
    _ y: UnsafeMutablePointer<Float>, _ inverse: UnsafeMutablePointer<Float>
) {
    var row = 0
    while row < rows {
        let input = x + row * width
        let output = y + row * width
        let scale = 1 / (dotProduct(width, input, input) / Float(width) + epsilon).squareRoot()
        inverse[row] = scale
        let scales = v_splat(scale)
        var index = 0
        while index + lanes <= width {
            v_store(output + index, v_load(input + index) * scales * v_load(weight + index))
            index += lanes
        }
        while index < width {
            output[index] = input[index] * scale * weight[index]
            index += 1
        }
        row += 1
    }
}

/// The gradient of `rmsNorm`, added to the residual's: dx = residual + dRMSNorm; also y again, for the weight gradient.
///
/// dy, x, residual, dx, y: [rows, width] (dx may be residual); inverse: [rows]; dWeight: [width], added to.
package func rmsNormGradient(
    _ rows: Int, _ width: Int, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>,
    _ inverse: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, _ dx: UnsafeMutablePointer<Float>,
    _ dWeight: UnsafeMutablePointer<Float>
) {
    var row = 0
    while row < rows {
        let (input, gradient) = (x + row * width, dy + row * width)
        let (carried, output) = (residual + row * width, dx + row * width)
        let scale = inverse[row]
        var sums = v_splat(0)
        var index = 0
        while index + lanes <= width {
            sums = v_muladd(v_load(gradient + index) * v_load(weight + index), v_load(input + index), sums)
            index += lanes
        }
        var sum = v_reduce_add(sums)
        while index < width {
            sum += gradient[index] * weight[index] * input[index]
            index += 1
        }
        // With g = dy * weight: dx = inverse * (g - x * inverse^2 * mean(g * x)).
        let pull = -sum * scale * scale * scale / Float(width)
        let (scales, pulls) = (v_splat(scale), v_splat(pull))
        index = 0
        while index + lanes <= width {
            let (value, upstream) = (v_load(input + index), v_load(gradient + index) * scales)
            v_store(dWeight + index, v_muladd(upstream, value, v_load(dWeight + index)))
            let own = v_muladd(pulls, value, upstream * v_load(weight + index))
            v_store(output + index, v_load(carried + index) + own)
            index += lanes
        }
        while index < width {
            dWeight[index] += gradient[index] * scale * input[index]
            output[index] = carried[index] + gradient[index] * scale * weight[index] + pull * input[index]
            index += 1
        }
        row += 1
    }
}

/// One vector of SiLU(gate) * up, with the sigmoid.
@inline(__always)
private func gated(_ gate: SIMD16<Float>, _ up: SIMD16<Float>) -> (hidden: SIMD16<Float>, sigmoid: SIMD16<Float>) {
    let sigmoid = v_splat(1) / (v_splat(1) + v_exp_bounded(-gate))
    return (gate * sigmoid * up, sigmoid)
}

/// SwiGLU: hidden = gate * sigmoid(gate) * up. gateUp: [rows, 2 * width], gate first; hidden: [rows, width].
package func swiGLU(_ rows: Int, _ width: Int, _ gateUp: UnsafePointer<Float>, _ hidden: UnsafeMutablePointer<Float>) {
    var row = 0
    while row < rows {
        let gate = gateUp + row * 2 * width
        let up = gate + width
        let output = hidden + row * width
        var index = 0
        while index + lanes <= width {
            v_store(output + index, gated(v_load(gate + index), v_load(up + index)).hidden)
            index += lanes
        }
        if index < width {
            let rest = width - index
            storePart(output + index, gated(loadPart(gate + index, rest), loadPart(up + index, rest)).hidden, rest)
        }
        row += 1
    }
}

/// The gradients of gate and up for one vector.
@inline(__always)
private func gatedGradient(
    _ gate: SIMD16<Float>, _ up: SIMD16<Float>, _ gradient: SIMD16<Float>
) -> (gate: SIMD16<Float>, up: SIMD16<Float>, hidden: SIMD16<Float>) {
    let (hidden, sigmoid) = gated(gate, up)
    let silu = gate * sigmoid
    // silu' = sigmoid + silu * (1 - sigmoid).
    let slope = v_muladd(silu, v_splat(1) - sigmoid, sigmoid)
    return (gradient * up * slope, gradient * silu, hidden)
}

/// The gradient of `swiGLU`; `hidden` takes the gradient in and gives the forward value back, for the weight gradient.
package func swiGLUGradient(
    _ rows: Int, _ width: Int, _ gateUp: UnsafePointer<Float>, _ hidden: UnsafeMutablePointer<Float>,
    _ dGateUp: UnsafeMutablePointer<Float>
) {
    var row = 0
    while row < rows {
        let gate = gateUp + row * 2 * width
        let dGate = dGateUp + row * 2 * width
        let inOut = hidden + row * width
        var index = 0
        while index + lanes <= width {
            let result = gatedGradient(v_load(gate + index), v_load(gate + width + index), v_load(inOut + index))
            v_store(dGate + index, result.gate)
            v_store(dGate + width + index, result.up)
            v_store(inOut + index, result.hidden)
            index += lanes
        }
        if index < width {
            let rest = width - index
            let result = gatedGradient(
                loadPart(gate + index, rest), loadPart(gate + width + index, rest), loadPart(inOut + index, rest))
            storePart(dGate + index, result.gate, rest)
            storePart(dGate + width + index, result.up, rest)
            storePart(inOut + index, result.hidden, rest)
        }
        row += 1
    }
}

/// y += x.
package func addInto(_ count: Int, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
    var index = 0
    while index + lanes <= count {
        v_store(y + index, v_load(y + index) + v_load(x + index))
        index += lanes
    }
    while index < count {
        y[index] += x[index]
        index += 1
    }
}

/// x *= factor.
package func scale(_ count: Int, _ factor: Float, _ x: UnsafeMutablePointer<Float>) {
    let factors = v_splat(factor)
    var index = 0
    while index + lanes <= count {
        v_store(x + index, v_load(x + index) * factors)
        index += lanes
    }
    while index < count {
        x[index] *= factor
        index += 1
    }
}

/// live = alpha * live + (1 - alpha) * target, in plain arithmetic: equal bits on every machine.
package func blend(
    _ count: Int, _ alpha: Float, _ target: UnsafePointer<Float>, _ live: UnsafeMutablePointer<Float>
) {
    let other = 1 - alpha
    var index = 0
    while index < count {
        live[index] = alpha * live[index] + other * target[index]
        index += 1
    }
}

/// The sum of squares, in float64.
package func sumOfSquares(_ count: Int, _ x: UnsafePointer<Float>) -> Double {
    var total = 0.0
    var start = 0
    while start < count {
        // 4096 squares lose nothing that matters in float32 lanes; the blocks add up in float64.
        let length = min(4096, count - start)
        total += Double(dotProduct(length, x + start, x + start))
        start += length
    }
    return total
}

/// Softmax cross-entropy in place: logits [rows, columns] become (softmax - one-hot) * factor.
///
/// Returns the sum over rows of -log softmax[target], in float64. Targets must be in range.
package func crossEntropy(
    _ rows: Int, _ columns: Int, _ logits: UnsafeMutablePointer<Float>, _ targets: UnsafePointer<Int32>, _ factor: Float
) -> Double {
    var loss = 0.0
    var row = 0
    while row < rows {
        let values = logits + row * columns
        let target = Int(targets[row])
        let targetLogit = values[target]
        let (largest, sum) = exponentials(columns, values)
        loss += log(Double(sum)) + Double(largest) - Double(targetLogit)
        scale(columns, factor / sum, values)
        values[target] -= factor
        row += 1
    }
    return loss
}

/// Replaces each value by exp(value - largest) and returns the largest value and the sum.
package func exponentials(_ count: Int, _ values: UnsafeMutablePointer<Float>) -> (largest: Float, sum: Float) {
    let lowest = v_splat(-.infinity)
    var largests = lowest
    var index = 0
    while index + lanes <= count {
        largests = v_max(v_load(values + index), largests)
        index += lanes
    }
    var largest = v_reduce_max(largests)
    while index < count {
        if values[index] > largest { largest = values[index] }
        index += 1
    }
    let offset = v_splat(largest)
    var sums = v_splat(0)
    index = 0
    while index + lanes <= count {
        let value = v_exp(v_load(values + index) - offset)
        sums += value
        v_store(values + index, value)
        index += lanes
    }
    var sum = v_reduce_add(sums)
    if index < count {
        let rest = count - index
        let value = v_exp(loadPart(values + index, rest) - offset)
        storePart(values + index, value, rest)
        while index < count {
            sum += values[index]
            index += 1
        }
    }
    return (largest, sum)
}

/// AdamW with decoupled weight decay on `count` parameters.
///
/// `gradientScale` multiplies the gradient first (clipping and averaging); `stepSize` = rate / (1 - beta1^t);
/// `inverseCorrection` = 1 / sqrt(1 - beta2^t); `keep` = 1 - rate * decay.
/// - SeeAlso: Loshchilov and Hutter, "Decoupled weight decay regularization" (arXiv:1711.05101), algorithm 2.
package func adamW(
    _ count: Int, _ parameters: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>,
    _ first: UnsafeMutablePointer<Float>, _ second: UnsafeMutablePointer<Float>, _ gradientScale: Float, _ beta1: Float,
    _ beta2: Float, _ epsilon: Float, _ stepSize: Float, _ inverseCorrection: Float, _ keep: Float
) {
    let (rest1, rest2) = (v_splat(1 - beta1), v_splat(1 - beta2))
    var index = 0
    while index < count {
        let part = count - index
        let whole = part >= lanes
        let g = (whole ? v_load(gradient + index) : loadPart(gradient + index, part)) * v_splat(gradientScale)
        let oldFirst = whole ? v_load(first + index) : loadPart(first + index, part)
        let oldSecond = whole ? v_load(second + index) : loadPart(second + index, part)
        let old = whole ? v_load(parameters + index) : loadPart(parameters + index, part)
        let m = v_muladd(oldFirst, v_splat(beta1), g * rest1)
        let v = v_muladd(oldSecond, v_splat(beta2), g * g * rest2)
        let divisor = v_muladd(v_sqrt(v), v_splat(inverseCorrection), v_splat(epsilon))
        let value = v_muladd(old, v_splat(keep), -(v_splat(stepSize) * m / divisor))
        if whole {
            v_store(first + index, m)
            v_store(second + index, v)
            v_store(parameters + index, value)
        } else {
            storePart(first + index, m, part)
            storePart(second + index, v, part)
            storePart(parameters + index, value, part)
        }
        index += lanes
    }
}
