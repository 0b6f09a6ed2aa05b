import Checkpoint
import Compression
import Glibc
import Logging
import OuterSync
import PeerNet
import Swarm
import Transport

extension NodeDaemon {
    /// Runs the node of a home in this process until SIGINT, SIGTERM or `node stop`.
    package static func run(home: NodeHome, port: UInt16?, threads: Int?) async throws(UserError) {
        do {
            try home.checkSocketPath()
            guard home.isInitialized else {
                throw UserError("\(home.path) is no node's home", cure: "Make one with atoll init", exitCode: .noInput)
            }
            let lock = try HomeLock(home)
            let configuration = try home.loadConfiguration()
            let registry = SwarmRegistry(home: home)
            let record = try registry.active()
            let setup = try record.folder.explainingDamage {
                try NodeSetup(home: home, configuration: configuration, threads: threads, record: record)
            }
            let logger = makeLogger()
            let bodies = GossipBodies()
            let gate = ServingGate()
            var way = registry.way(into: record)
            let stored = storedPeers(record.folder, logger: logger)
            let (host, autonat, addresses) = try await openHost(
                setup, gate, configuration: configuration, port: port, bodies: bodies, bootstrap: way.bootstrap,
                stored: stored)
            let invited = Set(way.bootstrap.map(\.peer))
            way.bootstrap = firstDials(way.bootstrap, stored)
            let daemon: NodeDaemon
            let control: ControlServer
            do {
                daemon = try NodeDaemon(
                    setup: setup, host: host, autonat: autonat, logger: logger, listenAddresses: addresses,
                    way: way, invited: invited, bodies: bodies)
                gate.open(daemon)
                control = ControlServer(path: home.controlSocketPath) { line, reply in
                    await daemon.answer(line, reply: reply)
                }
                try await control.start()
                rememberPort(of: addresses, home: home, logger: logger)
            } catch {
                await host.stop()
                throw error
            }
            let places = addresses.map { "\($0)" }.joined(separator: ", ")
            logger.notice("node \(setup.identity.peerID) listens on \(places), swarm \(setup.swarmID.short)")
            let signals = SignalWaiter()
            await withDiscardingTaskGroup { group in
                group.addTask { if await signals.next() != nil { await daemon.stop() } }
                await daemon.run()
                await signals.stop()
            }
            await control.stop()
            logger.notice("stopped")
            _ = consume lock
        } catch {
            throw UserError(wrapping: error)
        }
    }

    private static func makeLogger() -> Logger {
        var logger = Logger(label: "atoll") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = getenv("ATOLL_DEBUG") == nil ? .info : .debug
        return logger
    }

    /// All interfaces, any port.
    static let defaultListenAddress = "/ip4/0.0.0.0/tcp/0"

    /// Where to try to listen, in order: only a port that a person asked for can be taken; the home's last one is a wish.
    static func listenCandidates(_ wanted: Multiaddr, home: NodeHome) -> [Multiaddr] {
        guard wanted.tcpEndpoint?.port == 0, let port = lastPort(home),
            let last = try? InterfaceAddresses.replacingPort(of: wanted, by: port)
        else { return [wanted] }
        return [last, wanted]
    }

