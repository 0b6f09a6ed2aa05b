package import PeerNet

/// AutoNAT v2 over hosts: has peers try to connect to this node, and tries it for them.
package actor AutoNATService {
    package nonisolated let loop = Loop.shared
    package nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let agentVersion: String
    private let networkKey: NetworkKey?
    private var client = AutoNATClient()
    private var server: AutoNATServer

    /// Time for one address to be connected to.
    private static let connectTimeout: Duration = .seconds(3)
    /// Time for a whole dial back: connection, handshake and nonce.
    private static let dialTimeout: Duration = .milliseconds(4500)
    /// Time for a whole question; more than the server's dial takes.
    private static let checkTimeout: Duration = .seconds(6)

    /// Prepares both sides; `agentVersion` is what dial-backs tell by identify, `networkKey` that of the private network to
    /// which they keep.
    package init(
        agentVersion: String, networkKey: NetworkKey? = nil, limits: AutoNATLimits = AutoNATLimits()
    ) {
        self.agentVersion = agentVersion
        self.networkKey = networkKey
        server = AutoNATServer(limits: limits)
    }

    /// Serves both protocols on a host. Call before its `start()`.
    package func attach(to host: PeerHost) async {
        await host.serveSessions(
            AutoNATLimits.dialRequestProtocol, messageBytesMax: AutoNATLimits.messageBytesMax
        ) { session in await self.serveDialRequest(session) }
        await host.serveSessions(
            AutoNATLimits.dialBackProtocol, messageBytesMax: AutoNATLimits.messageBytesMax
        ) { session in await self.serveDialBack(session) }
    }

    // MARK: Asking

    /// Has a connected peer dial the first of `addresses` that it can and will, of a host that this is attached to.
    /// Takes six seconds at the most.
    package func check(_ addresses: [Multiaddr], by peer: PeerID, over host: PeerHost) async -> Reachability {
        let nonce = Entropy.bytes(8).reduce(0) { $0 << 8 | UInt64($1) }
        guard let opening = client.begin(addresses, nonce: nonce) else { return .undecided(.noAnswer) }
        do throws(RequestError) {
            return try await host.withSession(
                AutoNATLimits.dialRequestProtocol, to: peer, messageBytesMax: AutoNATLimits.messageBytesMax,
                within: Self.checkTimeout
            ) { (session) throws(RequestError) in
                try await session.send(opening)
                while let message = try await session.receive() {
                    switch await self.step(message, nonce) {
                    case .send(let messages): for message in messages { try await session.send(message) }
                    case .done(let result): return result
                    }
                }
                return await self.ended(nonce)
            }
        } catch {
            return client.ended(nonce)
        }
    }

    private func step(_ message: [UInt8], _ nonce: UInt64) -> AutoNATClient.Step {
        client.receive(message, for: nonce)
    }

    private func ended(_ nonce: UInt64) -> Reachability { client.ended(nonce) }

    private func serveDialBack(_ session: PeerSession) async {
        do throws(RequestError) {
            guard let message = try await session.receive() else { return }
            guard
                let answer = client.receiveDialBack(
                    message, on: .init(local: session.localAddress, remote: session.remoteAddress),
                    isOutbound: session.isOutbound)
            else {
                return await session.reset()
            }
            try await session.send(answer)
        } catch {
            // The server learns from its own end of the stream.
        }
    }

    // MARK: Answering

    private func serveDialRequest(_ session: PeerSession) async {
        guard let id = server.open(by: session.peer, observed: session.remoteAddress) else {
            return await session.reset()
        }
        defer { server.closed(id) }
        do throws(RequestError) {
            while let message = try await session.receive() {
                let dataBytes = AutoNATLimits.dialDataBytes
                let wanted = dataBytes.lowerBound + Int(Double(dataBytes.count) * Entropy.fraction())
                var actions = server.receive(message, on: id, dataBytes: wanted, at: Loop.now)
                while !actions.isEmpty {
                    switch actions.removeFirst() {
                    case .send(let message): try await session.send(message)
                    case .dial(let address, let nonce):
                        actions += server.dialed(id, await dialBack(address, nonce: nonce))
                    case .finish: return
                    case .reset: return await session.reset()
                    }
                }
            }
        } catch {
            // The client is gone.
        }
    }

    /// Dials with a key and sockets of its own, so that no connection that exists is taken for the one that is asked for.
    private func dialBack(_ address: Multiaddr, nonce: UInt64) async -> AutoNATMessage.DialStatus {
        guard let identity = Identity(seed: Entropy.bytes(32)) else { return .dialError }
        var limits = HostLimits()
        limits.connectTimeout = Self.connectTimeout
        let dialer = PeerHost(
            identity: identity,
            configuration: PeerHostConfiguration(
                listenAddresses: [], agentVersion: agentVersion, networkKey: networkKey, limits: limits))
        let deadline = StopTimer(dialer, after: Self.dialTimeout)
        defer { deadline.cancel() }
        var status = AutoNATMessage.DialStatus.dialError
        do {
            _ = try await dialer.start()
            let peer = try await dialer.connect(to: [address])
            status = .dialBackError
            try await dialer.withSession(
                AutoNATLimits.dialBackProtocol, to: peer, messageBytesMax: AutoNATLimits.messageBytesMax,
                within: Self.dialTimeout
            ) { (session) throws(RequestError) in
                try await session.send(AutoNATDialBack.message(nonce: nonce))
                guard let answer = try await session.receive(), AutoNATDialBack.isResponse(answer) else {
                    throw .reset
                }
            }
            status = .ok
        } catch {
            // Where it stopped is what the client is told.
        }
        await dialer.stop()
        return status
    }
}
