package import Compression
import OuterSync
package import PeerNet
internal import SwiftProtobuf

/// What is wrong with a charter.
package enum CharterError: Error, Hashable, Sendable, CustomStringConvertible {
    /// More bytes than `Limits.charterBytesMax`.
    case tooLarge
    /// Not a charter at all, or cut short.
    case malformed
    /// A version that this program does not know.
    case version(UInt32)
    /// The founder's signature does not match.
    case signature
    /// A field is outside of its range.
    case field(String)

    /// The cause in words.
    package var description: String {
        switch self {
        case .tooLarge: "the charter has more than \(Limits.charterBytesMax) bytes"
        case .malformed: "these bytes are not a charter"
        case .version(let version): "the charter has version \(version); this program knows version \(Charter.version)"
        case .signature: "the founder's signature of the charter does not match"
        case .field(let reason): "the charter is out of range: \(reason)"
        }
    }
}

extension Charter {
    static let version: UInt32 = 2
    private static let statement = Array("atoll charter 2\0".utf8)

    /// The swarm id of a charter's signed bytes.
    package static func swarmID(ofSealed bytes: [UInt8]) -> Digest { Digest(hashing: bytes) }

    /// Checks the fields and signs: the bytes that every member holds, and whose digest is the swarm id.
    package func sealed(by identity: Identity) throws(CharterError) -> [UInt8] {
        try validate()
        guard identity.peerID == founder else { throw .field("only its founder can sign a charter") }
        guard let body = try? encoded.serializedBytes() as [UInt8] else { throw .malformed }
        var sealed = WireSignedCharter()
        sealed.body = wire(body)
        sealed.signature = wire(identity.sign(Self.statement + body))
        guard let bytes = try? sealed.serializedBytes() as [UInt8] else { throw .malformed }
        guard bytes.count <= Limits.charterBytesMax else { throw .tooLarge }
        return bytes
    }

    /// Decodes signed bytes and checks signature and ranges; the caller compares their digest with the swarm id.
    package static func opened(_ bytes: [UInt8]) throws(CharterError) -> Charter {
        guard bytes.count <= Limits.charterBytesMax else { throw .tooLarge }
        guard let sealed = try? WireSignedCharter(serializedBytes: bytes),
            let wire = try? WireCharter(serializedBytes: sealed.body)
        else { throw .malformed }
        guard wire.version == version else { throw .version(wire.version) }
        let charter = try Charter(wire)
        guard charter.founder.verifies(signature: array(sealed.signature), of: statement + sealed.body) else {
            throw .signature
        }
        try charter.validate()
        return charter
    }
}

extension Charter {
    private var encoded: WireCharter {
        var message = WireCharter()
        message.version = Self.version
        message.name = name
        message.founder = wire(founder.publicKey)
        message.model.vocabularySize = UInt32(clamping: model.vocabularySize)
        message.model.width = UInt32(clamping: model.width)
        message.model.layerCount = UInt32(clamping: model.layerCount)
        message.model.headCount = UInt32(clamping: model.headCount)
        message.model.keyValueHeadCount = UInt32(clamping: model.keyValueHeadCount)
        message.model.headWidth = UInt32(clamping: model.headWidth)
        message.model.feedForwardWidth = UInt32(clamping: model.feedForwardWidth)
        message.model.contextLength = UInt32(clamping: model.contextLength)
        message.model.ropeTheta = model.ropeTheta
        message.model.rmsNormEpsilon = model.rmsNormEpsilon
        message.model.tiedEmbeddings = model.tiedEmbeddings
        message.tokenizer = wire(tokenizer.bytes)
        message.seed = seed
        message.inner.learningRate = inner.learningRate
        message.inner.finalLearningRateShare = inner.finalLearningRateShare
        message.inner.beta1 = inner.beta1
        message.inner.beta2 = inner.beta2
        message.inner.epsilon = inner.epsilon
        message.inner.weightDecay = inner.weightDecay
        message.inner.gradientClip = inner.gradientClip
        message.inner.warmupTokens = inner.warmupTokens
        message.inner.batchSequences = UInt32(clamping: inner.batchSequences)
        message.outer.learningRate = outer.learningRate
        message.outer.momentum = outer.momentum
        message.outer.stalenessPenalty = UInt32(outer.penalty.rawValue)
        message.outer.momentumClip = outer.momentumClip
        message.syncMode = syncMode.rawValue
        message.fragmentRule = fragmentRule.rawValue
        message.innerStepsPerRound = UInt32(clamping: innerStepsPerRound)
        message.overlapSteps = UInt32(clamping: overlapSteps)
        message.blendAlpha = blendAlpha
        message.codec = Self.message(encoding.contribution)
        message.resultCodec = Self.message(encoding.result)
        message.feedback = encoding.feedback
        message.residualStaysLive = encoding.residualStaysLive
        message.ladder = encoding.ladder.map(Self.message)
        message.ownerFeedback = encoding.ownerFeedback
        message.tokenBudget = tokenBudget
        message.weightCap = weightCap
        message.weighting = UInt32(weighting.rawValue)
        message.gatherMembersMax = UInt32(clamping: gatherMembersMax)
        switch admission {
        case .open: message.admission = 1
        case .allowList(let peers):
            message.admission = 2
            message.allowed = peers.map { wire($0.publicKey) }
        case .invite: message.admission = 3
        }
        message.aggregation = aggregation.rawValue
        if let heldOut { message.heldOut = wire(heldOut.bytes) }
        return message
    }

