import Checkpoint
import Glibc
import PeerNet
import Testing
import Transport

@testable import NodeService

/// A disk that is full: everything works but writing.
private struct FullDisk: FileLayer {
    private let system = SystemFiles()
    func open(_ path: String, _ mode: FileOpenMode) throws(FileError) -> Int32 { try system.open(path, mode) }
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, path: String) throws(FileError) -> Int {
        throw FileError(.write, path, errno: ENOSPC)
    }
    func sync(_ descriptor: Int32, path: String) throws(FileError) { try system.sync(descriptor, path: path) }
    func truncate(_ descriptor: Int32, to length: Int, path: String) throws(FileError) {
        try system.truncate(descriptor, to: length, path: path)
    }
    func close(_ descriptor: Int32) { system.close(descriptor) }
    func rename(_ old: String, to new: String) throws(FileError) { try system.rename(old, to: new) }
    func link(_ old: String, as new: String) throws(FileError) { try system.link(old, as: new) }
    func exchange(_ one: String, with other: String) throws(FileError) { try system.exchange(one, with: other) }
    func removeFile(_ path: String) throws(FileError) { try system.removeFile(path) }
    func removeFolder(_ path: String) throws(FileError) { try system.removeFolder(path) }
    func createFolder(_ path: String) throws(FileError) { try system.createFolder(path) }
    func list(_ path: String) throws(FileError) -> [String] { try system.list(path) }
}

/// A loopback address whose port is taken but not listened on: connections are refused, as by a closed firewall.
private final class ClosedPort {
    let address: Multiaddr
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, length) = (descriptor, size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        try #require(isBound, "loopback must have a free port")
        self.address = try Multiaddr("/ip4/127.0.0.1/tcp/\(UInt16(bigEndian: address.sin_port))")
    }

    deinit { close(descriptor) }
}

