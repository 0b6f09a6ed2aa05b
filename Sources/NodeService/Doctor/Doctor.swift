import Checkpoint
import Glibc
import PeerNet
import Swarm
import Transport

/// `atoll doctor`: looks at all that a node needs, asks its peers what they see of it, and says what is wrong and what
/// to do about it. Changes nothing; takes about ten seconds at the most.
package struct Doctor: Sendable {
    private let home: NodeHome
    private let layer: any FileLayer
    private let clock: @Sendable () -> Int64

    /// Works on a home.
    package init(home: NodeHome) { self.init(home: home, layer: SystemFiles(), clock: PeerHost.wallClock) }

    /// `layer` is the disk and `clock` this machine's time, in nanoseconds since 1970.
    init(home: NodeHome, layer: any FileLayer, clock: @escaping @Sendable () -> Int64) {
        self.home = home
        self.layer = layer
        self.clock = clock
    }

    /// Examines everything. `targets` are invites or multiaddrs of peers to ask; with none, and no running node, those of
    /// the invite by which the node came.
    package func examine(_ targets: [String]) async throws(UserError) -> DoctorReport {
        var named: [Multiaddr] = []
        for text in targets { named += try Self.addresses(of: text) }
        let state = HomeExamination(home)
        let disk = DiskExamination(home: home, layer: layer)
        var findings = state.findings
        findings += disk.findings(parameterCount: state.parameterCount, swarmPath: state.record?.folder.path)
        findings += MachineExamination.findings(
            configuration: state.configuration, parameterCount: state.parameterCount)
        findings += AddressExamination.interfaces()
        var listen: Multiaddr?
        if let configuration = state.configuration {
            let (address, found) = AddressExamination.listenAddress(configuration, home: home)
            listen = address
            findings += found
        }
        do throws(UserError) {
            if let facts = try await NodeControl(home: home).diagnosis() {
                findings += await running(facts, networkKey: state.networkKey)
                if !named.isEmpty {
                    findings += await probe(named, areNamed: true, listen: nil, networkKey: state.networkKey)
                }
                return DoctorReport(findings)
            }
        } catch {
            // It listens there itself.
            listen = nil
            findings.append(.fault(.version, "the running node does not answer: \(error.message)", cure: error.cure))
        }
        let known = named.isEmpty ? Self.bootstrap(of: state.record) : named
        findings += await probe(
            known, areNamed: !named.isEmpty, listen: listen, networkKey: state.networkKey)
        return DoctorReport(findings)
    }

    private static func addresses(of text: String) throws(UserError) -> [Multiaddr] {
        if text.hasPrefix(Invite.prefix) {
            do { return try Invite.parse(text).bootstrap } catch { throw UserError(wrapping: error) }
        }
        do { return [try Multiaddr(text)] } catch {
            throw UserError(
                "\(text) is neither an invite nor a multiaddr: \(error)",
                cure: "Write for example /ip4/192.0.2.1/tcp/4650", exitCode: .usage)
        }
    }

    private static func bootstrap(of record: SwarmRegistry.Record?) -> [Multiaddr] {
        guard let path = record?.folder.invitePath,
            let bytes = try? DurableFile.read(path, byteCountMax: Invite.textBytesMax + 1)
        else { return [] }
        return (try? Invite.parse(String(decoding: bytes, as: UTF8.self)))?.bootstrap ?? []
    }

    // MARK: With a running node

    private func running(_ facts: NetworkFacts, networkKey: NetworkKey?) async -> [Finding] {
        var findings = NetworkFindings.all(facts)
        if let problem = facts.diskProblem {
            findings.append(
                .fault(
                    .disk, "the running node cannot write: \(problem)", cure: "Free some space; it goes on by itself"))
        }
        return findings + (await mapping(facts.contacts, networkKey: networkKey))
    }

    /// Peers whose view of one port is compared, and how long that may take.
    private static let mappedPeersMax = 3
    private static let mappingTimeout: Duration = .milliseconds(2500)

    private func mapping(_ contacts: [PeerContact], networkKey: NetworkKey?) async -> [Finding] {
        // The probe speaks without a key, so peers of a private network would not answer it.
        guard networkKey == nil else { return [] }
        let probe = MappingProbe(agentVersion: AtollVersion.agent)
        let asked = Array(contacts.prefix(Self.mappedPeersMax))
        return NetworkFindings.mapping(await probe.observe(asked, within: Self.mappingTimeout))
    }

    // MARK: Without one

    /// Dials peers as a host of its own, listening where the node would.
    private func probe(
        _ targets: [Multiaddr], areNamed: Bool, listen: Multiaddr?, networkKey: NetworkKey?
    ) async -> [Finding] {
        let autonat = AutoNATService(agentVersion: AtollVersion.agent, networkKey: networkKey)
        guard let identity = Self.freshIdentity() else { return [] }
        var findings: [Finding] = []
        // As the node itself: the home's last port is a wish, one that a person chose is not.
        let candidates = listen.map { NodeDaemon.listenCandidates($0, home: home) } ?? []
        var host = PeerHost(identity: identity, configuration: Self.configuration(listen: nil, networkKey))
        var addresses: [Multiaddr] = []
        var isListening = false
        for (index, candidate) in candidates.enumerated() {
            let listening = PeerHost(
                identity: identity, configuration: Self.configuration(listen: candidate, networkKey))
            await autonat.attach(to: listening)
            do throws(TransportError) {
                addresses = try await listening.start().flatMap(InterfaceAddresses.advertised(for:))
                host = listening
                isListening = true
                break
            } catch {
                if index + 1 == candidates.count { findings.append(Self.cannotListen(error, home: home)) }
            }
        }
        if !isListening, (try? await host.start()) == nil { return findings }
        let dials = await TargetDials(targets, over: host)
        findings += dials.findings(areNamed: areNamed)
        let contacts = dials.contacts
        let mapped = Task { await mapping(contacts, networkKey: networkKey) }
        let facts = await NetworkProbe(host: host, autonat: autonat, clock: clock).facts(addresses: addresses)
        findings += NetworkFindings.all(facts)
        findings += await mapped.value
        // A name that the resolver still looks for would hold the host; the process ends without it.
        if dials.areOver { await host.stop() }
        return findings
    }

    private static func freshIdentity() -> Identity? {
        var seed = [UInt8](repeating: 0, count: 32)
        return getentropy(&seed, seed.count) == 0 ? Identity(seed: seed) : nil
    }

    private static func configuration(
        listen: Multiaddr?, _ networkKey: NetworkKey?
    ) -> PeerHostConfiguration {
        var configuration = PeerHostConfiguration(
            listenAddresses: [listen].compactMap { $0 }, agentVersion: AtollVersion.agent, networkKey: networkKey)
        configuration.limits.connectTimeout = TargetDials.timeout
        return configuration
    }

    private static func cannotListen(_ error: TransportError, home: NodeHome) -> Finding {
        let place = "under 'listen' in \(home.configurationPath)"
        switch error {
        case .addressInUse(let address):
            return .fault(
                .port, "\(address) is in use by another process",
                cure: "End that process (ss -ltnp shows it), or choose another port \(place)")
        case .cannotListen(let address, let reason):
            let isLow = (address.tcpEndpoint?.port).map { $0 > 0 && $0 < 1024 } ?? false
            return .fault(
                .port, "cannot listen on \(address): \(reason)",
                cure: isLow
                    ? "Ports below 1024 are root's: choose another \(place)" : "Choose another address \(place)")
        default: return .fault(.address, "\(error)", cure: "Choose another address \(place)")
        }
    }
}
