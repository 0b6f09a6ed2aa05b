import Compression
import PeerNet
import SwiftProtobuf

/// What every signature and envelope of one branch of one swarm is bound to.
struct BranchContext: Hashable, Sendable {
    let swarmID: Digest
    let branch: String

    /// The bytes that are signed: a message of one kind cannot pass for one of another kind, swarm or branch.
    func statement(_ kind: SignedKind, _ body: [UInt8]) -> [UInt8] {
        var bytes = Array("atoll swarm 1 \(kind.rawValue)\0".utf8)
        bytes += swarmID.bytes
        bytes += Array(branch.utf8)
        bytes.append(0)
        return bytes + body
    }
}

/// The kinds of signed messages; the raw value is part of what is signed.
enum SignedKind: String, Hashable, Sendable {
    case plan, join, roster, result, commit, ack
    case delegation, capability, claim, welcome, revocation
    case table
    case branch, expert
}

/// The body of a signed message.
protocol SignedContent: Hashable, Sendable {
    static var kind: SignedKind { get }
    /// Decodes a body; signed parts inside it are verified too.
    init(body: [UInt8], in context: BranchContext) throws(Refusal)
    /// The one encoding of this content.
    var body: [UInt8] { get }
}

/// A content whose signature was made here or has been verified: the type is the proof.
struct Signed<Content: SignedContent>: Hashable, Sendable {
    let signer: PeerID
    let content: Content
    let body: [UInt8]
    let signature: [UInt8]

    init(_ content: Content, by identity: Identity, in context: BranchContext) {
        signer = identity.peerID
        self.content = content
        body = content.body
        signature = identity.sign(context.statement(Content.kind, body))
    }

    init(_ message: WireSigned, in context: BranchContext) throws(Refusal) {
        guard let signer = PeerID(publicKey: message.signer) else {
            throw Refusal("a \(Content.kind)'s signer is no key")
        }
        let body = array(message.body)
        let signature = array(message.signature)
        guard signer.verifies(signature: signature, of: context.statement(Content.kind, body)) else {
            throw Refusal("a \(Content.kind)'s signature does not match")
        }
        content = try Content(body: body, in: context)
        guard content.body == body else { throw Refusal("a \(Content.kind) is not in its one encoding") }
        self.signer = signer
        self.body = body
        self.signature = signature
    }

    var message: WireSigned {
        var message = WireSigned()
        message.signer = wire(signer.publicKey)
        message.body = wire(body)
        message.signature = wire(signature)
        return message
    }

    /// Identifies the content, whoever signed it.
    var digest: Digest { Digest(hashing: body) }
}

/// Encodes a message whose fields are all present; generated code fails only on missing required fields (proto2).
func encode(_ message: some SwiftProtobuf.Message) -> [UInt8] {
    guard let bytes: [UInt8] = try? message.serializedBytes() else {
        preconditionFailure("a proto3 message can always be encoded")
    }
    return bytes
}

func decode<Message: SwiftProtobuf.Message>(_ type: Message.Type, _ bytes: [UInt8]) throws(Refusal) -> Message {
    guard let message = try? Message(serializedBytes: bytes) else {
        throw Refusal("a message does not decode")
    }
    return message
}

func digest(_ bytes: some Collection<UInt8>, _ name: String) throws(Refusal) -> Digest {
    guard let digest = Digest(bytes: bytes) else { throw Refusal("\(name) is no 32-byte digest") }
    return digest
}
