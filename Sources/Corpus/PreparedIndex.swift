import JSONText
import Tokenizing

/// What a prepared folder holds: the content of its index file.
///
/// The tokens of a domain are those of the held-out documents, then those of the others, each part in the order of its
/// documents and cut into shards of stored ids. A list of documents holds a `DocumentRecord` for each.
struct PreparedIndex: Hashable, Sendable {
    /// A file beside the index.
    struct File: Hashable, Sendable {
        var name: String
        /// BLAKE2b-256 of its bytes.
        var checksum: [UInt8]
    }

    /// A file of ids.
    struct Shard: Hashable, Sendable {
        var file: File
        var tokenCount: Int
    }

    /// The held-out documents of a domain, or the others.
    struct Part: Hashable, Sendable {
        var shards: [Shard] = []
        var tokenCount = 0
        var documentCount = 0
        /// The list of documents; nil if there are none.
        var documents: File?

        var files: [File] { shards.map(\.file) + (documents.map { [$0] } ?? []) }
    }

    /// A domain.
    struct Domain: Hashable, Sendable {
        var name: String
        /// Bytes of text.
        var byteCount: Int
        var heldOut: Part
        var training: Part

        var tokenCount: Int { heldOut.tokenCount + training.tokenCount }
    }

    /// The name of the index file, by which a prepared folder is known.
    static let fileName = "atoll-tokens.json"

    /// BLAKE2b-256 of the canonical `tokenizer.json`.
    let tokenizerHash: [UInt8]
    let vocabularySize: Int
    var domains: [Domain] = []

    var width: TokenWidth { TokenWidth(vocabularySize: vocabularySize) }

    init(tokenizer: Tokenizer) {
        tokenizerHash = Self.hash(of: tokenizer)
        vocabularySize = tokenizer.vocabularySize
    }

    static func hash(of tokenizer: Tokenizer) -> [UInt8] { ContentHash(of: tokenizer.tokenizerJSON).bytes }

    // MARK: JSON

    private static let format: JSONValue = "atoll-tokens"
    private static let version = 1

    /// The bytes of the index file; the last member is a checksum of the others.
    var encoded: [UInt8] {
        var object = content
        object["checksum"] = .text(hexadecimal(Self.checksum(of: object)))
        return Self.bytes(of: object)
    }

    private var content: JSONObject {
        var object = JSONObject()
        object["format"] = Self.format
        object["version"] = .integer(Int64(Self.version))
        object["tokenizer"] = .text(hexadecimal(tokenizerHash))
        object["vocabulary_size"] = .integer(Int64(vocabularySize))
        object["token_bytes"] = .integer(Int64(width.rawValue))
        object["domains"] = .array(
            domains.map {
                [
                    "name": .text($0.name), "bytes": .integer(Int64($0.byteCount)),
                    "held_out": Self.json($0.heldOut), "training": Self.json($0.training),
                ]
            })
        return object
    }

    private static func json(_ part: Part) -> JSONValue {
        [
            "tokens": .integer(Int64(part.tokenCount)), "documents": .integer(Int64(part.documentCount)),
            "document_list": part.documents.map { .object(json($0)) } ?? .null,
            "shards": .array(
                part.shards.map {
                    var object = json($0.file)
                    object["tokens"] = .integer(Int64($0.tokenCount))
                    return .object(object)
                }),
        ]
    }

    private static func json(_ file: File) -> JSONObject {
        var object = JSONObject()
        object["file"] = .text(file.name)
        object["checksum"] = .text(hexadecimal(file.checksum))
        return object
    }

    private static func bytes(of object: JSONObject) -> [UInt8] {
        do { return try JSONValue.object(object).encoded(.indented) } catch {
            preconditionFailure("an index holds integers only")
        }
    }

    private static func checksum(of object: JSONObject) -> [UInt8] {
        ContentHash(of: JSONValue.object(object).line).bytes
    }

    /// Longer files are no index: it has some 200 bytes per shard.
    static let byteCountMax = 64 << 20

