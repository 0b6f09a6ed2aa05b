/// Addresses that one owner usually holds together, so that peer ids, which are free, do not count as many peers.
package enum IPGroup: Hashable, Sendable {
    /// The upper 24 bits of an IPv4 address.
    case ip4(UInt32)
    /// The upper 48 bits of an IPv6 address.
    case ip6(UInt64)
    /// The last two labels of a name, in lower case: subdomains are as free as peer ids.
    case name(String)
}

extension Multiaddr {
    /// The group of a TCP address; nil for other shapes.
    package var ipGroup: IPGroup? { tcpEndpoint?.host.ipGroup }

    /// Whether a TCP address leads to this machine or its own network: loopback, private, link-local, carrier-grade
    /// NAT, or a name below `localhost` or `local`.
    package var isLocal: Bool { tcpEndpoint?.host.isLocal ?? false }

    /// Whether the address names one host and port that could be dialed over TCP.
    package var isDialable: Bool {
        guard let (host, port) = tcpEndpoint else { return false }
        return port > 0 && host.isSingle
    }
}

extension Multiaddr.Host {
    /// An IPv4 address in IPv6 form (RFC 4291, 2.5.5.2) is judged as what it leads to.
    private var plain: Self {
        if case .ip6(let bytes) = self, bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff {
            return .ip4(Array(bytes.suffix(4)))
        }
        return self
    }

    /// The group that it is of.
    var ipGroup: IPGroup {
        switch plain {
        case .ip4(let bytes): .ip4(bytes.prefix(3).reduce(0) { $0 << 8 | UInt32($1) })
        case .ip6(let bytes): .ip6(bytes.prefix(6).reduce(0) { $0 << 8 | UInt64($1) })
        case .dns(let name, _): .name(name.lowercased().split(separator: ".").suffix(2).joined(separator: "."))
        }
    }

    /// Whether it is this machine or on its own network.
    var isLocal: Bool {
        switch plain {
        case .ip4(let bytes):
            switch (bytes[0], bytes[1]) {
            case (127, _), (10, _), (192, 168), (169, 254): true
            case (172, let second): second & 0xf0 == 16
            case (100, let second): second & 0xc0 == 64
            default: false
            }
        case .ip6(let bytes):
            bytes[0] & 0xfe == 0xfc || bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
                || bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
        case .dns(let name, _):
            ["localhost", "local"].contains(name.lowercased().split(separator: ".").last.map { String($0) } ?? "")
        }
    }

    /// Whether it may be one host: not unspecified (0.0.0.0/8 on this host means the same) and not multicast.
    var isSingle: Bool {
        switch plain {
        case .ip4(let bytes): bytes[0] != 0 && bytes[0] < 224
        case .ip6(let bytes): bytes[0] != 0xff && !bytes.allSatisfy { $0 == 0 }
        case .dns: true
        }
    }
}
