/// One row of the multiaddr table: a protocol's code, its text name and the form of its value.
struct MultiaddrProtocol: Hashable, Sendable {
    /// How a protocol's value is laid out in binary.
    enum Layout: Hashable, Sendable {
        /// No value.
        case none
        /// This many bytes.
        case fixed(Int)
        /// A uvarint length, then that many bytes.
        case prefixed
    }

    /// How a protocol's value is written in text.
    enum Form: Hashable, Sendable {
        case none, ip4, ip6, port, octet, name, path, peer, certificateHash, onion3
    }

    let code: UInt64
    let name: String
    let layout: Layout
    let form: Form

    private init(_ code: UInt64, _ name: String, _ layout: Layout, _ form: Form) {
        self.code = code
        self.name = name
        self.layout = layout
        self.form = form
    }

    static let ip4 = Self(4, "ip4", .fixed(4), .ip4)
    static let tcp = Self(6, "tcp", .fixed(2), .port)
    static let ip6 = Self(41, "ip6", .fixed(16), .ip6)
    static let dns = Self(53, "dns", .prefixed, .name)
    static let dns4 = Self(54, "dns4", .prefixed, .name)
    static let dns6 = Self(55, "dns6", .prefixed, .name)
    static let p2p = Self(421, "p2p", .prefixed, .peer)

    /// Every protocol that this node can carry in an address; it uses only those above.
    static let all: [MultiaddrProtocol] = [
        ip4, tcp, ip6, dns, dns4, dns6, p2p,
        Self(42, "ip6zone", .prefixed, .name), Self(43, "ipcidr", .fixed(1), .octet),
        Self(56, "dnsaddr", .prefixed, .name), Self(273, "udp", .fixed(2), .port),
        Self(280, "webrtc-direct", .none, .none), Self(281, "webrtc", .none, .none),
        Self(290, "p2p-circuit", .none, .none), Self(400, "unix", .prefixed, .path),
        Self(445, "onion3", .fixed(37), .onion3), Self(448, "tls", .none, .none),
        Self(449, "sni", .prefixed, .name), Self(454, "noise", .none, .none), Self(460, "quic", .none, .none),
        Self(461, "quic-v1", .none, .none), Self(465, "webtransport", .none, .none),
        Self(466, "certhash", .prefixed, .certificateHash), Self(477, "ws", .none, .none),
        Self(478, "wss", .none, .none), Self(480, "http", .none, .none),
        Self(481, "http-path", .prefixed, .name), Self(777, "memory", .prefixed, .name),
    ]

    private static let byCode = Dictionary(uniqueKeysWithValues: all.map { ($0.code, $0) })
    private static let byName = Dictionary(uniqueKeysWithValues: (all + [p2p.renamed("ipfs")]).map { ($0.name, $0) })

    private func renamed(_ name: String) -> Self { Self(code, name, layout, form) }

    /// The protocol with this code.
    static func code(_ code: UInt64) -> MultiaddrProtocol? { byCode[code] }

    /// The protocol with this text name; `ipfs` is the old name of `p2p`.
    static func named(_ name: String) -> MultiaddrProtocol? { byName[name].flatMap { byCode[$0.code] } }
}