    /// Reads `encoded`.
    init(decoding bytes: [UInt8]) throws(IndexDamage) {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes, limits: JSONLimits(byteCountMax: Self.byteCountMax)) } catch {
            throw IndexDamage(error.description)
        }
        let object = try IndexReader(root, place: "it")
        guard root.object?["format"] == Self.format else { throw IndexDamage("it is not an index of tokens") }
        let version = try object.integer("version", in: 0...Int.max)
        guard version == Self.version else {
            throw IndexDamage("it has version \(version), this program reads version \(Self.version)")
        }
        let checksum = try object.hash("checksum")
        tokenizerHash = try object.hash("tokenizer")
        vocabularySize = try object.integer("vocabulary_size", in: 1...Int(Int32.max))
        guard try object.integer("token_bytes", in: 1...8) == TokenWidth(vocabularySize: vocabularySize).rawValue else {
            throw IndexDamage("token_bytes does not fit the vocabulary")
        }
        domains = try object.array("domains").map { value throws(IndexDamage) in try Self.domain(value) }
        guard (1...CorpusCursor.domainCountMax).contains(domains.count),
            Set(domains.map(\.name)).count == domains.count
        else { throw IndexDamage("domains are missing, too many, or share a name") }
        let names = domains.flatMap { $0.heldOut.files + $0.training.files }.map(\.name)
        guard Set(names).count == names.count else { throw IndexDamage("a file is named twice") }
        guard content.members.count == object.count - 1, checksum == Self.checksum(of: content) else {
            throw IndexDamage("its checksum is not that of its content")
        }
    }

    private static func domain(_ value: JSONValue) throws(IndexDamage) -> Domain {
        let object = try IndexReader(value, place: "a domain")
        let name = try object.text("name")
        guard (1...CorpusCursor.nameBytesMax).contains(name.utf8.count) else {
            throw IndexDamage("the name of a domain is empty or too long")
        }
        return Domain(
            name: name, byteCount: try object.integer("bytes", in: 0...Int.max),
            heldOut: try part(try object.value("held_out")), training: try part(try object.value("training")))
    }

    /// Bounds every sum: 4096 domains of two parts stay far below what an `Int` holds.
    private static let tokenCountMax = 1 << 46

    private static func part(_ value: JSONValue) throws(IndexDamage) -> Part {
        let object = try IndexReader(value, place: "a part")
        var part = Part()
        part.tokenCount = try object.integer("tokens", in: 0...tokenCountMax)
        part.documentCount = try object.integer("documents", in: 0...part.tokenCount)
        let list = try object.value("document_list")
        part.documents = list.isNull ? nil : try file(list)
        var sum = 0
        for value in try object.array("shards") {
            let shard = try IndexReader(value, place: "a shard")
            let tokenCount = try shard.integer("tokens", in: 1...tokenCountMax)
            sum += tokenCount
            guard sum <= part.tokenCount else { throw IndexDamage("shards hold more than their part") }
            part.shards.append(Shard(file: try file(value), tokenCount: tokenCount))
        }
        guard sum == part.tokenCount else { throw IndexDamage("shards hold less than their part") }
        guard (part.documents == nil) == (part.documentCount == 0), (part.documentCount == 0) == (sum == 0) else {
            throw IndexDamage("a part's documents do not fit its tokens")
        }
        return part
    }

    private static func file(_ value: JSONValue) throws(IndexDamage) -> File {
        let object = try IndexReader(value, place: "a file")
        let name = try object.text("file")
        // Names lead nowhere but into the folder itself, and not to hidden files or the index.
        let isPlain = name.utf8.allSatisfy {
            $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
        }
        guard isPlain, (1...64).contains(name.utf8.count), !name.hasPrefix("."), name != fileName else {
            throw IndexDamage("a file has a name that is not allowed")
        }
        return File(name: name, checksum: try object.hash("checksum"))
    }
}

/// A document in a list of documents.
struct DocumentRecord: Hashable, Sendable {
    /// Where it ends in its part, in tokens.
    let end: Int
    /// The first bytes of its text's hash: enough to find one in any corpus.
    let hash: [UInt8]

    static let hashByteCount = 16
    static let byteCount = 8 + hashByteCount

    init(end: Int, hash: ContentHash) {
        self.end = end
        self.hash = Array(hash.bytes.prefix(Self.hashByteCount))
    }

    /// u64 end, little-endian, then the hash.
    var encoded: [UInt8] { withUnsafeBytes(of: UInt64(end).littleEndian) { Array($0) } + hash }

    /// Reads `encoded`; nil if the end is not in `range`.
    init?(decoding bytes: ArraySlice<UInt8>, endIn range: ClosedRange<Int>) {
        guard bytes.count == Self.byteCount,
            let end = Int(exactly: bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }),
            range.contains(end)
        else { return nil }
        self.end = end
        hash = Array(bytes.dropFirst(8))
    }
}
