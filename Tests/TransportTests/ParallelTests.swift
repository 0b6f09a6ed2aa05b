import Testing

@testable import PeerNet
@testable import Transport

@Suite("Several connections to one peer", .serialized, .timeLimit(.minutes(1)))
struct ParallelTests {
    private static let bulk = "/test/bulk"

    /// A giver behind a relay that gives each connection a link of its own, and a taker.
    private struct Scene {
        let giver: PeerHost
        let taker: PeerHost
        let relay: ShapedRelay

        init(bytesPerSecond: Double) async throws {
            var limits = HostLimits()
            limits.parallel.period = .milliseconds(750)
            giver = makeHost(1)
            taker = makeHost(2, limits: limits)
            let block = [UInt8](repeating: 7, count: 128 << 10)
            await giver.serve(bulk, requestBytesMax: 1) { _, _ in .bytes(block) }
            let address = try await giver.start()[0]
            let shape = LinkShape(
                bytesPerSecond: bytesPerSecond, oneWayDelay: .milliseconds(10), queue: .milliseconds(20))
            relay = ShapedRelay(to: address, shape: shape, loop: Loop.shared)
            let relayed = try await relay.start()
            _ = try await taker.start()
            _ = try await taker.connect(to: [relayed.encapsulating(p2p: giver.peerID)])
            _ = await taker.first { if case .identified = $0 { true } else { nil } }
        }

