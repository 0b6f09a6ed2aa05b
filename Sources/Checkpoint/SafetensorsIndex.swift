package import JSONText

/// `model.safetensors.index.json`: which file of a checkpoint in several holds each tensor.
package struct SafetensorsIndex: Hashable, Sendable {
    /// File names in byte order, each once.
    package let files: [JSONString]
    /// The file of each tensor, as a position in `files`.
    package let places: [JSONString: Int]

    /// Longest text: some 10,000 tensors make about 1 MB.
    static let byteCountMax = 16 << 20

    /// Why an index is refused.
    package struct Malformed: Error, Hashable, Sendable {
        /// The broken rule, in words.
        package let reason: String
    }

    /// Reads the JSON text of an index. Only plain names of safetensors files are taken: a path could lead anywhere.
    package init(parsing text: [UInt8]) throws(Malformed) {
        let root: JSONValue
        do {
            root = try JSONValue(
                parsing: text, limits: JSONLimits(byteCountMax: Self.byteCountMax, depthMax: 8, valueCountMax: 1 << 18))
        } catch { throw Malformed(reason: "it is \(error)") }
        guard let map = root.object?["weight_map"]?.object else {
            throw Malformed(reason: "it has no weight_map of tensors to files")
        }
        var names: [JSONString: JSONString] = [:]
        for member in map.members {
            guard let file = member.value.string else {
                throw Malformed(reason: "the file of \(member.key) is \(member.value.kind)")
            }
            guard Self.isPlain(file) else {
                throw Malformed(reason: "\(member.key) is in \"\(file)\", which is no plain name of a safetensors file")
            }
            names[member.key] = file
        }
        guard !names.isEmpty else { throw Malformed(reason: "its weight_map is empty") }
        let files = Set(names.values).sorted()
        let positions = Dictionary(uniqueKeysWithValues: zip(files, files.indices))
        self.files = files
        places = names.compactMapValues { positions[$0] }
    }

    private static func isPlain(_ name: JSONString) -> Bool {
        let suffix = Array(".safetensors".utf8)
        return name.bytes.count > suffix.count && name.bytes.count <= 255
            && name.bytes.suffix(suffix.count) == suffix[...]
            && !name.bytes.contains(UInt8(ascii: "/")) && !name.bytes.contains(0)
    }

    /// The text of an index.
    ///
    /// - Parameters:
    ///   - places: tensors and their files.
    ///   - byteCount: bytes of all tensors together.
    static func encode(_ places: [(tensor: String, file: String)], byteCount: Int) -> [UInt8] {
        var map = JSONObject()
        for (tensor, file) in places { map[JSONString(tensor)] = .text(file) }
        let value: JSONValue = ["metadata": ["total_size": .integer(Int64(byteCount))], "weight_map": .object(map)]
        do { return try value.encoded(.indented) } catch { preconditionFailure("an index holds no such number") }
    }
}
