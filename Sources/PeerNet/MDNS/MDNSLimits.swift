/// Bounds and times of discovery on the local network.
enum MDNSLimits {
    /// Bytes of an answer that is sent: one packet of an Ethernet.
    static let ownMessageBytesMax = 1400
    /// Answers say that they hold for so long (RFC 6762, section 10, for names that may change).
    static let timeToLive: Duration = .seconds(120)
    /// No answer of others is believed for longer.
    static let timeToLiveMax: Duration = .seconds(600)
    /// Before the first query, so that nodes started by one switch do not speak at once (section 5.2).
    static let firstQueryDelay: ClosedRange<Duration> = .milliseconds(20)...(.milliseconds(120))
    /// Between the first two queries; doubled from one to the next (section 5.2).
    static let queryIntervalMin: Duration = .seconds(1)
    /// Longest time between queries: two may be lost before an answer runs out.
    static let queryIntervalMax: Duration = .seconds(40)
    /// Before an answer, so that not everybody answers at once (section 6).
    static let answerDelay: ClosedRange<Duration> = .milliseconds(20)...(.milliseconds(120))
    /// Between two answers, however many ask (section 6).
    static let answerInterval: Duration = .seconds(1)
    /// Peers remembered; beyond, new ones are ignored until one runs out.
    static let peersMax = 256
    /// Addresses of one peer; the rest is ignored.
    static let addressesPerPeerMax = 8
    /// Text records that are read of one message: rust-libp2p sends one for each address.
    static let textRecordsMax = 32
    /// Messages that are read, per second, on average and at once; the rest is ignored.
    static let messagesPerSecond = 50
    static let messagesBurst = 200
    /// Letters of the name that this node answers under (libp2p/specs `discovery/mdns`).
    static let nameLength = 32
}
