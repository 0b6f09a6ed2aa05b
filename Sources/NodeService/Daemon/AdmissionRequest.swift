import Compression
import Swarm

/// A request of `/atoll/admission/1.0.0`: the swarm's id, then what the asker would show to be let in (maybe nothing).
/// It is how a newcomer learns the charter, or why it would be refused, before it makes anything of its own.
struct AdmissionRequest {
    static let protocolName = "/atoll/admission/1.0.0"
    static let byteCountMax = Digest.byteCount + Limits.presentationBytesMax
    static let answerByteCountMax = 1 + Limits.charterBytesMax

    var swarmID: Digest
    var presentation: [UInt8]

    init(swarmID: Digest, presentation: [UInt8]) {
        self.swarmID = swarmID
        self.presentation = presentation
    }

    /// Reads a request; nil if it is too short to name a swarm.
    init?(_ bytes: [UInt8]) {
        guard let swarmID = Digest(bytes: bytes.prefix(Digest.byteCount)) else { return nil }
        self.swarmID = swarmID
        presentation = Array(bytes.dropFirst(Digest.byteCount))
    }

    /// The bytes on the wire.
    var encoded: [UInt8] { swarmID.bytes + presentation }

    /// The answer: one byte, 0 before the charter, else the reason (255: the asked node is not in that swarm).
    enum Answer {
        case charter([UInt8])
        case refused(AdmissionRefusal)
        case otherSwarm

        var encoded: [UInt8] {
            switch self {
            case .charter(let bytes): [0] + bytes
            case .refused(let refusal): [UInt8(clamping: refusal.rawValue)]
            case .otherSwarm: [255]
            }
        }

        /// Reads an answer; nil if there is none, which an older node gives.
        init?(_ bytes: [UInt8]) {
            guard let code = bytes.first else { return nil }
            switch code {
            case 0: self = .charter(Array(bytes.dropFirst()))
            case 255: self = .otherSwarm
            default: self = .refused(AdmissionRefusal(rawValue: UInt32(code)) ?? .invalid)
            }
        }
    }
}
