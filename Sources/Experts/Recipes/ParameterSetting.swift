import JSONText

/// What a recipe says of one parameter in one scope: conditions in order, the first that holds for a tensor counts.
package struct ParameterSetting: Hashable, Sendable {
    /// A value for the tensors whose names hold some text.
    struct Condition: Hashable, Sendable {
        /// Text that the tensor's name must hold; nil for every tensor.
        var filter: String?
        var value: Gradient
    }

    /// A number, or several along the layers of a slice.
    struct Gradient: Hashable, Sendable {
        /// At least one.
        var points: [Double]

        /// The linear interpolation at `t` from 0, the first layer, to 1, the last one.
        func value(at t: Double) -> Double {
            let place = t * Double(points.count - 1)
            let lower = min(points.count - 1, max(0, Int(place)))
            let share = place - Double(lower)
            return (1 - share) * points[lower] + share * points[min(points.count - 1, lower + 1)]
        }
    }

    var conditions: [Condition]
    /// Where it stands.
    let place: RecipePlace

    /// The value for a tensor at `t` of its slice; nil if no condition holds.
    func value(for tensor: String, at t: Double) -> Double? {
        for condition in conditions {
            if let filter = condition.filter, !holds(tensor, filter) { continue }
            return condition.value.value(at: t)
        }
        return nil
    }

    private func holds(_ name: String, _ part: String) -> Bool {
        let (name, part) = (Array(name.utf8), Array(part.utf8))
        guard part.count <= name.count else { return false }
        return (0...(name.count - part.count)).contains { name[$0..<($0 + part.count)] == part[...] }
    }
}

extension ParameterSetting {
    /// Reads a number, a list of numbers, one condition, or a list of conditions and numbers.
    init(_ node: RecipeNode, within range: ClosedRange<Double>) throws(RecipeProblem) {
        try self.init(node)
        for value in conditions.flatMap(\.value.points) where !range.contains(value) {
            throw RecipeProblem(
                place, "\(value) is out of range", cure: "Give \(range.lowerBound) to \(range.upperBound)")
        }
    }

    private init(_ node: RecipeNode) throws(RecipeProblem) {
        place = node.place
        if node.value.object != nil {
            conditions = [try Self.condition(node)]
            return
        }
        guard let elements = node.value.array else {
            conditions = [Condition(filter: nil, value: Gradient(points: [try node.number()]))]
            return
        }
        guard !elements.isEmpty else {
            throw RecipeProblem(place, "the list is empty", cure: "Write a number, or several along the layers")
        }
        if elements.allSatisfy({ RecipeNode.number($0) != nil }) {
            conditions = [Condition(filter: nil, value: try Self.gradient(node))]
            return
        }
        conditions = []
        for element in try node.elements() {
            if element.value.object != nil {
                conditions.append(try Self.condition(element))
            } else {
                conditions.append(Condition(filter: nil, value: try Self.gradient(element)))
            }
        }
    }

    private static func condition(_ node: RecipeNode) throws(RecipeProblem) -> Condition {
        var mapping = try node.mapping()
        let filter = try mapping.take("filter").map { (node) throws(RecipeProblem) in try node.text() }
        let value = try gradient(try mapping.require("value"))
        try mapping.finish()
        return Condition(filter: filter == "*" ? nil : filter, value: value)
    }

    private static func gradient(_ node: RecipeNode) throws(RecipeProblem) -> Gradient {
        guard node.value.array != nil else { return Gradient(points: [try node.number()]) }
        var points: [Double] = []
        for element in try node.elements() { points.append(try element.number()) }
        guard !points.isEmpty else {
            throw RecipeProblem(node.place, "the list is empty", cure: "Write a number, or several along the layers")
        }
        return Gradient(points: points)
    }
}
