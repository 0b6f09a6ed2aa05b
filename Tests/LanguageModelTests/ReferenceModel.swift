import Glibc
import LanguageModel

/// The obvious float64 Llama decoder, one token and one loop at a time: what the fast one must agree with.
struct ReferenceModel {
    let layout: ParameterLayout

    /// Logits [tokens, vocabulary] of one sequence.
    func logits(_ parameters: [Double], _ tokens: ArraySlice<Int32>) -> [[Double]] {
        let shape = layout.configuration
        var stream = tokens.map { row("model.embed_tokens.weight", Int($0), parameters) }
        for block in 0..<shape.layerCount {
            let prefix = "model.layers.\(block)."
            let normed = stream.map { norm($0, prefix + "input_layernorm.weight", parameters) }
            let attended = attention(normed, prefix + "self_attn.", parameters)
            stream = zip(stream, attended).map { zip($0, $1).map(+) }
            stream = stream.map { values in
                let input = norm(values, prefix + "post_attention_layernorm.weight", parameters)
                let gate = apply(prefix + "mlp.gate_proj.weight", input, parameters)
                let up = apply(prefix + "mlp.up_proj.weight", input, parameters)
                let hidden = zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
                return zip(values, apply(prefix + "mlp.down_proj.weight", hidden, parameters)).map(+)
            }
        }
        let head = shape.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"
        return stream.map { apply(head, norm($0, "model.norm.weight", parameters), parameters) }
    }

    /// The mean loss of windows of `length` + 1 tokens.
    func loss(_ parameters: [Double], _ windows: [Int32], length: Int) -> Double {
        var total = 0.0
        for start in stride(from: 0, to: windows.count, by: length + 1) {
            for (position, row) in logits(parameters, windows[start..<start + length]).enumerated() {
                let largest = row.max() ?? 0
                let sum = row.reduce(0) { $0 + exp($1 - largest) }
                total += log(sum) + largest - row[Int(windows[start + position + 1])]
            }
        }
        return total / Double(windows.count / (length + 1) * length)
    }

    private func attention(_ inputs: [[Double]], _ prefix: String, _ parameters: [Double]) -> [[Double]] {
        let shape = layout.configuration
        let width = shape.headWidth
        let queries = inputs.enumerated().map { rotated(apply(prefix + "q_proj.weight", $1, parameters), $0) }
        let keys = inputs.enumerated().map { rotated(apply(prefix + "k_proj.weight", $1, parameters), $0) }
        let values = inputs.map { apply(prefix + "v_proj.weight", $0, parameters) }
        return inputs.indices.map { token in
            var out = [Double](repeating: 0, count: shape.queryWidth)
            for head in 0..<shape.headCount {
                let group = head / (shape.headCount / shape.keyValueHeadCount)
                let weights = (0...token).map { past in
                    exp(
                        (0..<width).reduce(0) {
                            $0 + queries[token][head * width + $1] * keys[past][group * width + $1]
                        } / Double(width).squareRoot())
                }
                let sum = weights.reduce(0, +)
                for past in 0...token {
                    for index in 0..<width {
                        out[head * width + index] += weights[past] / sum * values[past][group * width + index]
                    }
                }
            }
            return apply(prefix + "o_proj.weight", out, parameters)
        }
    }

    /// Half rotation of each head of a row at a position.
    private func rotated(_ row: [Double], _ position: Int) -> [Double] {
        let width = layout.configuration.headWidth
        return row.indices.map { index in
            let inHead = index % width
            let angle =
                Double(position)
                * pow(layout.configuration.ropeTheta, -2 * Double(inHead % (width / 2)) / Double(width))
            return inHead < width / 2
                ? row[index] * cos(angle) - row[index + width / 2] * sin(angle)
                : row[index] * cos(angle) + row[index - width / 2] * sin(angle)
        }
    }

    private func norm(_ values: [Double], _ name: String, _ parameters: [Double]) -> [Double] {
        let meanSquare = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
        let scale = 1 / (meanSquare + Double(layout.configuration.rmsNormEpsilon)).squareRoot()
        guard let tensor = layout.tensor(named: name) else { return [] }
        return values.indices.map { values[$0] * scale * parameters[tensor.offset + $0] }
    }

    private func row(_ name: String, _ index: Int, _ parameters: [Double]) -> [Double] {
        guard let tensor = layout.tensor(named: name) else { return [] }
        let start = tensor.offset + index * tensor.shape[1]
        return Array(parameters[start..<start + tensor.shape[1]])
    }

    private func apply(_ name: String, _ input: [Double], _ parameters: [Double]) -> [Double] {
        guard let tensor = layout.tensor(named: name) else { return [] }
        return parameters.withUnsafeBufferPointer { parameters in
            (0..<tensor.shape[0]).map { row in
                var sum = 0.0
                let start = tensor.offset + row * input.count
                for index in input.indices { sum += parameters[start + index] * input[index] }
                return sum
            }
        }
    }
}
