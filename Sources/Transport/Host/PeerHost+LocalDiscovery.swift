import CUV
import Glibc
import PeerNet

/// Multicast DNS on this machine's networks: state machine, timer, and a socket for each address family.
struct LocalDiscovery {
    /// A socket, the group that it sends to, and the interfaces that it has joined the group on.
    struct Socket {
        let handle: DatagramHandle
        let group: SocketAddress
        let groupText: String
        let isIPv6: Bool
        var joined: Set<String> = []
    }

    /// Addresses that share a link with one of this machine's.
    struct Subnet: Hashable {
        let address: [UInt8]
        let mask: [UInt8]

        func contains(_ ip: [UInt8]) -> Bool {
            ip.count == address.count && mask.count == address.count
                && ip.indices.allSatisfy { (ip[$0] ^ address[$0]) & mask[$0] == 0 }
        }
    }

    /// An interface that takes part: as libuv's multicast calls name it, and what is on its link.
    struct Interface: Hashable {
        let name: String
        let subnet: Subnet
    }

    var machine: MDNSDiscovery
    /// What is on the links of the interfaces that take part.
    var subnets: Set<Subnet> = []
    var timer: TimerHandle?
    var sockets: [Socket] = []
    var isPerforming = false

    init(machine: MDNSDiscovery) { self.machine = machine }

    /// Whether a datagram's source is on the link (RFC 6762, section 11). The sockets also get what is sent to this machine
    /// from afar, and who is not here has nothing to say about here. The source's port is not judged: rust-libp2p answers
    /// from any port, and whoever is on the link can have port 5353 as well.
    func isOnLink(_ ip: [UInt8]) -> Bool {
        let isLinkLocal =
            ip.count == 4 ? ip[0] == 169 && ip[1] == 254 : ip.count == 16 && ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
        return isLinkLocal || subnets.contains { $0.contains(ip) }
    }
}

/// Finds peers on the local network and lets them find this host.
extension PeerHost {
    private static let multicastPort: UInt16 = 5353

    /// Starts multicast DNS; found peers come as `.discovered`. Call after `start()`. Throws if no interface takes part.
    package func discoverLocally() throws(TransportError) {
        guard state == .running, localDiscovery == nil else { return }
        localDiscovery = LocalDiscovery(
            machine: MDNSDiscovery(
                peer: peerID, addresses: announcedAddresses(), seed: Entropy.number(), at: Loop.now))
        var reasons: [String] = []
        let zeros = [UInt8](repeating: 0, count: 16)
        let families: [(any: [UInt8], group: [UInt8], text: String)] = [
            ([0, 0, 0, 0], [224, 0, 0, 251], "224.0.0.251"),
            (zeros, [0xff, 0x02] + zeros.prefix(13) + [0xfb], "ff02::fb"),
        ]
        for family in families {
            if let reason = openMulticast(any: family.any, group: family.group, text: family.text) {
                reasons.append(reason)
            }
        }
        guard localDiscovery?.sockets.isEmpty == false else {
            localDiscovery = nil
            throw .socket(
                operation: "listen for multicast DNS on", path: "port \(Self.multicastPort)",
                reason: reasons.joined(separator: "; "))
        }
        lookAtLinks()
        driveLocalDiscovery()
    }

    /// Sees which links the machine is on.
    func lookAtLinks() {
        guard localDiscovery != nil else { return }
        let interfaces = [false, true].flatMap { Self.multicastInterfaces(isIPv6: $0) }
        localDiscovery?.subnets = Set(interfaces.map(\.subnet))
    }

    /// This node listens elsewhere now.
    func addressesChangedLocally(at now: Moment) {
        localDiscovery?.machine.setAddresses(announcedAddresses(), at: now)
        driveLocalDiscovery()
    }

    /// Opens the socket of one family; the reason if that fails.
    private func openMulticast(any: [UInt8], group: [UInt8], text: String) -> String? {
        let isIPv6 = group.count == 16
        guard let anyAddress = SocketAddress(ipBytes: any, port: Self.multicastPort),
            let groupAddress = SocketAddress(ipBytes: group, port: Self.multicastPort),
            let handle = DatagramHandle(on: loop)
        else { return "no file descriptor is left" }
        openHandles += 1
        handle.onClosed = { self.handleClosed() }
        var status = handle.bind(to: anyAddress, isIPv6: isIPv6)
        if status == 0 { status = handle.startReceiving() }
        guard status == 0 else {
            handle.close()
            return StreamHandle.reason(status)
        }
        handle.limitToLink()
        handle.onDatagram = { bytes, source in self.receivedMulticast(bytes, from: source) }
        var socket = LocalDiscovery.Socket(handle: handle, group: groupAddress, groupText: text, isIPv6: isIPv6)
        joinInterfaces(&socket)
        guard !socket.joined.isEmpty else {
            handle.close()
            return "no interface takes multicast"
        }
        localDiscovery?.sockets.append(socket)
        return nil
    }

