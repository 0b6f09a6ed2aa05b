/// What a branch is to start from, as a person writes it: `main`, or `law:0.7,code:0.3`.
struct SourceList {
    /// A branch or an expert and its weight.
    struct Entry: Hashable {
        var name: String
        var weight: Double
    }

    /// Reads names with weights; a single name needs none.
    static func parse(_ text: String) throws(UserError) -> [Entry] {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        var entries: [Entry] = []
        for part in parts {
            let fields = part.split(separator: ":", omittingEmptySubsequences: false)
            guard let name = fields.first, !name.isEmpty, fields.count == (parts.count == 1 ? fields.count : 2),
                fields.count <= 2
            else { throw problem(text, "names and weights are written NAME:WEIGHT, with commas between them") }
            let weight = fields.count == 2 ? Double(fields[1]) : 1
            guard let weight, weight.isFinite, weight > 0 else {
                throw problem(text, "\(name) has no weight above 0")
            }
            guard !entries.contains(where: { $0.name == name }) else { throw problem(text, "\(name) is named twice") }
            entries.append(Entry(name: String(name), weight: weight))
        }
        return entries
    }

    private static func problem(_ text: String, _ reason: String) -> UserError {
        UserError(
            "--from \(text): \(reason)", cure: "Write for example --from main or --from 'law:0.7,code:0.3'",
            exitCode: .usage)
    }
}
