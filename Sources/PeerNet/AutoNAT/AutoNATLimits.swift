/// Names and bounds of AutoNAT v2.
package struct AutoNATLimits: Hashable, Sendable {
    /// The stream on which a client asks to be dialed.
    package static let dialRequestProtocol = "/libp2p/autonat/2/dial-request"
    /// The stream on which the server proves that it dialed.
    package static let dialBackProtocol = "/libp2p/autonat/2/dial-back"
    /// Longest message of both streams, as in go-libp2p.
    package static let messageBytesMax = 8192
    /// Addresses of one request that a server looks at.
    package static let addressesMax = 50
    /// Bytes that a server asks for before it dials an IP that is not the requester's: more than a handshake costs.
    package static let dialDataBytes = 30_000..<100_001
    /// Bytes of one message of such data.
    static let dialDataMessageBytes = 4096
    /// A shorter one, unless it is the last, wastes the server's time.
    static let dialDataMessageBytesMin = 100
    /// Requests of this node under way at once.
    static let checksMax = 64

    /// Which addresses on this machine's or its neighbours' networks a server dials: with them a stranger could have
    /// this node knock at doors that are closed to the stranger.
    package enum LocalDials: Hashable, Sendable {
        /// None.
        case refused
        /// Those with the IP from which the request came: whoever is there can already be reached.
        case toRequester
    }

    /// Whether local addresses are dialed.
    package var localDials = LocalDials.refused
    /// Whether this node has an IPv4 address to dial from.
    package var dialsIP4 = true
    /// Whether this node has an IPv6 address to dial from.
    package var dialsIP6 = true
    /// The span of time that the counts below are for.
    package var window: Duration = .seconds(60)
    /// Requests of one peer.
    package var requestsPerPeerMax = 12
    /// Requests of all peers.
    package var requestsMax = 60
    /// Dials of one group of IP addresses, whoever asks: peer ids are free, so a flood may come from many.
    package var dialsPerTargetMax = 12
    /// Requests that one peer may have open at once.
    package var openPerPeerMax = 2
    /// Requests that are open at once.
    package var openMax = 32

    /// The defaults.
    package init() {}
}
