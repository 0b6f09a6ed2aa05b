import Compression

/// Codecs by the names that people write: a family, and after a colon its level.
enum CodecName {
    static let expectation =
        "a codec: float32, float16, e3m0, uniform:1 to uniform:8, statistical:2 or statistical:4, topk:2 to topk:1024 "
        + "(even; of 4096), lowrank:1 to lowrank:64"

    /// The codec of that name.
    static func codec(_ text: String) -> Codec? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let name = parts.first, let family = families.first(where: { $0.name == name })?.family else {
            return nil
        }
        switch parts.count {
        case 1: return Codec(family: family, level: 0)
        case 2: return UInt16(parts[1]).flatMap { $0 == 0 ? nil : Codec(family: family, level: $0) }
        default: return nil
        }
    }

    /// The name of a codec.
    static func name(_ codec: Codec) -> String {
        let family = families.first { $0.family == codec.family }?.name ?? "family \(codec.family)"
        return codec.level == 0 ? family : "\(family):\(codec.level)"
    }

    private static let families: [(name: String, family: UInt8)] = [
        ("float32", Codec.float32.family), ("float16", Codec.float16.family), ("e3m0", Codec.e3m0.family),
        ("uniform", Codec.uniform(bits: 1).family), ("statistical", Codec.statistical(bits: 2).family),
        ("topk", Codec.topK(kept: 2).family), ("lowrank", Codec.lowRank(rank: 1).family),
    ]
}
