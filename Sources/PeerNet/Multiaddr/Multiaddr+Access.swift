extension Multiaddr {
    /// Where a TCP address leads.
    package enum Host: Hashable, Sendable {
        /// Four bytes.
        case ip4([UInt8])
        /// Sixteen bytes.
        case ip6([UInt8])
        /// A name to resolve, to any kind of address or to one kind.
        case dns(String, Family)

        /// Which addresses a name may resolve to.
        package enum Family: Hashable, Sendable { case any, ip4, ip6 }
    }

    /// Host and port of `/ip4|ip6|dns|dns4|dns6/…/tcp/…`, alone or followed by `/p2p/…`; nil for every other shape,
    /// relayed and web addresses included.
    package var tcpEndpoint: (host: Host, port: UInt16)? {
        let parts = parts
        guard parts.count == 2 || parts.count == 3 && parts[2].proto == .p2p, parts[1].proto == .tcp else { return nil }
        let value = parts[0].value
        let host: Host
        switch parts[0].proto {
        case .ip4: host = .ip4(value)
        case .ip6: host = .ip6(value)
        case .dns: host = .dns(String(decoding: value, as: UTF8.self), .any)
        case .dns4: host = .dns(String(decoding: value, as: UTF8.self), .ip4)
        case .dns6: host = .dns(String(decoding: value, as: UTF8.self), .ip6)
        default: return nil
        }
        return (host, UInt16(parts[1].value[0]) << 8 | UInt16(parts[1].value[1]))
    }

    /// The peer of a last `/p2p/…`; nil without one, or if its key is not Ed25519.
    package var peerID: PeerID? {
        guard let last = parts.last, last.proto == .p2p else { return nil }
        return try? PeerID(bytes: last.value)
    }

    /// Whether the address ends in `/p2p/…`, of whatever key kind.
    package var endsInPeerID: Bool { parts.last?.proto == .p2p }

    /// The address without a last `/p2p/…`.
    package var withoutPeerID: Multiaddr {
        guard endsInPeerID, let last = parts.last else { return self }
        let tail = 2 + Uvarint.encode(last.value.count).count + last.value.count
        return tail < bytes.count ? Multiaddr(validated: Array(bytes.dropLast(tail))) : self
    }

    /// The address with `/p2p/peer` at its end, in place of another one.
    package func encapsulating(p2p peer: PeerID) -> Multiaddr {
        var bytes = withoutPeerID.bytes
        Uvarint.append(MultiaddrProtocol.p2p.code, to: &bytes)
        bytes += Uvarint.encode(PeerID.byteCount) + peer.bytes
        return Multiaddr(validated: bytes)
    }

    /// Whether the address names no single host: all zeros, or multicast.
    package var isUnspecifiedOrMulticast: Bool {
        switch tcpEndpoint?.host {
        case .ip4(let bytes)?: bytes.allSatisfy { $0 == 0 } || bytes[0] >= 224
        case .ip6(let bytes)?: bytes.allSatisfy { $0 == 0 } || bytes[0] == 0xff
        default: false
        }
    }

    /// Whether the address stays on this machine.
    package var isLoopback: Bool {
        switch tcpEndpoint?.host {
        case .ip4(let bytes)?: bytes[0] == 127
        case .ip6(let bytes)?: bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
        default: false
        }
    }
}
