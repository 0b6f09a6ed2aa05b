/// Text to token ids and back, as a Hugging Face `tokenizer.json` describes it.
///
/// Every token stands for a string of bytes, so any bytes can be encoded and what is decoded is exactly what was
/// encoded: binary-safe, without normalisation, unknown or special tokens.
package struct Tokenizer: Hashable, Sendable {
    /// How ids are made; byte-level BPE with merges is to be a second case.
    enum Model: Hashable, Sendable {
        /// Id = byte value.
        case bytes
    }

    let model: Model

    /// The tokenizer whose 256 ids are the byte values.
    package static let bytes = Tokenizer(model: .bytes)

    /// The number of ids: 0 ..< vocabularySize.
    package var vocabularySize: Int {
        switch model {
        case .bytes: 256
        }
    }

    /// The ids of some bytes. `decode` gives the bytes back.
    ///
    /// Takes an array, not any sequence: callers are in other modules, where a generic function runs unspecialized.
    package func encode(_ bytes: [UInt8]) -> [Int32] {
        switch model {
        case .bytes: bytes.map { Int32($0) }
        }
    }

    /// The ids of the UTF-8 bytes of a text.
    package func encode(_ text: String) -> [Int32] { encode(Array(text.utf8)) }

    /// The bytes of some ids; nil if one is outside the vocabulary. They need not be valid UTF-8.
    package func decode(_ ids: some Sequence<Int32>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ids.underestimatedCount)
        for id in ids {
            switch model {
            case .bytes:
                guard let byte = UInt8(exactly: id) else { return nil }
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// The number of bytes that one id stands for; nil outside the vocabulary. Bits per byte are computed with it.
    package func byteCount(of id: Int32) -> Int? {
        switch model {
        case .bytes: UInt8(exactly: id) == nil ? nil : 1
        }
    }
}

/// Why a tokenizer file cannot be used.
package enum TokenizerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file is not JSON, or breaks its rules.
    case malformed(String)
    /// The file describes a tokenizer that is not implemented; `part` names the field.
    case unsupported(part: String, found: String)

    /// The reason in words.
    package var description: String {
        switch self {
        case .malformed(let reason): "the tokenizer file is damaged: \(reason)"
        case .unsupported(let part, let found):
            "the tokenizer is not byte-level (256 ids, id = byte value): \(part) is \(found)"
        }
    }
}
