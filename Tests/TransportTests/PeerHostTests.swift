import PeerNet
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct PeerHostTests {
    static let messages = "/test/messages/1.0.0"
    static let blobs = "/test/blob/1.0.0"

    @Test func twoHostsConnectPingAndIdentify() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 10)
        try await join(left, right)
        let record = await left.first { event -> IdentifyRecord? in
            if case .identified(_, let record) = event { record } else { nil }
        }
        #expect(record?.agentVersion == "atoll/test")
        #expect(record?.protocols.contains(Self.messages) == true)
        #expect(record?.listenAddresses.first?.description.hasPrefix("/ip4/127.0.0.1/tcp/") == true)
        #expect(record?.observedAddress?.description.hasPrefix("/ip4/127.0.0.1/tcp/") == true)
        let roundTrip = try await left.ping(right.peerID)
        #expect(roundTrip > .zero && roundTrip < .seconds(5))
        let status = try #require(await left.peers().first)
        #expect(status.peerID == right.peerID && status.isOutbound)
        #expect(status.traffic.bytesSent > 0 && status.traffic.bytesReceived > 0)
        #expect(await left.traffic().bytesSent >= status.traffic.bytesSent)
        #expect(await stop(left, right))
        #expect(await left.peers().isEmpty)
    }

    @Test func bytesSentAreTheBytesTheOtherSideReceived() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 1 << 20)
        try await join(left, right)
        await left.send([UInt8](repeating: 1, count: 100_000), to: right.peerID, on: Self.messages)
        _ = await right.message()
        #expect(await stop(left, right))
        let (sent, received) = (await left.traffic(), await right.traffic())
        #expect(sent.bytesSent == received.bytesReceived)
        #expect(sent.bytesReceived == received.bytesSent)
        #expect((100_000..<103_000).contains(sent.bytesSent))
    }

    @Test func messagesArriveInOrderAndWhole() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 70_000)
        try await join(left, right)
        for index in 0..<500 {
            let message = [UInt8](repeating: UInt8(index % 251), count: index % 7 == 0 ? 5000 + index : index)
            #expect(await left.send(message, to: right.peerID, on: Self.messages))
        }
        for index in 0..<500 {
            let message = await right.message()
            #expect(message == [UInt8](repeating: UInt8(index % 251), count: index % 7 == 0 ? 5000 + index : index))
        }
        #expect(await left.send([1], to: makeHost(9).peerID, on: Self.messages) == false)
        #expect(await stop(left, right))
    }

    @Test func aMessageAboveTheReceiversLimitEndsTheConnection() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 100)
        try await join(left, right)
        await left.send([UInt8](repeating: 0, count: 101), to: right.peerID, on: Self.messages)
        let reason = await right.first { event -> String? in
            if case .disconnected(_, let reason) = event { reason } else { nil }
        }
        #expect(reason?.contains("size limit of \(Self.messages)") == true)
        #expect(await stop(left, right))
    }

    @Test func aConsumerThatLagsHoldsTheSenderBackAndLosesNothing() async throws {
        var limits = HostLimits()
        limits.waitingEventsMax = 8
        let (left, right) = (makeHost(1), makeHost(2, limits: limits))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 70_000)
        try await join(left, right)
        for index in 0..<100 {
            await left.send([UInt8](repeating: UInt8(index), count: 20_000), to: right.peerID, on: Self.messages)
        }
        // Two megabytes do not fit the window that is granted: the rest waits at the sender.
        _ = try await left.ping(right.peerID)
        #expect(await right.traffic().bytesReceived < 1_000_000)
        for index in 0..<100 { #expect(await right.message() == [UInt8](repeating: UInt8(index), count: 20_000)) }
        #expect(await stop(left, right))
    }

    @Test func anEmptyMessageEndsTheConnection() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 100)
        try await join(left, right)
        await left.send([], to: right.peerID, on: Self.messages)
        let reason = await right.first { event -> String? in
            if case .disconnected(_, let reason) = event { reason } else { nil }
        }
        #expect(reason?.contains("broke the framing") == true)
        #expect(await stop(left, right))
    }

    @Test func requestsThatThePeerHasResetCountUntilTheirHandlerIsDone() async throws {
        var limits = HostLimits()
        limits.servedRequestsMax = 2
        let (left, right) = (makeHost(1), makeHost(2, limits: limits))
        let gate = Gate()
        await right.serve(Self.blobs, requestBytesMax: 10) { _, _ in
            await gate.wait()
            return .bytes([])
        }
        try await join(left, right)
        let peer = right.peerID
        for _ in 0..<2 {
            let request = Task { try await left.request([1], to: peer, on: Self.blobs, responseBytesMax: 10) }
            await gate.reached()
            request.cancel()
            await #expect(throws: RequestError.cancelled) { _ = try await request.value }
        }
        await #expect(throws: RequestError.reset) {
            _ = try await left.request([1], to: peer, on: Self.blobs, responseBytesMax: 10)
        }
        await gate.open()
        #expect(await stop(left, right))
    }

    @Test func aPeerThatDoesNotTakeItsMessagesIsDropped() async throws {
        var limits = HostLimits()
        limits.messageQueueBytesMax = 1 << 20
        var lagging = HostLimits()
        lagging.waitingEventsMax = 1
        let (left, right) = (makeHost(1, limits: limits), makeHost(2, limits: lagging))
        await right.acceptMessages(on: Self.messages, messageBytesMax: 1 << 20)
        try await join(left, right)
        var isAccepted = true
        for _ in 0..<100 where isAccepted {
            isAccepted = await left.send([UInt8](repeating: 0, count: 100_000), to: right.peerID, on: Self.messages)
        }
        #expect(!isAccepted)
        let reason = await left.first { event -> String? in
            if case .disconnected(_, let reason) = event { reason } else { nil }
        }
        #expect(reason?.contains("does not take its messages") == true)
        #expect(await stop(left, right))
    }

    @Test func aHundredParallelRequestsGetTheirOwnAnswers() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.serve(Self.blobs, requestBytesMax: 100) { peer, request in
            .bytes(request.reversed() + [UInt8(request.count)])
        }
        try await join(left, right)
        await withTaskGroup(of: Bool.self) { group in
            for index in 0..<100 {
                group.addTask {
                    let request = (0..<index).map { UInt8($0) }
                    let answer = try? await left.request(
                        request, to: right.peerID, on: Self.blobs, responseBytesMax: 200)
                    return answer == request.reversed() + [UInt8(index)]
                }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(await stop(left, right))
    }

    @Test func aResponseOf32MiBArrivesWhileMessagesPass() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        let blob = [UInt8](unsafeUninitializedCapacity: 32 << 20) { buffer, count in
            buffer.withMemoryRebound(to: UInt64.self) { words in
                for index in words.indices { words[index] = UInt64(index) &* 0x9e37_79b9_7f4a_7c15 }
            }
            count = 32 << 20
        }
        await right.serve(Self.blobs, requestBytesMax: 100) { _, request in
            if request.isEmpty { return .bytes(blob) }
            let pieces = Pieces(blob: blob)
            return .pieces { await pieces.next() }
        }
        await left.acceptMessages(on: Self.messages, messageBytesMax: 100)
        try await join(left, right)
        for request in [[], [UInt8(1)]] {
            let answer = Task {
                try await left.request(request, to: right.peerID, on: Self.blobs, responseBytesMax: 32 << 20)
            }
            await right.send([7], to: left.peerID, on: Self.messages)
            #expect(await left.message() == [7])
            #expect(try await answer.value == blob)
        }
        await #expect(throws: RequestError.responseTooLarge(bytesMax: 1 << 20)) {
            _ = try await left.request([], to: right.peerID, on: Self.blobs, responseBytesMax: 1 << 20)
        }
        #expect(try await left.ping(right.peerID) > .zero)
        #expect(await stop(left, right))
    }

    /// Cuts an array into pieces of a quarter of a mebibyte.
    private actor Pieces {
        let blob: [UInt8]
        var offset = 0
        init(blob: [UInt8]) { self.blob = blob }
        func next() -> [UInt8]? {
            guard offset < blob.count else { return nil }
            defer { offset += 256 << 10 }
            return Array(blob[offset..<min(blob.count, offset + 256 << 10)])
        }
    }

    @Test func requestsFailForTheRightReason() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        let gate = Gate()
        await right.serve(Self.blobs, requestBytesMax: 10) { _, request in
            if request == [1] { await gate.wait() }
            return request.isEmpty ? nil : .bytes([])
        }
        try await join(left, right)
        let peer = right.peerID
        await #expect(throws: RequestError.protocolRefused) {
            _ = try await left.request([], to: peer, on: "/test/other", responseBytesMax: 10)
        }
        await #expect(throws: RequestError.reset) {
            _ = try await left.request(
                [UInt8](repeating: 0, count: 11), to: peer, on: Self.blobs, responseBytesMax: 10)
        }
        #expect(try await left.request([], to: peer, on: Self.blobs, responseBytesMax: 10) == [])
        await #expect(throws: RequestError.notConnected) {
            _ = try await left.request([], to: makeHost(9).peerID, on: Self.blobs, responseBytesMax: 10)
        }
        let cancelled = Task { try await left.request([1], to: peer, on: Self.blobs, responseBytesMax: 10) }
        await gate.reached()
        cancelled.cancel()
        await #expect(throws: RequestError.cancelled) { _ = try await cancelled.value }
        await gate.open()
        let lost = Task { try await left.request([1], to: peer, on: Self.blobs, responseBytesMax: 10) }
        await gate.reached()
        await left.disconnect(peer, reason: "enough")
        await #expect(throws: RequestError.disconnected("enough")) { _ = try await lost.value }
        await gate.open()
        #expect(await stop(left, right))
    }

    @Test func anotherPeerThanNamedIsRefused() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        let named = makeHost(3).peerID
        _ = try await left.start()
        let addresses = try await right.start().map { $0.encapsulating(p2p: named) }
        await #expect(throws: TransportError.wrongPeer(expected: named, found: right.peerID)) {
            _ = try await left.connect(to: addresses)
        }
        await left.dial(named, at: addresses)
        let reason = await left.first { event -> String? in
            if case .dialFailed(named, let reason) = event { reason } else { nil }
        }
        #expect(reason?.contains("found \(right.peerID)") == true)
        #expect(await left.peers().isEmpty)
        #expect(await stop(left, right))
    }

    @Test func dialsThatCrossEndWithOneConnection() async throws {
        for round in UInt8(0)..<6 {
            let (left, right) = (makeHost(10 + round), makeHost(30 + round))
            await left.acceptMessages(on: Self.messages, messageBytesMax: 10)
            await right.acceptMessages(on: Self.messages, messageBytesMax: 10)
            let leftAddresses = try await left.start()
            let rightAddresses = try await right.start()
            let first = Task { try await left.connect(to: rightAddresses.map { $0.encapsulating(p2p: right.peerID) }) }
            let second = Task { try await right.connect(to: leftAddresses.map { $0.encapsulating(p2p: left.peerID) }) }
            #expect(try await first.value == right.peerID)
            #expect(try await second.value == left.peerID)
            // Both directions work at once, and the surplus connection goes without anyone being disconnected.
            await left.send([1], to: right.peerID, on: Self.messages)
            await right.send([2], to: left.peerID, on: Self.messages)
            #expect(await right.message() == [1])
            #expect(await left.message() == [2])
            while await left.connectionCount > 1 { await Task.yield() }
            while await right.connectionCount > 1 { await Task.yield() }
            #expect(await left.peers().count == 1)
            await left.send([3], to: right.peerID, on: Self.messages)
            await right.send([4], to: left.peerID, on: Self.messages)
            let atRight = await right.first { event -> [UInt8]? in
                switch event {
                case .message(_, _, let bytes): bytes
                case .disconnected: []
                default: nil
                }
            }
            #expect(atRight == [3])
            #expect(await left.message() == [4])
            #expect(await stop(left, right))
        }
    }

    @Test func aTakenPortIsItsOwnError() async throws {
        let first = makeHost(1)
        let address = try await first.start()[0]
        let second = PeerHost(
            identity: Identity(seed: [UInt8](repeating: 2, count: 32))!,
            configuration: PeerHostConfiguration(listenAddresses: [address], agentVersion: "atoll/test"))
        await #expect(throws: TransportError.addressInUse(address)) { _ = try await second.start() }
        #expect(await second.openHandleCount == 0)
        let other = PeerHost(
            identity: Identity(seed: [UInt8](repeating: 2, count: 32))!,
            configuration: PeerHostConfiguration(
                listenAddresses: [try Multiaddr("/dns4/localhost/tcp/0")], agentVersion: "atoll/test"))
        await #expect(throws: TransportError.unsupportedAddress(try Multiaddr("/dns4/localhost/tcp/0"))) {
            _ = try await other.start()
        }
        #expect(await stop(first))
    }

    @Test func namesAreResolvedAndDeadAddressesReported() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        _ = try await left.start()
        let address = try await right.start()[0]
        let port = port(of: address)
        #expect(try await left.connect(to: [try Multiaddr("/dns4/localhost/tcp/\(port)")]) == right.peerID)
        await right.stop()
        _ = await left.first { event -> Bool? in if case .disconnected = event { true } else { nil } }
        do throws(TransportError) {
            _ = try await left.connect(to: [address])
            Issue.record("connected to a stopped host")
        } catch {
            #expect(error.description.contains("connection refused"))
        }
        #expect(await stop(left))
    }

    private func port(of address: Multiaddr) -> UInt16 { address.tcpEndpoint?.port ?? 0 }

    @Test func whoeverWaitsForAnEventWhileTheHostStopsIsToldItsEnd() async throws {
        for _ in 0..<200 {
            let host = makeHost(1)
            _ = try await host.start()
            let consumer = Task { while await host.next() != nil {} }
            let dialed = makeHost(2).peerID
            await host.dial(dialed, at: [try Multiaddr("/ip4/127.0.0.1/tcp/1")])
            let connecting = Task { try? await host.connect(to: [try Multiaddr("/ip4/127.0.0.1/tcp/1")]) }
            #expect(await stop(host))
            await consumer.value
            #expect(await connecting.value == nil)
        }
    }

    @Test func stoppingWhileBusyLeavesNothing() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        let gate = Gate()
        await right.serve(Self.blobs, requestBytesMax: 10) { _, _ in
            await gate.wait()
            return .bytes([UInt8](repeating: 0, count: 1 << 20))
        }
        try await join(left, right)
        let request = Task { try await left.request([1], to: right.peerID, on: Self.blobs, responseBytesMax: 1 << 20) }
        await gate.reached()
        let stopped = Task { await left.stop() }
        await #expect(throws: RequestError.disconnected("this node is stopping")) { _ = try await request.value }
        await stopped.value
        await gate.open()
        #expect(await stop(left, right))
    }
}

/// Lets a test hold a handler back.
actor Gate {
    private var isOpen = false
    private var arrivals = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var watchers: [CheckedContinuation<Void, Never>] = []

    func wait() async {
        arrivals += 1
        for watcher in watchers { watcher.resume() }
        watchers = []
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Returns once somebody waits.
    func reached() async {
        if arrivals > 0 {
            arrivals -= 1
            return
        }
        await withCheckedContinuation { watchers.append($0) }
        arrivals -= 1
    }

    func open() {
        for continuation in waiting { continuation.resume() }
        waiting = []
    }
}
