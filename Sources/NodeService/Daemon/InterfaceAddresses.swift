import Glibc
import PeerNet

/// The addresses under which others may reach a listening socket.
enum InterfaceAddresses {
    /// The address itself, or one per interface where it is unspecified; loopback only if there is nothing else.
    static func advertised(for bound: Multiaddr) -> [Multiaddr] {
        guard bound.isUnspecifiedOrMulticast, let port = bound.tcpEndpoint?.port else { return [bound] }
        let wantsIP4 = "\(bound)".hasPrefix("/ip4/")
        let all = interfaces().filter { ($0.ip.count == 4) == wantsIP4 }
        let reachable = all.filter { !$0.isLoopback }
        return (reachable.isEmpty ? all : reachable).compactMap { Multiaddr(ipBytes: $0.ip, tcpPort: port) }
    }

    /// The same address with another TCP port.
    static func replacingPort(of address: Multiaddr, by port: UInt16) throws(MultiaddrError) -> Multiaddr {
        guard let endpoint = address.tcpEndpoint else { return address }
        return try Multiaddr("\(address)".replacing("/tcp/\(endpoint.port)", with: "/tcp/\(port)", maxReplacements: 1))
    }

    /// An address of an interface that is up.
    struct Interface {
        var name: String
        var ip: [UInt8]
        var isLoopback: Bool
    }

    /// All of them, without link-local IPv6 ones.
    static func interfaces() -> [Interface] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [Interface] = []
        var entry = list
        while let current = entry {
            let flags = current.pointee.ifa_flags
            if flags & UInt32(IFF_UP) != 0, let address = current.pointee.ifa_addr {
                let name = String(cString: current.pointee.ifa_name)
                let isLoopback = flags & UInt32(IFF_LOOPBACK) != 0
                switch Int32(address.pointee.sa_family) {
                case AF_INET:
                    let ip = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                        withUnsafeBytes(of: $0.pointee.sin_addr) { Array($0) }
                    }
                    found.append(Interface(name: name, ip: ip, isLoopback: isLoopback))
                case AF_INET6:
                    let ip = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                        withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) }
                    }
                    // Link-local addresses mean nothing without a zone.
                    if !(ip[0] == 0xFE && ip[1] & 0xC0 == 0x80) {
                        found.append(Interface(name: name, ip: ip, isLoopback: isLoopback))
                    }
                default: break
                }
            }
            entry = current.pointee.ifa_next
        }
        return found
    }
}
