package import JSONText

/// The header of a safetensors file: what tensors it holds, and where.
package struct SafetensorsHeader: Hashable, Sendable {
    /// One tensor of the file.
    package struct Tensor: Hashable, Sendable {
        /// The name, compared byte by byte.
        package let name: JSONString
        /// The element type.
        package let type: ElementType
        /// Dimensions, slowest first.
        package let shape: [Int]
        /// Number of elements.
        package let count: Int
        /// Its bytes, relative to the end of the header.
        package let range: Range<Int>
    }

    /// The tensors in the order of their data.
    package let tensors: [Tensor]
    /// The `__metadata__` pairs in file order.
    package let metadata: [(key: JSONString, value: JSONString)]
    private let positions: [JSONString: Int]

    /// Longest header, by the format's definition.
    package static let byteCountMax = 100_000_000
    /// Most JSON values in a header: over 100,000 tensors, where the largest model that is supported has some 10,000.
    private static let valueCountMax = 1 << 20

    /// The tensor of that name.
    package subscript(_ name: JSONString) -> Tensor? { positions[name].map { tensors[$0] } }

    /// Why a header is refused.
    package struct Malformed: Error, Hashable, Sendable {
        /// The broken rule, in words.
        package let reason: String
    }

    /// Reads the JSON text of a header and checks every rule of the format.
    ///
    /// The tensors' spans must start at 0, touch without gap or overlap, and end at `dataByteCount`; the size of each must
    /// follow from its type and shape; names must be unique, which the reference library does not check.
    package init(parsing text: [UInt8], dataByteCount: Int) throws(Malformed) {
        let root: JSONValue
        do {
            root = try JSONValue(
                parsing: text,
                limits: JSONLimits(byteCountMax: Self.byteCountMax, depthMax: 4, valueCountMax: Self.valueCountMax))
        } catch { throw Malformed(reason: "its header is \(error)") }
        guard let object = root.object else { throw Malformed(reason: "its header is \(root.kind), not an object") }
        var tensors: [Tensor] = []
        var metadata: [(key: JSONString, value: JSONString)] = []
        for member in object.members {
            if member.key == "__metadata__" {
                metadata = try Self.metadata(member.value)
            } else {
                tensors.append(try Self.tensor(member.key, member.value))
            }
        }
        tensors.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var end = 0
        for tensor in tensors {
            guard tensor.range.lowerBound == end else {
                throw Malformed(reason: "the data of \(tensor.name) does not follow the tensor before it")
            }
            end = tensor.range.upperBound
        }
        guard end == dataByteCount else {
            throw Malformed(reason: "its header describes \(end) bytes of data, it has \(dataByteCount)")
        }
        self.tensors = tensors
        self.metadata = metadata
        positions = Dictionary(
            tensors.enumerated().map { ($0.element.name, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }

    private static func metadata(_ value: JSONValue) throws(Malformed) -> [(key: JSONString, value: JSONString)] {
        guard let object = value.object else { throw Malformed(reason: "__metadata__ is \(value.kind)") }
        var pairs: [(key: JSONString, value: JSONString)] = []
        for member in object.members {
            guard let text = member.value.string else {
                throw Malformed(reason: "__metadata__ holds \(member.value.kind), only strings are allowed")
            }
            pairs.append((member.key, text))
        }
        return pairs
    }

    private static func tensor(_ name: JSONString, _ value: JSONValue) throws(Malformed) -> Tensor {
        func malformed(_ what: String) -> Malformed { Malformed(reason: "\(what) of \(name) is malformed") }
        guard let entry = value.object, entry.members.count == 3 else { throw malformed("the entry") }
        guard let typeName = entry["dtype"]?.string, let type = ElementType(rawValue: typeName.string) else {
            throw malformed("the dtype")
        }
        guard let dimensions = entry["shape"]?.array else { throw malformed("the shape") }
        var shape: [Int] = []
        var count = 1
        for dimension in dimensions {
            guard let size = dimension.integer, size >= 0 else { throw malformed("the shape") }
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow else { throw malformed("the shape") }
            shape.append(size)
            count = product
        }
        let (bits, overflow) = count.multipliedReportingOverflow(by: type.bits)
        guard !overflow, bits % 8 == 0 else { throw malformed("the size") }
        guard let offsets = entry["data_offsets"]?.array, offsets.count == 2, let begin = offsets[0].integer,
            let end = offsets[1].integer, begin >= 0, end >= begin
        else { throw malformed("the span") }
        guard end - begin == bits / 8 else {
            throw Malformed(reason: "\(name) has \(end - begin) bytes, its type and shape ask for \(bits / 8)")
        }
        return Tensor(name: name, type: type, shape: shape, count: count, range: begin..<end)
    }

    /// Headers are equal if they list the same tensors and metadata.
    package static func == (left: SafetensorsHeader, right: SafetensorsHeader) -> Bool {
        left.tensors == right.tensors && left.metadata.map(\.key) == right.metadata.map(\.key)
            && left.metadata.map(\.value) == right.metadata.map(\.value)
    }

    /// Hashes the tensors.
    package func hash(into hasher: inout Hasher) { hasher.combine(tensors) }
}

extension SafetensorsHeader {
    /// The first bytes of a file, length prefix included: after them the tensors' values follow in the order given.
    ///
    /// The text is padded with spaces so that the data starts at a multiple of 8, as the reference library does it.
    /// - Precondition: names are unique.
    package static func encode(
        _ tensors: [(name: String, shape: [Int])], type: FloatType, metadata: [(key: String, value: String)]
    ) -> [UInt8] {
        var object = JSONObject()
        var pairs = JSONObject()
        pairs["format"] = "pt"
        for (key, value) in metadata { pairs[JSONString(key)] = .text(value) }
        object["__metadata__"] = .object(pairs)
        var offset = 0
        for (name, shape) in tensors {
            let end = offset + type.byteCount * shape.reduce(1, *)
            object[JSONString(name)] = [
                "dtype": .text(type.elementType.rawValue), "shape": .array(shape.map { .integer(Int64($0)) }),
                "data_offsets": [.integer(Int64(offset)), .integer(Int64(end))],
            ]
            offset = end
        }
        precondition(object.members.count == tensors.count + 1, "tensor names are unique")
        var text = JSONValue.object(object).line
        text += Array(repeating: 0x20, count: (8 - text.count % 8) % 8)
        return UInt64(text.count).littleEndianBytes + text
    }
}
