import JSONText
package import Numerics

/// Trains a byte-level BPE tokenizer on text: documents are added, then `train` learns the merges.
///
/// Equal text gives the same tokenizer however it is cut into calls of `add` and whatever the number of threads, and the
/// vocabulary that `tokenizers` learns.
package struct TokenizerTraining {
    /// Where text is cut before merging.
    package enum Pattern: String, Hashable, Sendable, CaseIterable {
        /// GPT-2's.
        case gpt2 = "gpt-2"
        /// Llama 3's: up to three digits together, no merges across line ends and letters.
        case llama3 = "llama-3"
        /// GPT-2's with every digit by itself.
        case smollm = "smollm"
        /// Llama 3's with every digit by itself.
        case qwen2 = "qwen2"
    }

    /// What is to be learnt.
    package struct Settings: Hashable, Sendable {
        /// Ids of the finished tokenizer, special tokens included.
        package var vocabularySize: Int
        /// Where text is cut.
        package var pattern: Pattern
        /// Special tokens, which get the first ids. One of a usual name becomes the end-of-text token.
        package var specialTokens: [String]
        /// Pairs that come less often are not merged.
        package var countMin: Int

        /// Wraps the fields.
        package init(
            vocabularySize: Int, pattern: Pattern = .gpt2, specialTokens: [String] = ["<|endoftext|>"],
            countMin: Int = 2
        ) {
            self.vocabularySize = vocabularySize
            self.pattern = pattern
            self.specialTokens = specialTokens
            self.countMin = countMin
        }
    }

    /// Why nothing can be learnt.
    package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// The vocabulary cannot hold the bytes and special tokens, or is beyond any use.
        case vocabularySize(Int, allowed: ClosedRange<Int>)
        /// A special token is empty, too long or named twice.
        case specialToken(String)
        /// More special tokens than the limit.
        case tooManySpecialTokens(limit: Int)
        /// There was no text.
        case noText
        /// The distinct words take more memory than the limit.
        case tooManyWords(byteCountMax: Int)
        /// The progress report asked to stop.
        case cancelled

        /// The reason in words.
        package var description: String {
            switch self {
            case .vocabularySize(let size, let allowed):
                "a vocabulary of \(size) is out of range: \(allowed.lowerBound) to \(allowed.upperBound)"
            case .specialToken(let name): "the special token '\(name.prefix(64))' is empty, too long or named twice"
            case .tooManySpecialTokens(let limit): "there are more than \(limit) special tokens"
            case .noText: "there is no text to learn from"
            case .tooManyWords(let limit): "the text has more than \(limit >> 20) MiB of distinct words"
            case .cancelled: "stopped"
            }
        }
    }

    private let settings: Settings
    private let preTokenizer: PreTokenizer
    private var counter: WordCounter

    /// Larger vocabularies are of no use, and their ids would take more than the tables' room.
    private static let vocabularySizeMax = 1 << 20
    private static let specialTokensMax = 1000
    /// The most bytes of distinct words: what a machine with some GiB of memory can hold ten times over, which is what
    /// learning takes.
    package static let wordBytesMax = 1 << 30

    /// Checks the settings.
    package init(_ settings: Settings, pool: WorkerPool) throws(Failure) {
        guard settings.specialTokens.count <= Self.specialTokensMax else {
            throw .tooManySpecialTokens(limit: Self.specialTokensMax)
        }
        let allowed = (256 + settings.specialTokens.count)...Self.vocabularySizeMax
        guard allowed.contains(settings.vocabularySize) else {
            throw .vocabularySize(settings.vocabularySize, allowed: allowed)
        }
        var seen: Set<JSONString> = []
        for name in settings.specialTokens {
            guard (1...256).contains(name.utf8.count), seen.insert(JSONString(name)).inserted else {
                throw .specialToken(name)
            }
        }
        self.settings = settings
        preTokenizer =
            switch settings.pattern {
            case .gpt2: PreTokenizer(pattern: .gpt2)
            case .llama3: PreTokenizer(pattern: .llama3)
            case .smollm: PreTokenizer(digits: .single, pattern: .gpt2)
            case .qwen2: PreTokenizer(pattern: .qwen2)
            }
        counter = WordCounter(preTokenizer: preTokenizer, pool: pool)
    }

    /// Counts the words of documents; a word never spans two of them.
    package mutating func add(_ documents: [[UInt8]]) throws(Failure) {
        counter.add(documents)
        guard counter.byteCount <= Self.wordBytesMax else { throw .tooManyWords(byteCountMax: Self.wordBytesMax) }
    }

    /// Merges between two reports of progress.
    private static let mergesPerReport = 256

    /// Learns the merges. The text is used up: adding starts anew.
    ///
    /// - Parameter progress: takes the tokens so far; false ends the training.
    package mutating func train(progress: (_ tokenCount: Int) -> Bool) throws(Failure) -> Tokenizer {
        let words = counter.takeTotal()
        guard words.count > 0 else { throw .noText }
        var names: [JSONString] = []
        var ids: [JSONString: Int32] = [:]
        func id(of name: JSONString) -> Int32 {
            if let id = ids[name] { return id }
            let id = Int32(truncatingIfNeeded: names.count)
            ids[name] = id
            names.append(name)
            return id
        }
        for name in settings.specialTokens { _ = id(of: JSONString(name)) }
        var byteIDs = [Int32](repeating: 0, count: 256)
        for byte in ByteCharacters.bytesInCharacterOrder {
            byteIDs[Int(byte)] = id(of: ByteCharacters.names[Int(byte)])
        }
        var learner = MergeLearner(words: words, byteIDs: byteIDs, vocabularySize: settings.vocabularySize)
        var merges: [BytePairModel.Merge] = []
        while names.count < settings.vocabularySize {
            let merge = learner.merge(countMin: Int64(settings.countMin)) { left, right in
                id(of: JSONString(names[Int(left)].string + names[Int(right)].string))
            }
            guard let merge else { break }
            merges.append(BytePairModel.Merge(left: merge.left, right: merge.right, result: merge.result))
            if merges.count % Self.mergesPerReport == 0, !progress(names.count) { throw .cancelled }
        }
        return Tokenizer(model: .bytePairs(model(names: names, merges: merges)))
    }

    private func model(names: [JSONString], merges: [BytePairModel.Merge]) -> BytePairModel {
        var model = BytePairModel(
            entries: names.enumerated().map { BytePairModel.Entry(name: $1, id: Int32($0)) }, merges: merges,
            addedTokens: settings.specialTokens.enumerated().map {
                AddedToken(id: Int32($0), name: JSONString($1), isSpecial: true)
            },
            preTokenizer: preTokenizer,
            // As Llama 3 does, and llama.cpp with these cuts.
            ignoresMerges: settings.pattern == .llama3,
            decoderJSON: ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false],
            preTokenizerJSON: preTokenizer.json)
        model.dropRepeatedMerges()
        return model
    }
}
