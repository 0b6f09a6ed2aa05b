import JSONText

/// How text is cut into pieces before merging: optionally around digits, then by one of the known patterns.
struct PreTokenizer: Hashable, Sendable {
    /// What the Digits stage does.
    enum Digits: Hashable, Sendable {
        case none
        /// Every digit is a segment of its own.
        case single
        /// Every run of digits is a segment of its own.
        case runs
    }

    /// The pattern that cuts a segment.
    enum Pattern: Hashable, Sendable {
        /// The segment is one piece.
        case whole
        case gpt2
        case llama3
        /// Llama 3's with single digits.
        case qwen2

        /// The regular expression, as files have it.
        var expression: String? {
            switch self {
            case .whole: nil
            case .gpt2: #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
            case .llama3:
                #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
                    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
            case .qwen2:
                #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
                    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
            }
        }
    }

    var digits = Digits.none
    var pattern: Pattern
    /// Whether a segment that does not start with a space gets one.
    var addsPrefixSpace = false

    /// The name under which llama.cpp knows these cuts; nil if it knows none.
    var ggufName: String? {
        switch (digits, pattern, addsPrefixSpace) {
        case (.none, .gpt2, false): "gpt-2"
        case (.none, .llama3, false): "llama-bpe"
        case (.none, .qwen2, false): "qwen2"
        case (.single, .gpt2, false): "smollm"
        default: nil
        }
    }

    /// Whether a line feed before an ASCII letter always ends a piece, so that text may be cut there.
    var endsPiecesAtLines: Bool { pattern != .whole && !addsPrefixSpace }
}

extension PreTokenizer {
    /// The member of `tokenizer.json`.
    var json: JSONValue {
        let byteLevel: JSONValue = [
            "type": "ByteLevel", "add_prefix_space": .bool(addsPrefixSpace), "trim_offsets": true,
            "use_regex": .bool(pattern == .gpt2),
        ]
        var stages: [JSONValue] = []
        if digits != .none { stages.append(["type": "Digits", "individual_digits": .bool(digits == .single)]) }
        if pattern != .gpt2, let expression = pattern.expression {
            stages.append([
                "type": "Split", "pattern": ["Regex": .text(expression)], "behavior": "Isolated", "invert": false,
            ])
        }
        guard !stages.isEmpty else { return byteLevel }
        return ["type": "Sequence", "pretokenizers": .array(stages + [byteLevel])]
    }

    /// Reads the member of `tokenizer.json`: ByteLevel, alone or after Digits and a Split by a known pattern.
    init(json: JSONValue) throws(TokenizerError) {
        var stages = [json]
        var part = "pre_tokenizer"
        if json.object?["type"] == "Sequence" {
            part = "pre_tokenizer.pretokenizers"
            guard let elements = json.object?["pretokenizers"]?.array else {
                throw .malformed("\(part) is not an array")
            }
            stages = elements
        }
        guard let last = stages.popLast()?.object, last["type"] == "ByteLevel" else {
            throw .unsupported(part: "\(part) (its last stage)", found: "not ByteLevel")
        }
        pattern = .whole
        // Without the members their defaults hold, which are true.
        addsPrefixSpace = try last.flag("add_prefix_space", default: true, part: part)
        let usesRegex = try last.flag("use_regex", default: true, part: part)
        for stage in stages {
            switch stage.object?["type"] {
            case "Digits" where digits == .none && pattern == .whole:
                digits =
                    try stage.object?.flag("individual_digits", default: false, part: part) == true ? .single : .runs
            case "Split" where pattern == .whole: pattern = try Self.pattern(of: stage, part: part)
            case let other:
                throw .unsupported(
                    part: "a stage of \(part)", found: other?.excerpt ?? "without type")
            }
        }
        guard usesRegex else {
            if addsPrefixSpace, pattern != .whole {
                throw .unsupported(part: "\(part): add_prefix_space after a Split", found: "true")
            }
            return
        }
        guard pattern == .whole else { throw .unsupported(part: "\(part): use_regex after a Split", found: "true") }
        pattern = .gpt2
    }

    private static func pattern(of stage: JSONValue, part: String) throws(TokenizerError) -> Pattern {
        guard let object = stage.object else { throw .malformed("a stage of \(part) is \(stage.kind)") }
        try check(object["behavior"] ?? .null, isOneOf: ["Isolated"], part: "\(part): behavior")
        try check(object["invert"] ?? false, isOneOf: [false], part: "\(part): invert")
        let found = object["pattern"]?.object?["Regex"]?.string
        for pattern in [Pattern.gpt2, .llama3, .qwen2] where found?.string == pattern.expression { return pattern }
        throw .unsupported(part: "\(part): the pattern", found: (object["pattern"] ?? .null).excerpt)
    }
}