@Suite(.timeLimit(.minutes(1))) struct DoctorTests {
    let folder = ScratchFolder()

    /// A home whose node listens on loopback.
    private func makeHome(
        listen: String = "/ip4/127.0.0.1/tcp/0", networkKey: NetworkKeyFile? = nil
    ) throws -> NodeHome {
        let home = try NodeHome(path: folder.path + "/home")
        try home.initialize(
            NodeHome.Choices(
                listen: listen, privateNetwork: networkKey?.path,
                domains: [.init(name: "x", globs: ["/etc/hostname"])]))
        chmod(home.path, 0o755)
        return home
    }

    /// A peer as the daemon makes one, but for what is to be wrong with it.
    private func startPeer(
        _ seed: UInt8 = 1, agent: String = AtollVersion.agent, protocolVersion: String = "atoll/1.0.0",
        clockOffset: Int64 = 0, swarmProtocol: String = NodeDaemon.swarmProtocol, networkKey: NetworkKey? = nil
    ) async throws -> (PeerHost, String) {
        let listen = try Multiaddr("/ip4/127.0.0.1/tcp/0")
        let identity = try #require(Identity(seed: [UInt8](repeating: seed, count: 32)))
        let host = PeerHost(
            identity: identity,
            configuration: PeerHostConfiguration(
                listenAddresses: [listen], agentVersion: agent, protocolVersion: protocolVersion,
                networkKey: networkKey))
        await AutoNATService(
            agentVersion: agent, networkKey: networkKey, limits: NodeDaemon.reachabilityLimits(listening: listen)
        )
        .attach(to: host)
        await host.serveClock { PeerHost.wallClock() + clockOffset }
        await host.acceptMessages(on: swarmProtocol, messageBytesMax: 1000)
        let address = try #require(try await host.start().first)
        return (host, "\(address.encapsulating(p2p: host.peerID))")
    }

    /// The one fault of a report, which must be about the subject and say the words.
    private func expectFault(
        _ report: DoctorReport, _ subject: Finding.Subject, _ words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let faults = report.findings.filter { $0.level == .fault }
        #expect(faults.map(\.subject) == [subject], "\(report.text)", sourceLocation: sourceLocation)
        #expect(faults.allSatisfy { !($0.cure ?? "").isEmpty }, sourceLocation: sourceLocation)
        for word in words {
            #expect(
                faults.contains { $0.cause.contains(word) }, "\(word): \(report.text)", sourceLocation: sourceLocation)
        }
    }

    private func level(_ subject: Finding.Subject, _ report: DoctorReport) -> [Finding.Level] {
        report.findings.filter { $0.subject == subject }.map(\.level)
    }

    @Test func `nothing is wrong with a healthy node`() async throws {
        let (peer, address) = try await startPeer()
        let report = try await Doctor(home: try makeHome()).examine([address])
        #expect(!report.hasFault, "\(report.text)")
        for subject in [Finding.Subject.home, .disk, .port, .nat, .peers, .clock, .version, .processor, .memory] {
            #expect(level(subject, report) == [.ok], "\(subject): \(report.text)")
        }
        #expect(access(folder.path + "/home/doctor.try", F_OK) != 0)
        await peer.stop()
    }

    @Test func `nothing is wrong with a healthy node of a private network`() async throws {
        let file = try NetworkKeyFile.create(folder.path + "/network.key")
        let key = try NetworkKey(file: try DurableFile.read(file.path, byteCountMax: NetworkKey.fileBytesMax))
        let (peer, address) = try await startPeer(networkKey: key)
        let report = try await Doctor(home: try makeHome(networkKey: file)).examine([address])
        #expect(!report.hasFault, "\(report.text)")
        for subject in [Finding.Subject.home, .port, .peers, .clock, .version] {
            #expect(level(subject, report) == [.ok], "\(subject): \(report.text)")
        }
        await peer.stop()
    }

    @Test func `a private network's key that cannot be read is named`() async throws {
        let home = try makeHome(networkKey: try NetworkKeyFile.create(folder.path + "/network.key"))
        try DurableFile.write(Array("nonsense".utf8), to: folder.path + "/network.key")
        expectFault(try await Doctor(home: home).examine([]), .home, "is no key of a private network")
    }

    // MARK: The five faults

    @Test func `a blocked port is named`() async throws {
        let (peer, address) = try await startPeer()
        let identity = try #require(Identity(seed: [UInt8](repeating: 9, count: 32)))
        let host = PeerHost(
            identity: identity, configuration: PeerHostConfiguration(listenAddresses: [], agentVersion: "atoll/test"))
        let autonat = AutoNATService(agentVersion: "atoll/test")
        await autonat.attach(to: host)
        _ = try await host.start()
        _ = try await host.connect(to: [try Multiaddr(address)])
        let blocked = try ClosedPort()
        // What peers are told leads to a port that nobody can connect to.
        let facts = await NetworkProbe(host: host, autonat: autonat).facts(addresses: [blocked.address])
        let report = DoctorReport(NetworkFindings.reachability(facts))
        expectFault(report, .port, "\(blocked.address) is blocked", "1 peer could not connect")
        await host.stop()
        await peer.stop()
    }

    @Test func `a peer's wrong clock is named`() async throws {
        let (peer, address) = try await startPeer(clockOffset: 90_000_000_000)
        let report = try await Doctor(home: try makeHome()).examine([address])
        expectFault(report, .clock, "s behind", "\(peer.peerID)", "one of the two")
        await peer.stop()
    }

    @Test func `this machine's wrong clock is named, by what most peers say`() async throws {
        let peers = [
            try await startPeer(1), try await startPeer(2, clockOffset: -3_600_000_000_000), try await startPeer(3),
        ]
        let doctor = Doctor(
            home: try makeHome(), layer: SystemFiles(), clock: { PeerHost.wallClock() + 120_000_000_000 })
        expectFault(try await doctor.examine(peers.map(\.1)), .clock, "s ahead", "most of 3 peers")
        for peer in peers { await peer.0.stop() }
    }

    @Test func `a full disk is named`() async throws {
        let (peer, address) = try await startPeer()
        let doctor = Doctor(home: try makeHome(), layer: FullDisk(), clock: PeerHost.wallClock)
        expectFault(try await doctor.examine([address]), .disk, "no space left on device")
        await peer.stop()
    }

    @Test(arguments: ["/ip4/203.0.113.7/tcp/4001", "/dns/example.org/tcp/4001"])
    func `a bad address to listen on is named`(listen: String) async throws {
        let (peer, address) = try await startPeer()
        expectFault(
            try await Doctor(home: try makeHome(listen: listen)).examine([address]), .address, "bad address", listen)
        await peer.stop()
    }

    @Test func `a bad address to dial is named`() async throws {
        let closed = try ClosedPort()
        let report = try await Doctor(home: try makeHome()).examine(["\(closed.address)"])
        expectFault(report, .address, "bad address \(closed.address)", "connection refused")
    }

    @Test func `an address with another peer behind it is named`() async throws {
        let (peer, address) = try await startPeer()
        let other = try #require(Identity(seed: [UInt8](repeating: 8, count: 32))).peerID
        let wrong = try Multiaddr(address).encapsulating(p2p: other)
        let report = try await Doctor(home: try makeHome()).examine(["\(wrong)"])
        expectFault(report, .address, "bad address", "another peer answers", "\(peer.peerID)")
        await peer.stop()
    }

    @Test func `a version mismatch is named`() async throws {
        let (peer, address) = try await startPeer(agent: "atoll/9.0.0", protocolVersion: "atoll/9.0.0")
        let report = try await Doctor(home: try makeHome()).examine([address])
        expectFault(report, .version, "version mismatch", "\(peer.peerID)", "atoll/9.0.0", "atoll/1.0.0")
        await peer.stop()
        let (newer, newAddress) = try await startPeer(2, swarmProtocol: "/atoll/swarm/2.0.0")
        let second = try await Doctor(home: try makeHome()).examine([newAddress])
        expectFault(second, .version, "version mismatch", "/atoll/swarm/2.0.0", NodeDaemon.swarmProtocol)
        await newer.stop()
    }

    // MARK: Others

    @Test func `a taken port is named`() async throws {
        let (peer, address) = try await startPeer()
        let taken = "\(try Multiaddr(address).withoutPeerID)"
        let report = try await Doctor(home: try makeHome(listen: taken)).examine([address])
        expectFault(report, .port, "\(taken) is in use")
        await peer.stop()
    }

    @Test func `a key that others may read is named`() async throws {
        let home = try makeHome()
        chmod(home.identityPath, 0o644)
        expectFault(try await Doctor(home: home).examine([]), .home, "others may read the node's key")
    }

    @Test func `a damaged configuration is named, and a folder without a node`() async throws {
        let home = try makeHome()
        try DurableFile.write(Array("listne: 1\n".utf8), to: home.configurationPath)
        expectFault(try await Doctor(home: home).examine([]), .home, "listne")
        let report = try await Doctor(home: try NodeHome(path: folder.path + "/none")).examine([])
        #expect(level(.home, report) == [.warning] && !report.hasFault)
    }

    @Test func `a target that is neither invite nor address is refused`() async throws {
        for text in ["nonsense", "atoll1nonsense"] {
            await #expect(throws: UserError.self) { try await Doctor(home: try makeHome()).examine([text]) }
        }
    }
}
