/// Bounds and times of the distributed hash table. Values without a source are ours.
package enum KademliaLimits {
    // MARK: Messages

    /// Longest message that is read. go's answers of 20 peers with every transport they speak stay far below.
    package static let messageBytesMax = 128 << 10
    /// Longest message that is sent: rust-libp2p reads no longer ones.
    static let ownMessageBytesMax = 16 << 10
    /// Keys of every kind, as go bounds those of provider records; a longer one is refused.
    static let keyBytesMax = 80
    /// Value of one record; with its keys it fits into a message.
    static let valueBytesMax = 8 << 10
    /// Providers of one answer that are read; the rest is skipped.
    static let providersPerAnswerMax = 64
    /// Addresses of one peer; the rest is skipped.
    static let addressesPerPeerMax = 8
    /// Bytes of one address; a longer one is skipped. The longest name makes 260.
    static let addressBytesMax = 300

    // MARK: Routing table

    /// Peers of one bucket, of one answer, and holders of one record (Kademlia's k).
    static let bucketSize = 20
    /// Peers of one IP group in the whole table, and in one bucket (go).
    static let groupInTableMax = 3
    static let groupInBucketMax = 2
    /// Requests in a row that a listed peer may leave unanswered; then it goes.
    static let failuresMax = 2
    /// If nobody at all answered for so long, this node may itself be cut off, and no peer goes: longer than a request.
    static let silenceTimeout: Duration = .seconds(15)
    /// A listed peer that has not answered for so long is checked.
    static let checkAfter: Duration = .seconds(15 * 60)
    /// Between two looks for peers to check.
    static let tickInterval: Duration = .seconds(60)
    /// Checks under way at once; the others wait for the next look.
    static let checksMax = 16
    /// Between two refreshes of the table (go: 10 min, rust: 5 min), and while the table is empty.
    static let refreshInterval: Duration = .seconds(600)
    static let refreshIntervalWhenEmpty: Duration = .seconds(30)
    /// Buckets beyond this prefix are refreshed by the look-up of the own id alone: a key that falls into bucket b
    /// takes 2^(b+1) hashes to find, up to sixteen times as many, in one go on the thread of all sockets. The first eight
    /// full buckets belong to a network of some ten thousand peers.
    static let refreshPrefixMax = 8
    /// Connected peers remembered, listed or not; beyond, new ones are ignored.
    static let acquaintancesMax = 1024
    /// Contacts to begin with; beyond, the rest is dropped.
    static let seedsMax = 64

    // MARK: Look-ups

    /// Requests of one look-up at once (specification's alpha).
    static let concurrency = 10
    /// From asking, the dial included, to the answer (specification).
    static let requestTimeout: Duration = .seconds(10)
    /// Requests of one look-up. An honest network of a million peers needs some 60.
    static let requestsPerLookupMax = 200
    /// Peers that one look-up remembers; beyond, the farthest unasked ones are dropped.
    static let candidatesMax = 256
    /// Look-ups under way at once; one more is refused.
    static let lookupsMax = 64
    /// Peers of one IP group that are taken from one answer.
    static let groupInAnswerMax = 2
    /// Peers told by one peer that may be asked before the first of them has answered, and that may fail before the
    /// others told by it alone are put last.
    static let unprovenMax = 3
    /// Times that one look-up asks a peer, if it is told further addresses of it after the first ones failed.
    static let attemptsPerPeerMax = 3
    /// Equal answers that end a search for a value early: half of the holders, so that a newer value which reached most
    /// of them is not missed.
    static let valueQuorum = 10
    /// Providers that one look-up collects, and that it gives at most.
    static let providersPerLookupMax = 1024
    static let providersWantedMax = 256
    /// Peers that must have told of a provider before it counts towards the number wanted: one liar cannot end a
    /// look-up by inventing enough.
    static let providerTellersMin = 3

    // MARK: Stores

    /// Provider and value records live so long (specification).
    static let recordLifetime: Duration = .seconds(48 * 3600)
    /// Addresses of providers are told for so long (go); then only the id.
    static let providerAddressLifetime: Duration = .seconds(24 * 3600)
    /// Between two publications of what this node provides (specification).
    static let republishInterval: Duration = .seconds(22 * 3600)
    /// Keys that this node publishes; one more is refused.
    static let publicationsMax = 256
    /// Keys with providers; beyond, the key farthest from this node goes.
    static let providerKeysMax = 4096
    /// Providers of one key; beyond, the one that was heard longest ago goes.
    static let providersPerKeyMax = 64
    /// Providers of one key in one IP group; beyond, the one that was heard longest ago goes.
    static let providersPerGroupMax = 3
    /// Keys of one provider; beyond, its oldest record goes.
    static let keysPerProviderMax = 256
    /// Value records and their bytes; beyond, the key farthest from this node goes.
    static let valuesMax = 1024
    static let valuesBytesMax = 4 << 20
}