    private static func message(_ codec: Codec) -> WireCharterCodec {
        var message = WireCharterCodec()
        message.family = UInt32(codec.family)
        message.level = UInt32(codec.level)
        return message
    }

    private static func codec(_ wire: WireCharterCodec) -> Codec? {
        guard let family = UInt8(exactly: wire.family), let level = UInt16(exactly: wire.level) else { return nil }
        return Codec(family: family, level: level)
    }

    private init(_ wire: WireCharter) throws(CharterError) {
        guard let founder = PeerID(publicKey: wire.founder) else { throw .field("founder is not a 32-byte key") }
        guard let tokenizer = Digest(bytes: wire.tokenizer) else { throw .field("tokenizer is not a 32-byte digest") }
        let heldOut = Digest(bytes: wire.heldOut)
        guard heldOut != nil || wire.heldOut.isEmpty else { throw .field("held-out file is not a 32-byte digest") }
        guard let rule = FragmentRule(rawValue: wire.fragmentRule) else { throw .field("unknown fragment rule") }
        guard let contribution = Self.codec(wire.codec), let result = Self.codec(wire.resultCodec) else {
            throw .field("unknown codec")
        }
        guard wire.feedback >= 0, wire.feedback <= 1 else { throw .field("feedback must be in [0, 1]") }
        guard wire.ownerFeedback >= 0, wire.ownerFeedback <= 1 else {
            throw .field("owner feedback must be in [0, 1]")
        }
        guard wire.ladder.count <= Limits.ladderMax else { throw .field("the ladder has too many codecs") }
        let ladder = wire.ladder.compactMap { Self.codec($0) }
        guard ladder.count == wire.ladder.count else { throw .field("unknown codec in the ladder") }
        guard let syncMode = SyncMode(rawValue: wire.syncMode) else { throw .field("unknown sync mode") }
        guard let penalty = UInt8(exactly: wire.outer.stalenessPenalty).flatMap(StalenessPenalty.init(rawValue:)) else {
            throw .field("unknown staleness penalty")
        }
        let admission = try Admission(wire)
        guard let aggregation = Aggregation(rawValue: wire.aggregation) else { throw .field("unknown aggregation") }
        let model = wire.model
        let inner = wire.inner
        self.init(
            name: wire.name, founder: founder,
            model: Model(
                vocabularySize: Int(model.vocabularySize), width: Int(model.width), layerCount: Int(model.layerCount),
                headCount: Int(model.headCount), keyValueHeadCount: Int(model.keyValueHeadCount),
                headWidth: Int(model.headWidth), feedForwardWidth: Int(model.feedForwardWidth),
                contextLength: Int(model.contextLength), ropeTheta: model.ropeTheta,
                rmsNormEpsilon: model.rmsNormEpsilon, tiedEmbeddings: model.tiedEmbeddings),
            tokenizer: tokenizer, seed: wire.seed,
            inner: Inner(
                learningRate: inner.learningRate, finalLearningRateShare: inner.finalLearningRateShare,
                beta1: inner.beta1, beta2: inner.beta2, epsilon: inner.epsilon, weightDecay: inner.weightDecay,
                gradientClip: inner.gradientClip, warmupTokens: inner.warmupTokens,
                batchSequences: Int(inner.batchSequences)),
            outer: Outer(learningRate: wire.outer.learningRate, momentum: wire.outer.momentum), fragmentRule: rule,
            innerStepsPerRound: Int(wire.innerStepsPerRound), overlapSteps: Int(wire.overlapSteps),
            blendAlpha: wire.blendAlpha,
            encoding: PayloadEncoding(
                contribution: contribution, result: result, feedback: wire.feedback,
                residualStaysLive: wire.residualStaysLive, ladder: ladder, ownerFeedback: wire.ownerFeedback),
            tokenBudget: wire.tokenBudget, weightCap: wire.weightCap, admission: admission, aggregation: aggregation,
            heldOut: heldOut)
        gatherMembersMax = Int(wire.gatherMembersMax)
        guard let weighting = UInt8(exactly: wire.weighting).flatMap(Weighting.init) else {
            throw .field("unknown weighting")
        }
        self.weighting = weighting
        self.syncMode = syncMode
        self.outer.penalty = penalty
        self.outer.momentumClip = wire.outer.momentumClip
    }
}

extension Charter.Admission {
    fileprivate init(_ wire: WireCharter) throws(CharterError) {
        guard wire.admission == 2 || wire.allowed.isEmpty else { throw .field("only an allow-list lists peers") }
        switch wire.admission {
        case 1: self = .open
        case 2:
            var peers: [PeerID] = []
            for key in wire.allowed {
                guard let peer = PeerID(publicKey: key) else { throw .field("an allowed peer is not a 32-byte key") }
                peers.append(peer)
            }
            self = .allowList(peers)
        case 3: self = .invite
        default: throw .field("unknown admission")
        }
    }
}
