extension Multiaddr {
    /// The group that a remote address counts in when peers of one place are limited: an IPv4 address, or the /64 of an
    /// IPv6 one, which is the least that a household gets; an IPv4 address inside an IPv6 one counts as what it is. Nil
    /// for loopback and for addresses without an IP.
    package var scoredAddress: String? {
        guard !isLoopback else { return nil }
        switch tcpEndpoint?.host {
        case .ip4(let bytes)?: return IPText.format4(bytes)
        case .ip6(let bytes)? where bytes.starts(with: Self.mappedPrefix):
            return bytes[12] == 127 ? nil : IPText.format4(Array(bytes.suffix(4)))
        case .ip6(let bytes)?: return IPText.format6(bytes.prefix(8) + [UInt8](repeating: 0, count: 8)) + "/64"
        case .dns?, nil: return nil
        }
    }

    /// What comes before an IPv4 address on sockets that take both families.
    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
}
