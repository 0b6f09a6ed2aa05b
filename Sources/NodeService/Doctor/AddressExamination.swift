import PeerNet

/// Looks at this machine's network: interfaces, the way out, and the address to listen on.
enum AddressExamination {
    /// Interfaces and the default route.
    static func interfaces() -> [Finding] {
        let all = InterfaceAddresses.interfaces()
        let outward = all.filter { !$0.isLoopback }
        guard !outward.isEmpty else {
            return [
                .warning(
                    .interfaces, "no network interface but loopback has an address",
                    cure: "Connect the machine to a network: ip address shows its interfaces")
            ]
        }
        let list = outward.compactMap { interface in
            Multiaddr(ipBytes: interface.ip, tcpPort: 0).map { "\(interface.name) \($0)".replacing("/tcp/0", with: "") }
        }.joined(separator: ", ")
        guard hasDefaultRoute() else {
            return [
                .warning(
                    .interfaces, "no default route: only the networks of \(list) can be reached",
                    cure: "Set a gateway, unless all peers are on these networks: ip route shows the routes")
            ]
        }
        return [.ok(.interfaces, "\(list), with a default route")]
    }

    private static func hasDefaultRoute() -> Bool {
        let ip4 = SystemText.lines("/proc/net/route").dropFirst().contains { line in
            let fields = line.split(whereSeparator: \.isWhitespace)
            return fields.count > 7 && fields[1] == "00000000" && fields[7] == "00000000"
        }
        let ip6 = SystemText.lines("/proc/net/ipv6_route").contains { line in
            let fields = line.split(whereSeparator: \.isWhitespace)
            return fields.count > 9 && fields[0].allSatisfy { $0 == "0" } && fields[1] == "00" && fields[9] != "lo"
        }
        return ip4 || ip6
    }

    /// The address to listen on, and what is wrong with it; nil if it cannot be used at all.
    static func listenAddress(_ configuration: NodeConfiguration, home: NodeHome) -> (Multiaddr?, [Finding]) {
        let text = configuration.listen ?? NodeDaemon.defaultListenAddress
        let place = "'listen' in \(home.configurationPath)"
        let address: Multiaddr
        do throws(UserError) { address = try NodeHome.listenAddress(text) } catch {
            return (nil, [.fault(.address, "bad address under \(place): \(error.message)", cure: error.cure)])
        }
        let cure =
            "Write /ip4/0.0.0.0/tcp/\(address.tcpEndpoint?.port ?? 0) under \(place), or an address of this machine"
        guard let host = address.tcpEndpoint?.host else { return (nil, []) }
        let ip: [UInt8]
        switch host {
        case .dns:
            return (nil, [.fault(.address, "bad address: \(text) is a name, and cannot be listened on", cure: cure)])
        case .ip4(let bytes), .ip6(let bytes): ip = bytes
        }
        let isAny = ip.allSatisfy { $0 == 0 }
        let all = InterfaceAddresses.interfaces()
        // The whole of 127.0.0.0/8 is this machine.
        guard isAny || all.contains(where: { $0.ip == ip }) || ip.count == 4 && ip[0] == 127 else {
            let own = all.compactMap { Multiaddr(ipBytes: $0.ip, tcpPort: address.tcpEndpoint?.port ?? 0) }
            let cause = "bad address: \(text) is to be listened on, but no interface of this machine has it"
            return (nil, [.fault(.address, cause, cure: "\(cure): \(own.map { "\($0)" }.joined(separator: ", "))")])
        }
        let advertised = InterfaceAddresses.advertised(for: address)
        if advertised.allSatisfy(\.isLoopback) {
            let cause = "\(text) is loopback: no other machine can connect"
            return (address, [.warning(.address, cause, cure: cure)])
        }
        let reach =
            advertised.allSatisfy(\.isLocal) ? "private addresses: the internet needs a forwarded port" : "public"
        return (address, [.ok(.address, "listens on \(text) (\(reach))")])
    }
}