    /// Joins the group on interfaces that came since. The system forgets those that went, and so must this: one that comes
    /// back is to be joined again.
    func joinInterfaces(_ socket: inout LocalDiscovery.Socket) {
        let present = Self.multicastInterfaces(isIPv6: socket.isIPv6).map(\.name)
        socket.joined.formIntersection(present)
        for interface in present where !socket.joined.contains(interface) {
            if socket.handle.join(socket.groupText, interface: interface) == 0 { socket.joined.insert(interface) }
        }
    }

    /// Interfaces that take part; loopback only if there is no other.
    private static func multicastInterfaces(isIPv6: Bool) -> [LocalDiscovery.Interface] {
        var list: UnsafeMutablePointer<uv_interface_address_t>?
        var count: CInt = 0
        guard uv_interface_addresses(&list, &count) == 0, let list else { return [] }
        defer { uv_free_interface_addresses(list, count) }
        var outer: [LocalDiscovery.Interface] = []
        var inner: [LocalDiscovery.Interface] = []
        for index in 0..<Int(count) {
            let entry = list[index]
            guard let ip = ipBytes(of: entry.address), ip.count == (isIPv6 ? 16 : 4) else { continue }
            let name =
                isIPv6 ? "::%" + String(cString: entry.name) : ip.map { String($0) }.joined(separator: ".")
            // A mask may come without its family, so it is read by that of the address.
            let mask = withUnsafeBytes(of: entry.netmask) { raw in
                isIPv6
                    ? withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { Array($0) }
                    : withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in.self).sin_addr) { Array($0) }
            }
            let interface = LocalDiscovery.Interface(name: name, subnet: .init(address: ip, mask: mask))
            if entry.is_internal != 0 { inner.append(interface) } else { outer.append(interface) }
        }
        return outer.isEmpty ? inner : outer
    }

    private static func ipBytes<Address>(of address: Address) -> [UInt8]? {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0)?.ipBytes }
        }
    }

    func receivedMulticast(_ bytes: UnsafeRawBufferPointer, from source: SocketAddress) {
        guard state == .running, let ip = source.ipBytes, localDiscovery?.isOnLink(ip) == true else { return }
        localDiscovery?.machine.receive(Array(bytes), at: Loop.now)
        driveLocalDiscovery()
    }

    private func driveLocalDiscovery() {
        guard state == .running, localDiscovery?.isPerforming == false else { return }
        localDiscovery?.isPerforming = true
        while let outputs = localDiscovery?.machine.takeOutputs(), !outputs.isEmpty {
            for output in outputs {
                switch output {
                case .multicast(let bytes): multicast(bytes)
                case .discovered(let contact): emit(.discovered(contact))
                case .expired: break
                }
            }
        }
        localDiscovery?.isPerforming = false
        guard let deadline = localDiscovery?.machine.nextDeadline else { return }
        if localDiscovery?.timer == nil {
            openHandles += 1
            localDiscovery?.timer = TimerHandle(on: loop) { self.localDiscoveryTimerFired() }
        }
        localDiscovery?.timer?.set(deadline)
    }

    private func localDiscoveryTimerFired() {
        localDiscovery?.machine.advance(at: Loop.now)
        driveLocalDiscovery()
    }

    private func multicast(_ bytes: [UInt8]) {
        for index in localDiscovery?.sockets.indices ?? 0..<0 {
            guard var socket = localDiscovery?.sockets[index] else { return }
            joinInterfaces(&socket)
            for interface in socket.joined { socket.handle.send(bytes, to: socket.group, interface: interface) }
            localDiscovery?.sockets[index] = socket
        }
    }

    /// Says good-bye and closes the sockets.
    func stopLocalDiscovery() {
        guard localDiscovery != nil else { return }
        localDiscovery?.machine.stop()
        for output in localDiscovery?.machine.takeOutputs() ?? [] {
            if case .multicast(let bytes) = output { multicast(bytes) }
        }
        localDiscovery?.timer?.close { self.handleClosed() }
        for socket in localDiscovery?.sockets ?? [] { socket.handle.close() }
        localDiscovery = nil
    }
}
