/// Why bytes of a pubsub stream are not an RPC; the stream that brought them is reset, and nothing more.
package enum RPCFault: Error, Hashable, Sendable {
    /// Longer than this node accepts.
    case tooLong(bytes: UInt64, bytesMax: Int)
    /// The length before the message is not a shortest-form uvarint.
    case lengthMalformed
    /// Not protobuf.
    case notProtobuf
    /// More control bytes than the limit.
    case controlTooLong(bytesMax: Int)
}

/// One decoded RPC of a peer. Nothing in it is trusted: signatures are unchecked and peers unknown.
struct PubsubRPC: Equatable, Sendable {
    /// A topic that the peer begins or ceases to follow.
    struct Subscription: Equatable, Sendable {
        let topic: Topic
        let isSubscribed: Bool
    }

    /// A message, or why it is none.
    enum Published: Equatable, Sendable {
        case message(PubsubMessage)
        case invalid(PubsubMessage.Fault, topic: Topic?)
    }

    /// Ids that the peer has (IHAVE).
    struct Advertisement: Equatable, Sendable {
        let topic: Topic
        let ids: [MessageID]
    }

    /// The peer takes us out of its mesh.
    struct Prune: Equatable, Sendable {
        let topic: Topic
        let peers: [SuggestedPeer]
        let backoffSeconds: UInt64
    }

    /// A peer that a PRUNE suggests instead, with its unverified record.
    struct SuggestedPeer: Equatable, Sendable {
        let peer: PeerID
        let envelope: [UInt8]?
    }

    var subscriptions: [Subscription] = []
    var published: [Published] = []
    var have: [Advertisement] = []
    var want: [MessageID] = []
    var graft: [Topic] = []
    var prune: [Prune] = []
    var dontWant: [MessageID] = []
}
