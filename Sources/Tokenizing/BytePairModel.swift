import JSONText

/// Everything that a byte-level BPE `tokenizer.json` says, checked; equal models give equal ids.
struct BytePairModel: Hashable, Sendable {
    /// A vocabulary entry: the name in the file's characters, and its id.
    struct Entry: Hashable, Sendable {
        var name: JSONString
        var id: Int32
    }

    /// Two neighbouring tokens that become one.
    struct Merge: Hashable, Sendable {
        var left: Int32
        var right: Int32
        var result: Int32
    }

    /// In ascending order of ids.
    var entries: [Entry]
    /// Strongest first; no pair occurs twice.
    var merges: [Merge]
    /// In ascending order of ids.
    var addedTokens: [AddedToken]
    var preTokenizer: PreTokenizer
    /// Whether a piece that is in the vocabulary as a whole is taken as it is.
    var ignoresMerges = false
    /// The token for bytes without an entry, and whether several in a row become one; nil drops such bytes.
    var unknownToken: JSONString?
    var fusesUnknown = false
    /// Ids that `addSpecialTokens` puts before and after a text.
    var prefix: [Int32] = []
    var suffix: [Int32] = []
    /// Members of the file that change no id, kept for other programs.
    var postProcessorJSON: JSONValue = .null
    var decoderJSON: JSONValue
    var preTokenizerJSON: JSONValue
    /// One more than the highest id.
    var vocabularySize: Int {
        Int(max(entries.last?.id ?? -1, addedTokens.last?.id ?? -1)) + 1
    }
}

/// Which tokens mark the begin and end of a text, fill a batch, and stand for what is unknown.
package struct SpecialTokenRoles: Hashable, Sendable {
    /// The token before a text.
    package var bos: Int32?
    /// The token after a text.
    package var eos: Int32?
    /// The token that fills a batch.
    package var pad: Int32?
    /// The token for what the vocabulary lacks.
    package var unknown: Int32?

    /// No roles.
    package init() {}
}

/// The bytes of every id in one array.
struct TokenBytes: Sendable {
    private var offsets: [Int]
    private var bytes: [UInt8] = []
    private let isKnown: [Bool]

    init(_ model: BytePairModel) {
        var contents = [[UInt8]?](repeating: nil, count: model.vocabularySize)
        for entry in model.entries {
            // What is not spelt in the map's characters stands for its own text.
            contents[Int(entry.id)] = ByteCharacters.bytes(ofName: entry.name) ?? entry.name.bytes
        }
        for token in model.addedTokens { contents[Int(token.id)] = token.name.bytes }
        offsets = [0]
        offsets.reserveCapacity(contents.count + 1)
        for content in contents {
            bytes += content ?? []
            offsets.append(bytes.count)
        }
        isKnown = contents.map { $0 != nil }
    }

    /// Where the bytes of an id lie; nil if the id is not in the vocabulary.
    @inline(__always)
    func range(of id: Int32) -> Range<Int>? {
        guard id >= 0, Int(id) < isKnown.count, isKnown[Int(id)] else { return nil }
        return offsets[Int(id)]..<offsets[Int(id) + 1]
    }

    /// The bytes in a range that `range(of:)` gave.
    subscript(range: Range<Int>) -> ArraySlice<UInt8> { bytes[range] }
}
