import Glibc

/// Feeds a decoder inputs made from good ones by seeded, structure-aware changes.
///
/// `ATOLL_FUZZ_INPUTS` says how many a decoder gets; `make fuzz` sets it.
public struct Fuzzer {
    /// Inputs for each decoder: few in the daily tests.
    public static let inputsPerDecoder: Int = {
        guard let text = getenv("ATOLL_FUZZ_INPUTS"), let count = Int(String(cString: text)) else { return 2_000 }
        return count
    }()

    private var state: UInt64

    /// Starts a sequence that depends on the seed alone.
    public init(seed: UInt64) { state = seed }

    /// Gives `decode` inputs made from `samples`; it returns whether it took an input. How many it took.
    ///
    /// A decoder that traps ends the process, which is the finding; the decoder's name and the number of the input are in
    /// the last line on standard error when a run by hand asks for more inputs than the daily tests.
    public mutating func run(_ name: String, _ samples: [[UInt8]], _ decode: ([UInt8]) -> Bool) -> Int {
        precondition(!samples.isEmpty, "a decoder is fuzzed from good inputs")
        var accepted = 0
        let inputs = Self.inputsPerDecoder
        for number in 0..<inputs {
            let input = mutated(samples)
            if decode(input) { accepted += 1 }
            if inputs > 100_000, number % 100_000 == 0 { report("fuzz \(name): \(number)") }
        }
        if inputs > 100_000 { report("fuzz \(name): \(inputs) inputs, \(accepted) accepted") }
        return accepted
    }

    private func report(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    // MARK: Chance

    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    private mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }

    // MARK: Changes

    /// Lengths, tags and counts that decoders stumble over.
    private static let edges: [[UInt8]] = [
        [0], [0x7f], [0x80], [0xff], [0x80, 0x80], [0x80, 0x01], [0xff, 0xff, 0xff, 0xff], [0x7f, 0xff, 0xff, 0xff],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [UInt8](repeating: 0xff, count: 10),
        [0, 0, 0x80, 0x7f],
    ]

    private mutating func mutated(_ samples: [[UInt8]]) -> [UInt8] {
        var bytes = samples[below(samples.count)]
        guard next() % 64 > 0 else { return (0..<below(96)).map { _ in UInt8(truncatingIfNeeded: next()) } }
        for _ in 0..<(1 + below(4)) {
            let at = below(bytes.count + 1)
            switch below(8) {
            case 0: bytes.removeSubrange(at...)
            case 1 where at < bytes.count: bytes[at] ^= UInt8(1 << below(8))
            case 2 where at < bytes.count: bytes[at] = UInt8(truncatingIfNeeded: next())
            case 3: replace(at, with: Self.edges[below(Self.edges.count)], in: &bytes)
            case 4: bytes.insert(contentsOf: Self.edges[below(Self.edges.count)], at: at)
            case 5:
                bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 1 + below(64))], at: below(bytes.count + 1))
            case 6:
                // A piece of another good input in the middle of this one.
                let other = samples[below(samples.count)]
                let start = below(other.count + 1)
                replace(at, with: Array(other[start..<min(other.count, start + 1 + below(64))]), in: &bytes)
            default: bytes.removeSubrange(at..<min(bytes.count, at + 1 + below(8)))
            }
        }
        return bytes
    }

    private func replace(_ at: Int, with piece: [UInt8], in bytes: inout [UInt8]) {
        bytes.replaceSubrange(at..<min(bytes.count, at + piece.count), with: piece)
    }
}
