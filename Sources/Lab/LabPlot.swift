import Glibc

/// Curves of a grid as an SVG: the mean of each configuration's seeds, with their spread as a band.
package struct LabPlot {
    /// What the horizontal axis shows.
    package enum Axis: Sendable {
        /// Tokens of all workers, linear.
        case tokens
        /// Bytes that a worker uploaded, logarithmic; configurations that send nothing are left out.
        case bytes
        /// Tokens before experts branch off, linear.
        case sharedTokens

        fileprivate var label: String {
            switch self {
            case .tokens: "million tokens of all workers"
            case .bytes: "MB uploaded by a worker"
            case .sharedTokens: "million tokens before experts branch off"
            }
        }
    }

    private static let width = 860.0
    private static let height = 480.0
    private static let left = 64.0
    private static let right = 250.0
    private static let top = 24.0
    private static let bottom = 48.0
    private static let colours = [
        "#1b6ca8", "#d1495b", "#2e933c", "#8f5db7", "#e09f3e", "#3a3a3a", "#17a2a2", "#a05a2c", "#c2569f", "#6b8e23",
    ]

    private let axis: Axis
    private let curves: [Curve]

    /// One configuration.
    private struct Curve {
        var name: String
        var points: [(x: Double, mean: Double, low: Double, high: Double)]
    }

    /// Prepares the curves of a table.
    package init(_ table: LabTable, axis: Axis) {
        self.axis = axis
        curves = table.rows.compactMap { row in
            let count = row.results.map(\.points.count).min() ?? 0
            var points: [(x: Double, mean: Double, low: Double, high: Double)] = []
            for index in 0..<count {
                let column = row.results.map { $0.points[index] }
                let losses = column.map(\.loss)
                let x: Double =
                    switch axis {
                    case .tokens, .sharedTokens: Double(column[0].tokens)
                    case .bytes: column.reduce(0) { $0 + $1.bytesPerWorker } / Double(column.count)
                    }
                guard let low = losses.min(), let high = losses.max(), axis != .bytes || x > 0 else { continue }
                points.append((x, losses.reduce(0, +) / Double(losses.count), low, high))
            }
            return points.isEmpty ? nil : Curve(name: row.name, points: points)
        }
    }

    /// The picture.
    package var svg: String {
        let all = curves.flatMap(\.points)
        guard let xLow = all.map(\.x).min(), let xHigh = all.map(\.x).max(), let yLow = all.map(\.low).min(),
            let yTop = all.map(\.high).max()
        else { return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"/>\n" }
        // The first losses would squeeze what matters: the axis ends at the median of the curves' starts.
        let starts = curves.map { $0.points[0].mean }.sorted()
        // Averages of experts without a common seed would squeeze even more.
        let limit = axis == .sharedTokens ? 1.5 * yLow : starts[starts.count / 2]
        let yHigh = max(min(yTop, limit), yLow + 1e-3)
        let horizontal = Scale(
            low: xLow, high: xHigh, isLogarithmic: axis == .bytes, from: Self.left, to: Self.width - Self.right)
        let vertical = Scale(
            low: yLow, high: yHigh, isLogarithmic: false, from: Self.height - Self.bottom, to: Self.top)
        var parts = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(Self.width))\" height=\"\(Int(Self.height))\" "
                + "font-family=\"sans-serif\" font-size=\"12\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            "<clipPath id=\"area\"><rect x=\"\(Self.left)\" y=\"\(Self.top)\" width=\"\(Self.width - Self.right - Self.left)\" "
                + "height=\"\(Self.height - Self.bottom - Self.top)\"/></clipPath>",
        ]
        parts += axes(horizontal, vertical)
        for (index, curve) in curves.enumerated() {
            let colour = Self.colours[index % Self.colours.count]
            let dash = index >= Self.colours.count ? " stroke-dasharray=\"5 3\"" : ""
            func path(_ values: [(Double, Double)]) -> String {
                values.map { "\(decimal(horizontal($0.0), 1)),\(decimal(vertical($0.1), 1))" }.joined(separator: " ")
            }
            let band = curve.points.map { ($0.x, $0.low) } + curve.points.reversed().map { ($0.x, $0.high) }
            parts.append(
                "<polygon points=\"\(path(band))\" fill=\"\(colour)\" opacity=\"0.15\" clip-path=\"url(#area)\"/>")
            parts.append(
                "<polyline points=\"\(path(curve.points.map { ($0.x, $0.mean) }))\" fill=\"none\" stroke=\"\(colour)\" "
                    + "stroke-width=\"1.8\"\(dash) clip-path=\"url(#area)\"/>")
            let y = Self.top + 8 + 18 * Double(index)
            let x = Self.width - Self.right + 16
            parts.append(
                "<line x1=\"\(x)\" y1=\"\(y)\" x2=\"\(x + 22)\" y2=\"\(y)\" stroke=\"\(colour)\" stroke-width=\"2.5\"\(dash)/>"
                    + "<text x=\"\(x + 28)\" y=\"\(y + 4)\">\(escaped(curve.name))</text>")
        }
        parts.append("</svg>")
        return parts.joined(separator: "\n") + "\n"
    }

    private func axes(_ horizontal: Scale, _ vertical: Scale) -> [String] {
        let (base, edge) = (Self.height - Self.bottom, Self.width - Self.right)
        var parts = [
            "<path d=\"M\(Self.left) \(Self.top)V\(base)H\(edge)\" fill=\"none\" stroke=\"#444\"/>",
            "<text x=\"\((Self.left + edge) / 2)\" y=\"\(Self.height - 10)\" text-anchor=\"middle\">"
                + "\(axis.label)</text>",
            "<text transform=\"translate(16 \((Self.top + base) / 2)) rotate(-90)\" text-anchor=\"middle\">"
                + "held-out loss, nats per token</text>",
        ]
        for value in horizontal.marks {
            let x = decimal(horizontal(value), 1)
            parts.append(
                "<line x1=\"\(x)\" y1=\"\(Self.top)\" x2=\"\(x)\" y2=\"\(base)\" stroke=\"#ddd\"/>"
                    + "<text x=\"\(x)\" y=\"\(base + 16)\" text-anchor=\"middle\">\(mark(value / 1e6))</text>")
        }
        for value in vertical.marks {
            let y = decimal(vertical(value), 1)
            parts.append(
                "<line x1=\"\(Self.left)\" y1=\"\(y)\" x2=\"\(edge)\" y2=\"\(y)\" stroke=\"#ddd\"/>"
                    + "<text x=\"\(Self.left - 6)\" y=\"\(vertical(value) + 4)\" text-anchor=\"end\">\(mark(value))</text>"
            )
        }
        return parts
    }

    private func mark(_ value: Double) -> String {
        let decimals = value == 0 ? 0 : max(0, min(6, 2 - Int(log10(value.magnitude).rounded(.down))))
        let text = decimal(value, decimals)
        guard text.contains(".") else { return text }
        return String(text.reversed().drop { $0 == "0" }.drop { $0 == "." }.reversed())
    }

    private func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default: result.append(character)
            }
        }
        return result
    }
}

/// Values to places on an axis.
private struct Scale {
    let low: Double
    let high: Double
    let isLogarithmic: Bool
    let from: Double
    let to: Double

    func callAsFunction(_ value: Double) -> Double {
        let share =
            isLogarithmic
            ? log(value / low) / max(log(high / low), 1e-12) : (value - low) / max(high - low, 1e-12)
        return from + (to - from) * share
    }

    /// Round values for grid lines.
    var marks: [Double] {
        if isLogarithmic {
            let exponents = Int(log10(low).rounded(.down))...Int(log10(high).rounded(.up))
            return exponents.flatMap { exponent in [1.0, 2, 5].map { $0 * pow(10, Double(exponent)) } }
                .filter { $0 >= low && $0 <= high }
        }
        let rough = max(high - low, 1e-12) / 6
        let unit = pow(10, log10(rough).rounded(.down))
        let step = [1.0, 2, 5, 10].map { $0 * unit }.first { $0 >= rough } ?? 10 * unit
        var marks: [Double] = []
        var value = (low / step).rounded(.up) * step
        while value <= high {
            marks.append(value)
            value += step
        }
        return marks
    }
}
