import JSONText

/// A value of a recipe and where it stands.
struct RecipeNode {
    let value: JSONValue
    let place: RecipePlace

    private func problem(_ expectation: String) -> RecipeProblem {
        RecipeProblem(place, "it is \(value.kind), not \(expectation)", cure: "Write \(expectation)")
    }

    func text() throws(RecipeProblem) -> String {
        guard let text = value.string else { throw problem("a text") }
        return text.string
    }

    /// One of several words.
    func word(of words: [String], _ what: String) throws(RecipeProblem) -> String {
        let word = try text()
        guard words.contains(word) else {
            throw RecipeProblem(
                place, "\"\(word)\" is no \(what)\(suggestion(for: word, among: words))",
                cure: "Choose one of \(words.joined(separator: ", "))")
        }
        return word
    }

    func integer(in range: ClosedRange<Int>) throws(RecipeProblem) -> Int {
        let expectation = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        guard let number = value.integer else { throw problem(expectation) }
        guard range.contains(number) else {
            throw RecipeProblem(place, "\(number) is out of range", cure: "Write \(expectation)")
        }
        return number
    }

    func flag() throws(RecipeProblem) -> Bool {
        guard let flag = value.bool else { throw problem("true or false") }
        return flag
    }

    /// A number; a Boolean is 1 or 0, and text that spells a number is that number, because YAML 1.1 reads `1e-5` as text.
    func number() throws(RecipeProblem) -> Double {
        guard let number = Self.number(value), number.isFinite else { throw problem("a number") }
        return number
    }

    static func number(_ value: JSONValue) -> Double? {
        switch value {
        case .bool(let flag): flag ? 1 : 0
        case .string(let text): Double(text.string)
        default: value.double
        }
    }

    func elements() throws(RecipeProblem) -> [RecipeNode] {
        guard let array = value.array else { throw problem("a list") }
        return array.enumerated().map { RecipeNode(value: $1, place: place.element($0)) }
    }

    func mapping() throws(RecipeProblem) -> RecipeMapping {
        guard let object = value.object else { throw problem("keys and values") }
        return RecipeMapping(object, place: place)
    }
}

/// One mapping of a recipe, read key by key; keys that nobody asked for are errors, so that a misspelt one is found.
struct RecipeMapping {
    let place: RecipePlace
    private let object: JSONObject
    private var known: [String] = []

    init(_ object: JSONObject, place: RecipePlace) {
        self.object = object
        self.place = place
    }

    /// The value of a key; nil if it is absent or null.
    mutating func take(_ key: String) -> RecipeNode? {
        known.append(key)
        guard let value = object[JSONString(key)], !value.isNull else { return nil }
        return RecipeNode(value: value, place: place.member(key))
    }

    /// The value of a key that must be there.
    mutating func require(_ key: String) throws(RecipeProblem) -> RecipeNode {
        guard let node = take(key) else {
            throw RecipeProblem(place, "'\(key)' is missing", cure: "Add it; docs/merging.md shows a recipe")
        }
        return node
    }

    /// All members, for a mapping whose keys are free.
    mutating func takeAll() -> [(key: String, node: RecipeNode)] {
        let members = object.members.map { member in
            (member.key.string, RecipeNode(value: member.value, place: place.member(member.key.string)))
        }
        known += members.map(\.0)
        return members
    }

    /// Whether a key is there, without reading it.
    func has(_ key: String) -> Bool { object[JSONString(key)].map { !$0.isNull } ?? false }

    /// Throws if a key was given that nobody asked for.
    func finish() throws(RecipeProblem) {
        for member in object.members where !known.contains(member.key.string) {
            let key = member.key.string
            throw RecipeProblem(
                place, "unknown key '\(key)'\(suggestion(for: key, among: known))",
                cure: "Known here are \(known.joined(separator: ", "))")
        }
    }
}

/// " (did you mean 'weight'?)" where a word is near to a known one; empty otherwise.
func suggestion(for word: String, among words: [String]) -> String {
    let nearest = words.map { (word: $0, distance: editDistance(word, $0)) }.min { $0.distance < $1.distance }
    guard let nearest, nearest.distance <= max(1, word.utf8.count / 3) else { return "" }
    return " (did you mean '\(nearest.word)'?)"
}

/// Single-character insertions, deletions and replacements from one word to another.
private func editDistance(_ left: String, _ right: String) -> Int {
    // A word from a file may be as long as the file.
    let (left, right) = (Array(left.utf8.prefix(64)), Array(right.utf8.prefix(64)))
    var row = Array(0...right.count)
    for (index, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for (column, other) in right.enumerated() {
            let next = min(row[column + 1] + 1, row[column] + 1, diagonal + (byte == other ? 0 : 1))
            diagonal = row[column + 1]
            row[column + 1] = next
        }
    }
    return row[right.count]
}
