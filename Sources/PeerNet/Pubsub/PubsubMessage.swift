/// One published message under StrictSign: author, sequence number and signature are always there, and the key is
/// inside the author's id. Only Ed25519 authors exist here.
package struct PubsubMessage: Hashable, Sendable {
    /// Why a message is not one to pass on.
    package enum Fault: Error, Hashable, Sendable {
        /// No author, or one that is not an Ed25519 peer id.
        case authorRefused
        /// The enclosed key is not the author's.
        case keyDiffers
        /// The sequence number is not eight bytes.
        case sequenceMalformed
        /// No topic, or a name that no topic can have.
        case topicMalformed
        /// More data than the limit.
        case dataTooLong
        /// Not the author's signature over this message.
        case signatureInvalid
    }

    /// Who published it.
    package let author: PeerID
    /// The author's number for it.
    package let sequence: UInt64
    /// Where it was published.
    package let topic: Topic
    /// The content; nil if the field was absent. The signature covers the encoding, so presence of an empty field is
    /// kept the way it arrived.
    package let data: [UInt8]?
    let signature: [UInt8]

    /// Wraps fields that came from a peer; the signature is not checked.
    init(author: PeerID, sequence: UInt64, topic: Topic, data: [UInt8]?, signature: [UInt8]) {
        self.author = author
        self.sequence = sequence
        self.topic = topic
        self.data = data
        self.signature = signature
    }

    /// Signs a message of `identity`.
    init(signedBy identity: Identity, sequence: UInt64, topic: Topic, data: [UInt8]) {
        author = identity.peerID
        self.sequence = sequence
        self.topic = topic
        self.data = data
        signature = identity.sign(
            Self.signedBytes(author: author, sequence: sequence, topic: topic, data: data))
    }

    /// What tells it from others.
    package var id: MessageID { MessageID(author: author, sequence: sequence) }

    /// Whether the author signed it. About as costly as all other steps of receiving together, so it comes last.
    var isSignatureValid: Bool {
        author.verifies(
            signature: signature,
            of: Self.signedBytes(author: author, sequence: sequence, topic: topic, data: data))
    }

    /// The `publish` field of an RPC with this message in canonical form: fields ascending, no key, nothing unknown.
    /// What others added to the message is not passed on.
    var publishField: [UInt8] {
        var message = ProtobufWriter()
        message.reserve((data?.count ?? 0) + topic.bytes.count + 160)
        Self.append(author: author, sequence: sequence, topic: topic, data: data, to: &message)
        message.append(signature, field: 5)
        var rpc = ProtobufWriter()
        rpc.reserve(message.bytes.count + 8)
        rpc.append(message.bytes, field: 2)
        return rpc.bytes
    }

    private static let signaturePrefix = Array("libp2p-pubsub:".utf8)

    private static func signedBytes(author: PeerID, sequence: UInt64, topic: Topic, data: [UInt8]?) -> [UInt8] {
        var writer = ProtobufWriter()
        append(author: author, sequence: sequence, topic: topic, data: data, to: &writer)
        return signaturePrefix + writer.bytes
    }

    private static func append(
        author: PeerID, sequence: UInt64, topic: Topic, data: [UInt8]?, to writer: inout ProtobufWriter
    ) {
        writer.append(author.bytes, field: 1)
        if let data { writer.append(data, field: 2) }
        writer.append(MessageID.bytes(of: sequence), field: 3)
        writer.append(topic.bytes, field: 4)
    }
}