        /// Fetches eight responses at once, again and again, until `isEnough`.
        func fetch(until isEnough: @escaping @Sendable () async -> Bool) async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (taker, peer) = (taker, giver.peerID)
                for _ in 0..<8 {
                    group.addTask {
                        while await !isEnough() {
                            let bytes = try await taker.request(
                                [1], to: peer, on: bulk, responseBytesMax: 128 << 10)
                            #expect(bytes.count == 128 << 10)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }

        func end() async -> Bool {
            await relay.stop()
            return await stop(giver, taker)
        }
    }

    @Test func whereOneCannotFillTheLinkMoreAreOpenedAndUsed() async throws {
        let scene = try await Scene(bytesPerSecond: 1_000_000)
        let (giver, taker) = (scene.giver, scene.taker)
        try await scene.fetch {
            let loads = await taker.parallelLoads(giver.peerID)
            return loads.count == 3 && loads.allSatisfy { $0 > 300_000 }
        }
        // The other side knows them for what they are: its first connection was not replaced.
        #expect(await giver.parallelLoads(taker.peerID).count == 3)
        #expect(await giver.connections(of: taker.peerID) == 4)
        #expect(await giver.peers().count == 1)
        // When the first one goes, another takes its place, and requests go on.
        await giver.dropFirstLink(of: taker.peerID)
        while await giver.connections(of: taker.peerID) != 3 { await Task.yield() }
        while await taker.connections(of: giver.peerID) != 3 { await Task.yield() }
        let bytes = try await taker.request([1], to: giver.peerID, on: Self.bulk, responseBytesMax: 128 << 10)
        #expect(bytes.count == 128 << 10)
        // The two that are left go when they are not needed: each look closes one, and marks the next.
        for minute in 1...4 { await taker.tuneParallel(at: Loop.now + .seconds(61 * minute)) }
        while await taker.connections(of: giver.peerID) != 1 { await Task.yield() }
        await taker.disconnect(giver.peerID, reason: "done")
        while await giver.connectionCount > 0 { await Task.yield() }
        #expect(await scene.end())
    }

    @Test func anAdditionalOneThatBecameTheFirstIsGoneWhenItEnds() async throws {
        let (giver, taker) = (makeHost(1), makeHost(2))
        try await join(taker, giver)
        let peer = giver.peerID
        _ = await taker.connected()
        let address = try #require(await taker.peers().first?.remoteAddress)
        // The first connection goes while the additional one is being authenticated.
        let promoted = await taker.dialAgain(address, of: peer, asParallel: true, cuttingFirst: true)
        #expect(await taker.connected() == peer)
        // A third one supersedes it.
        let newest = await taker.dialAgain(address, of: peer, asParallel: false)
        #expect(promoted && newest)
        await taker.dropRetiring(of: peer)
        #expect(await taker.connections(of: peer) == 1)
        await taker.dropFirstLink(of: peer)
        #expect(await taker.connections(of: peer) == 0)
        #expect(await stop(giver, taker))
    }

    @Test func onlyLargeResponsesAreMeasured() async throws {
        // Without additional connections nobody takes the count.
        var limits = HostLimits()
        limits.parallel.additionalMax = 0
        let (giver, taker) = (makeHost(1), makeHost(2, limits: limits))
        await giver.serve(Self.bulk, requestBytesMax: 1) { _, _ in .bytes([UInt8](repeating: 7, count: 1000)) }
        try await join(taker, giver)
        for bytesMax in [1000, 64 << 10, 128 << 10] {
            _ = try await taker.request([1], to: giver.peerID, on: Self.bulk, responseBytesMax: bytesMax)
        }
        #expect(await taker.measuredBytes(of: giver.peerID) == 1000)
        #expect(await stop(giver, taker))
    }

    @Test func aSocketThatCannotBeReadIsAFailedTrial() async throws {
        let (giver, taker) = (makeHost(1), makeHost(2))
        try await join(taker, giver)
        await taker.tryUnconnectedSocket(with: giver.peerID)
        #expect(await taker.isTryingParallel(giver.peerID) == false)
        #expect(await taker.peers().count == 1)
        #expect(await stop(giver, taker))
    }

    @Test func aTrialEndsBeforeItsAnnouncementDoes() async throws {
        let (giver, taker) = (makeHost(1), makeHost(2))
        try await join(taker, giver)
        // The one place in the listener's queue is taken, so that the system answers nobody else.
        let listener = try RawListener(backlog: 0)
        defer { listener.close() }
        let address = try Multiaddr("/ip4/127.0.0.1/tcp/\(listener.port)")
        let first = try RawSocket(to: address)
        defer { first.close() }
        await taker.tryParallel(at: address, with: giver.peerID)
        await taker.abandonLateParallelDials(at: Loop.now)
        #expect(await taker.connectingCount == 1)
        await taker.abandonLateParallelDials(at: Loop.now + .seconds(10))
        while await taker.isTryingParallel(giver.peerID) { await Task.yield() }
        #expect(await taker.connectingCount == 0)
        #expect(await stop(giver, taker))
    }

    @Test(arguments: [false, true]) func anAnnouncementIsOfNoUseOnceTheFirstConnectionIsSilent(isSilent: Bool)
        async throws
    {
        let giver = makeHost(1)
        let address = try await giver.start()[0]
        let first = try RawPeer(to: address, seed: 9)
        #expect(await first.secure())
        let opened = first.connection.openStream(PeerHost.parallelProtocol, priority: .control, at: Loop.now)
        let stream = try #require(opened)
        first.connection.write([1], to: stream)
        first.connection.finish(stream)
        #expect(await first.run { $0.contains(.streamData(stream, [1])) })
        let peer = try #require(await giver.peers().first?.peerID)
        let firstID = await giver.firstLink(of: peer)
        // What is still on its way would count as a sign of life.
        while await giver.peers().first?.traffic.bytesReceived != UInt64(first.sent.count) { await Task.yield() }
        await giver.setHeard(of: peer, before: isSilent ? .seconds(2) : .seconds(-60))
        let second = try RawPeer(to: address, seed: 9)
        #expect(await second.secure())
        while await giver.parallelLoads(peer).isEmpty, await giver.firstLink(of: peer) == firstID { await Task.yield() }
        #expect(await giver.parallelLoads(peer).isEmpty == isSilent)
        first.close()
        second.close()
        #expect(await stop(giver))
    }

    @Test func anAnnouncementIsGrantedUpToTheLimit() async throws {
        let scene = try await Scene(bytesPerSecond: 10_000_000)
        let (giver, taker) = (scene.giver, scene.taker)
        let answer = try await taker.request([9], to: giver.peerID, on: PeerHost.parallelProtocol, responseBytesMax: 1)
        #expect(answer == [3], "no more than the limit")
        #expect(await scene.end())
    }
}

extension PeerHost {
    /// What each additional connection to a peer has received.
    func parallelLoads(_ peer: PeerID) -> [UInt64] { entries[peer]?.parallel.map(\.traffic.bytesReceived) ?? [] }

    /// All connections to a peer.
    func connections(of peer: PeerID) -> Int { entries[peer]?.links.count ?? 0 }

    /// Whether a trial of one more connection has not come to its end.
    func isTryingParallel(_ peer: PeerID) -> Bool {
        if case .opening? = entries[peer]?.tuner?.phase { true } else { false }
    }

    var connectingCount: Int { connecting.count }

    /// Lets the tuner of a peer ask for one more connection.
    private func askForOneMore(_ peer: PeerID) {
        var tuner = ParallelTuner()
        for step in 0..<2 {
            _ = tuner.sample(
                bytes: 1, isBusy: true, roundTrip: .milliseconds(20), at: Loop.now + .seconds(10 * step))
        }
        entries[peer]?.tuner = tuner
        precondition(isTryingParallel(peer))
    }

    /// A trial whose socket breaks at once.
    func tryUnconnectedSocket(with peer: PeerID) {
        askForOneMore(peer)
        if let handle = makeHandle(), let address = entries[peer]?.link.remoteAddress {
            authenticateParallel(handle, address, of: peer)
        }
    }

    /// A trial at an address.
    func tryParallel(at address: Multiaddr, with peer: PeerID) {
        askForOneMore(peer)
        if let target = SocketAddress(address) { dialParallel(target, address, of: peer) }
    }

    /// Bytes of responses since the tuner last decided.
    func measuredBytes(of peer: PeerID) -> Int? { entries[peer]?.largeBytes }

    func firstLink(of peer: PeerID) -> UInt64? { entries[peer]?.link.id }

    /// Pretends that the first connection to a peer was last heard from a while ago, or just now.
    func setHeard(of peer: PeerID, before age: Duration) { entries[peer]?.link.heardAt = Loop.now + (.zero - age) }

    /// Opens one more connection to a connected peer; returns whether it was authenticated.
    func dialAgain(
        _ address: Multiaddr, of peer: PeerID, asParallel: Bool, cuttingFirst: Bool = false
    ) async -> Bool {
        guard let target = SocketAddress(address), let handle = makeHandle() else { return false }
        return await withCheckedContinuation { continuation in
            handle.connect(to: target) { _ in
                let link = self.startLink(
                    handle, id: self.newID(), address: address, expectedPeer: peer, isOutbound: true)
                link.isParallel = asParallel
                link.onSecured = { result in
                    continuation.resume(returning: (try? result.get()) != nil)
                }
                if cuttingFirst { self.dropFirstLink(of: peer) }
            }
        }
    }

    /// Breaks the connections that another one superseded.
    func dropRetiring(of peer: PeerID) {
        for link in entries[peer]?.retiring ?? [] { close(link, .transportEnded("cut by the test")) }
    }

    /// Breaks the first connection to a peer, as a network would.
    func dropFirstLink(of peer: PeerID) {
        if let link = entries[peer]?.link { close(link, .transportEnded("cut by the test")) }
    }
}
