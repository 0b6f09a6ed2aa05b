/// Bounds of what one peer can make this node hold or do by pubsub. Counts beyond a limit are left out; a message that
/// breaks a limit of bytes is refused whole.
enum PubsubLimits {
    /// One RPC, as go-libp2p and py-libp2p have it.
    static let rpcBytesMax = 1 << 20
    /// The control part of one RPC: twice what 5000 ids take.
    static let controlBytesMax = 512 << 10
    /// Subscriptions of one RPC.
    static let subscriptionsMax = 256
    /// Messages of one RPC.
    static let messagesMax = 4096
    /// Ids of each kind (IHAVE, IWANT, IDONTWANT) in one RPC.
    static let controlIDsMax = 5000
    /// IHAVE, GRAFT and PRUNE entries of one RPC, each kind.
    static let controlEntriesMax = 128
    /// Peers that one PRUNE may suggest.
    static let exchangedPeersMax = 16
    /// Topics that are remembered of one peer.
    static let topicsPerPeerMax = 64
    /// Topics of our own, subscribed and published to.
    static let ownTopicsMax = 256

    /// Ids that have been seen and are remembered: about 8 MiB.
    static let seenMax = 65_536
    /// Messages that wait for the application's verdict, in all and from one peer. The peer's share is small, so that
    /// one peer cannot keep others' messages out.
    static let pendingMax = 2048
    static let pendingBytesMax = 16 << 20
    static let pendingPerPeerMax = 256
    static let pendingPerPeerBytesMax = 4 << 20
    /// Messages kept for IWANT.
    static let cachedMax = 8192
    static let cachedBytesMax = 16 << 20
    /// Peers that one topic's backoffs remember; the one that ends first is forgotten.
    static let backoffsPerTopicMax = 2048
    /// Outstanding promises; further ones are not remembered.
    static let promisesMax = 8192
    /// Ids that one peer does not want.
    static let unwantedMax = 512
    /// Scores kept of peers that left; the least bad is forgotten.
    static let retainedScoresMax = 1024

    /// Bytes queued for one peer, with about a hundred for each entry's bookkeeping.
    static let queueBytesMax = 2 << 20
    /// Bytes handed to the driver for one peer and not yet written; more waits in the queue, where it can be dropped.
    static let inFlightBytesMax = 128 << 10
    /// Entries are packed into RPCs up to this size, which every implementation accepts (rust: 64 KiB).
    static let packedBytesMax = 60 << 10
    /// Control packed into one RPC (rust: 16 KiB).
    static let packedControlBytesMax = 15 << 10
}
