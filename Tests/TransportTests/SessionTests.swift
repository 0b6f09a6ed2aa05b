import PeerNet
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct SessionTests {
    static let name = "/test/session/1.0.0"

    /// Two connected hosts; the right one serves sessions.
    private func pair(
        limits: HostLimits = HostLimits(), _ handler: @escaping PeerHost.SessionHandler
    ) async throws -> (PeerHost, PeerHost) {
        let (left, right) = (makeHost(1), makeHost(2, limits: limits))
        await right.serveSessions(Self.name, messageBytesMax: 1 << 20, handler: handler)
        try await join(left, right)
        return (left, right)
    }

    private static let echo: PeerHost.SessionHandler = { session in
        do throws(RequestError) {
            while let message = try await session.receive() { try await session.send(message) }
        } catch {
            // The asker sees the reset.
        }
    }

    @Test func messagesOfAnySizeGoBothWaysInOrder() async throws {
        let (left, right) = try await pair(Self.echo)
        let peer = right.peerID
        let sizes = [0, 1, 127, 128, 70_000, 0, 1 << 20, 5]
        let answers = try await left.withSession(
            Self.name, to: peer, messageBytesMax: 1 << 20, within: .seconds(30)
        ) { (session) throws(RequestError) -> [[UInt8]] in
            var answers: [[UInt8]] = []
            for (index, size) in sizes.enumerated() {
                try await session.send([UInt8](repeating: UInt8(index), count: size))
                if let answer = try await session.receive() { answers.append(answer) }
            }
            await session.finish()
            if let more = try await session.receive() { answers.append(more) }
            return answers
        }
        #expect(answers == sizes.enumerated().map { [UInt8](repeating: UInt8($0), count: $1) })
        #expect(await stop(left, right))
    }

    @Test func aProtocolThatIsNotServedIsRefused() async throws {
        let (left, right) = try await pair(Self.echo)
        let peer = right.peerID
        await #expect(throws: RequestError.protocolRefused) {
            try await left.withSession(
                "/other/1.0.0", to: peer, messageBytesMax: 10, within: .seconds(30)
            ) { (session) throws(RequestError) in
                try await session.send([1])
                _ = try await session.receive()
            }
        }
        await #expect(throws: RequestError.notConnected) {
            try await left.withSession(
                Self.name, to: makeHost(9).peerID, messageBytesMax: 10, within: .seconds(30)
            ) { (_) throws(RequestError) in }
        }
        #expect(await stop(left, right))
    }

    @Test func aMessageAboveTheLimitResetsTheSessionAlone() async throws {
        let (left, right) = try await pair(Self.echo)
        let peer = right.peerID
        await #expect(throws: RequestError.reset) {
            try await left.withSession(
                Self.name, to: peer, messageBytesMax: 10, within: .seconds(30)
            ) { (session) throws(RequestError) in
                try await session.send([UInt8](repeating: 1, count: 11))
                _ = try await session.receive()
            }
        }
        _ = try await left.ping(peer)
        #expect(await stop(left, right))
    }

    @Test func aSessionEndsWhenItsTimeIsOver() async throws {
        let (left, right) = try await pair(Self.echo)
        let peer = right.peerID
        await #expect(throws: RequestError.tooLate) {
            try await left.withSession(
                Self.name, to: peer, messageBytesMax: 10, within: .milliseconds(1)
            ) { (session) throws(RequestError) in _ = try await session.receive() }
        }
        #expect(await stop(left, right))
    }

    @Test func aReceiverThatTakesNothingHoldsTheSenderBack() async throws {
        let (gate, opened) = AsyncStream<Void>.makeStream()
        let (left, right) = try await pair { session in
            for await _ in gate { break }
            var count = 0
            while let message = try? await session.receive() { count += message.count }
            try? await session.send([UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255)])
        }
        let peer = right.peerID
        let answer = try await left.withSession(
            Self.name, to: peer, messageBytesMax: 10, within: .seconds(30)
        ) { (session) throws(RequestError) -> [UInt8]? in
            await withDiscardingTaskGroup { group in
                group.addTask {
                    // Two megabytes do not fit the window that is granted: the rest waits here until messages are taken.
                    for _ in 0..<20 { try? await session.send([UInt8](repeating: 7, count: 100_000)) }
                    await session.finish()
                }
                _ = try? await left.ping(peer)
                #expect(await right.traffic().bytesReceived < 1_000_000)
                opened.finish()
            }
            return try await session.receive()
        }
        #expect(answer == [0x1e, 0x84, 0x80])  // Two million.
        #expect(await stop(left, right))
    }

    @Test func sessionsOfOnePeerAreLimitedAndEndWithTheHost() async throws {
        var limits = HostLimits()
        limits.servedRequestsMax = 2
        let (left, right) = try await pair(limits: limits, Self.echo)
        let peer = right.peerID
        let results = await withTaskGroup(of: Result<[UInt8]?, RequestError>.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    do throws(RequestError) {
                        return .success(
                            try await left.withSession(
                                Self.name, to: peer, messageBytesMax: 10, within: .seconds(30)
                            ) { (session) throws(RequestError) in
                                try await session.send([1])
                                _ = try await session.receive()
                                return try await session.receive()
                            })
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results = [await group.next()]
            // The one too many is over; the others wait for a second answer until the host stops.
            await right.stop()
            for await result in group { results.append(result) }
            return results.compactMap(\.self)
        }
        #expect(results.first == .failure(.reset))
        #expect(results.dropFirst().allSatisfy { if case .failure(.disconnected) = $0 { true } else { false } })
        #expect(await stop(left, right))
    }
}
