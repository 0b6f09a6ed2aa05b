/// Bounds of multistream-select, by which a peer cannot make a negotiation long or large.
enum MultistreamLimits {
    /// Longest line, newline included: what go-libp2p reads.
    static let lineBytesMax = 1024
    /// Proposals that a listener answers in one negotiation.
    static let proposalsMax = 16
}

/// Lines of multistream-select 1.0: `uvarint(n) | text | "\n"`, n counting the newline.
enum MultistreamLine {
    static let header = "/multistream/1.0.0"
    static let notAvailable = "na"

    /// One encoded line.
    static func encode(_ text: String) -> [UInt8] {
        let content = Array(text.utf8) + [UInt8(ascii: "\n")]
        precondition(content.count <= MultistreamLimits.lineBytesMax, "our own protocol names are short")
        return Uvarint.encode(content.count) + content
    }

    /// Takes one whole line from `input`, and nothing behind it: pipelined bytes belong to the next protocol.
    static func take(from input: inout ByteQueue) throws(Violation) -> [UInt8]? {
        let malformed = Violation.multistreamLineMalformed(lengthMax: MultistreamLimits.lineBytesMax)
        switch Uvarint.read(input.prefix(Uvarint.byteCountMax)) {
        case .incomplete: return nil
        case .malformed: throw malformed
        case .value(let length, let prefixBytes):
            guard length >= 1, length <= UInt64(MultistreamLimits.lineBytesMax) else { throw malformed }
            guard input.count >= prefixBytes + Int(length) else { return nil }
            input.drop(prefixBytes)
            var line = input.take(Int(length))
            guard line.popLast() == UInt8(ascii: "\n") else { throw malformed }
            return line
        }
    }
}

/// The side that proposes protocols, one after the other, first choice first.
struct MultistreamDialer: Sendable {
    /// How a negotiation ends.
    enum Outcome: Equatable {
        case agreed(String)
        case refused
    }

    private let candidates: [String]
    private var proposed = 0
    private var headerSeen = false

    /// Proposes `candidates`, which must not be empty.
    init(candidates: [String]) {
        precondition(!candidates.isEmpty, "a negotiation needs a candidate")
        self.candidates = candidates
    }

    /// What to send first: header and first proposal in one go.
    var opening: [UInt8] { MultistreamLine.encode(MultistreamLine.header) + MultistreamLine.encode(candidates[0]) }

    /// Whether the only candidate is already proposed, so that its first bytes may follow unasked.
    var isLazy: Bool { candidates.count == 1 }

    /// Reads answers from `input` and appends further proposals to `output`; nil: more is needed.
    mutating func receive(from input: inout ByteQueue, into output: inout [UInt8]) throws(Violation) -> Outcome? {
        while let line = try MultistreamLine.take(from: &input) {
            guard headerSeen else {
                guard line.elementsEqual(MultistreamLine.header.utf8) else { throw .multistreamHeaderMissing }
                headerSeen = true
                continue
            }
            if line.elementsEqual(candidates[proposed].utf8) { return .agreed(candidates[proposed]) }
            guard line.elementsEqual(MultistreamLine.notAvailable.utf8) else { throw .multistreamAnswerUnexpected }
            proposed += 1
            guard proposed < candidates.count else { return .refused }
            output += MultistreamLine.encode(candidates[proposed])
        }
        return nil
    }
}

/// The side that answers proposals.
struct MultistreamListener: Sendable {
    private var headerSeen = false
    private var proposals = 0

    /// Reads proposals from `input` and appends answers to `output`; gives the agreed protocol, or nil while more is
    /// needed. Unknown lines, `ls` among them, are answered `na`.
    mutating func receive(
        from input: inout ByteQueue, into output: inout [UInt8], isSupported: (String) -> Bool
    ) throws(Violation) -> String? {
        while let line = try MultistreamLine.take(from: &input) {
            guard headerSeen else {
                guard line.elementsEqual(MultistreamLine.header.utf8) else { throw .multistreamHeaderMissing }
                headerSeen = true
                output += MultistreamLine.encode(MultistreamLine.header)
                continue
            }
            guard proposals < MultistreamLimits.proposalsMax else {
                throw .multistreamProposalsTooMany(max: MultistreamLimits.proposalsMax)
            }
            proposals += 1
            if let name = String(validating: line, as: UTF8.self), isSupported(name) {
                output += MultistreamLine.encode(name)
                return name
            }
            output += MultistreamLine.encode(MultistreamLine.notAvailable)
        }
        return nil
    }
}