    private static func openHost(
        _ setup: NodeSetup, _ gate: ServingGate, configuration: NodeConfiguration, port: UInt16?,
        bodies: GossipBodies, bootstrap: [PeerAddresses], stored: AddressBook
    ) async throws -> (PeerHost, AutoNATService, [Multiaddr]) {
        let wanted = try NodeHome.listenAddress(configuration.listen ?? defaultListenAddress)
        let asked = try port.map { try InterfaceAddresses.replacingPort(of: wanted, by: $0) } ?? wanted
        let candidates = port == nil ? listenCandidates(asked, home: setup.home) : [asked]
        for (index, candidate) in candidates.enumerated() {
            var hostConfiguration = PeerHostConfiguration(
                listenAddresses: [candidate], agentVersion: AtollVersion.agent, networkKey: setup.networkKey)
            hostConfiguration.uploadBytesPerSecond = configuration.upload?.bytesPerSecond
            hostConfiguration.downloadBytesPerSecond = configuration.download?.bytesPerSecond
            let host = PeerHost(identity: setup.identity, configuration: hostConfiguration)
            let autonat = AutoNATService(
                agentVersion: AtollVersion.agent, networkKey: setup.networkKey,
                limits: reachabilityLimits(listening: wanted))
            await host.adopt(stored)
            await autonat.attach(to: host)
            await host.serveClock()
            await host.acceptMessages(on: swarmProtocol, messageBytesMax: Limits.messageBytesMax)
            await host.acceptMessages(on: linkProtocol, messageBytesMax: Limits.linkMessageBytesMax)
            await setup.server.serve(on: host) { await gate.mayServe($0) }
            await host.serve(AdmissionRequest.protocolName, requestBytesMax: AdmissionRequest.byteCountMax) {
                peer, bytes in
                guard let request = AdmissionRequest(bytes) else { return nil }
                return await gate.answer(request, from: peer).map { .bytes($0.encoded) }
            }
            await host.serve(gossipBodyProtocol, requestBytesMax: Digest.byteCount) { peer, bytes in
                guard await gate.mayServe(peer), let digest = Digest(bytes: bytes), let body = await bodies[digest]
                else { return nil }
                return .bytes(body)
            }
            if setup.charter.admission == .open {
                let id = setup.swarmID.bytes
                await host.serve(openSwarmProtocol, requestBytesMax: 0) { _, _ in .bytes(id) }
            }
            await host.enableGossip(
                isForMembers: setup.charter.admission != .open, firstSequence: wallClockNanoseconds())
            let isNetworkLocal = isLocal(bootstrap, listening: wanted)
            await host.enableKademlia(
                mode: tableMode(isLocal: isNetworkLocal), isLocalNetwork: isNetworkLocal)
            do {
                let bound = try await host.start()
                return (host, autonat, bound.flatMap(InterfaceAddresses.advertised(for:)))
            } catch TransportError.addressInUse where index + 1 < candidates.count {
                await host.stop()
            } catch TransportError.addressInUse(let address) where port == nil {
                await host.stop()
                throw UserError(
                    "\(address) is in use by another process",
                    cure: "Choose another port under 'listen' in \(setup.home.configurationPath)",
                    exitCode: .unavailable)
            } catch {
                await host.stop()
                throw error
            }
        }
        preconditionFailure("the last candidate either binds or throws")
    }

    /// The port is wanted again at the next start; that is a wish, so a failure to note it is none of the node.
    private static func rememberPort(of addresses: [Multiaddr], home: NodeHome, logger: Logger) {
        guard let port = addresses.first?.tcpEndpoint?.port, port != lastPort(home) else { return }
        do { try DurableFile.write(Array("\(port)\n".utf8), to: home.portPath) } catch {
            logger.warning("the port cannot be noted: \(error)")
        }
    }

    private static func lastPort(_ home: NodeHome) -> UInt16? {
        guard let bytes = try? DurableFile.read(home.portPath, byteCountMax: 16) else { return nil }
        return UInt16(String(decoding: bytes, as: UTF8.self).filter(\.isNumber))
    }

    /// The node's state for people.
    func report() async -> NodeReport {
        let status = core.status
        let traffic = await host.traffic()
        let peers = await host.peers()
        let now = MonotonicClock().now
        var report = NodeReport(
            swarmName: setup.charter.name, swarmID: setup.swarmID.description,
            peerID: setup.identity.peerID.description, phase: status.phase.name,
            addresses: listenAddresses.map { "\($0.encapsulating(p2p: setup.identity.peerID))" },
            steps: max(meter.progress.steps, setup.recovered.progress.steps),
            tokens: max(meter.progress.tokens, setup.recovered.progress.tokens), loss: meter.loss,
            tokensPerSecond: meter.tokensPerSecond(at: now), utilisation: meter.utilisation(at: now),
            committedTokens: status.committedTokens, tokenBudget: status.tokenBudget, bytesSent: traffic.bytesSent,
            bytesReceived: traffic.bytesReceived,
            roundsFollowed: zip(status.fragments, setup.recovered.heads).reduce(0) { sum, pair in
                sum + (pair.0.headRound.value - min(pair.1.round.value, pair.0.headRound.value))
            },
            diskProblem: diskProblem,
            refusal: status.refusal.map { "\($0). \($0.cure)" },
            fragments: status.fragments.map {
                NodeReport.Fragment(round: $0.headRound.value, head: $0.head.description, closed: $0.closed)
            },
            peers: peers.map { peer in
                NodeReport.Peer(
                    peerID: peer.peerID.description, address: "\(peer.remoteAddress)", isOutbound: peer.isOutbound,
                    agent: peer.identify?.agentVersion ?? "",
                    roundTripMilliseconds: peer.roundTripTime.map { $0.inSeconds * 1000 },
                    bytesSent: peer.traffic.bytesSent, bytesReceived: peer.traffic.bytesReceived)
            })
        report.branch = core.branchID
        return report
    }
}

extension NodeStatus.Phase {
    /// The phase in the words of the status.
    var name: String {
        switch self {
        case .catchingUp: "catching-up"
        case .training: "training"
        case .closing: "closing"
        case .finished: "finished"
        }
    }
}
