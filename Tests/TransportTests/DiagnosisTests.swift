import Glibc
import PeerNet
import Testing

@testable import Transport

/// A TCP port of loopback that is taken but not listened on: whoever connects is refused, as by a closed firewall.
final class ClosedPort {
    let address: Multiaddr
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, length) = (descriptor, size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        try #require(bound, "loopback must have a free port")
        self.address = try Multiaddr("/ip4/127.0.0.1/tcp/\(UInt16(bigEndian: address.sin_port))")
    }

    deinit { close(descriptor) }
}

@Suite(.timeLimit(.minutes(1))) struct DiagnosisTests {
    private func pair(
        local: AutoNATLimits.LocalDials = .toRequester
    ) async throws -> (PeerHost, AutoNATService, PeerHost) {
        let (asking, answering) = (makeHost(1), makeHost(2))
        let client = AutoNATService(agentVersion: "atoll/test")
        var limits = AutoNATLimits()
        limits.localDials = local
        await client.attach(to: asking)
        await AutoNATService(agentVersion: "atoll/test", limits: limits).attach(to: answering)
        try await join(asking, answering)
        return (asking, client, answering)
    }

    @Test func aPortThatIsOpenIsFoundReachable() async throws {
        let (asking, client, answering) = try await pair()
        let own = await asking.announcedAddresses()
        #expect(await client.check(own, by: answering.peerID, over: asking) == .reachable(own[0]))
        #expect(await stop(asking, answering))
    }

    @Test func aPortThatIsClosedIsFoundUnreachable() async throws {
        let (asking, client, answering) = try await pair()
        let closed = try ClosedPort()
        #expect(
            await client.check([closed.address], by: answering.peerID, over: asking) == .unreachable(closed.address))
        #expect(await stop(asking, answering))
    }

    @Test func aPortWithAnotherPeerBehindItIsFoundUnreachable() async throws {
        let (asking, client, answering) = try await pair()
        let other = makeHost(3)
        let address = try #require(try await other.start().first)
        #expect(await client.check([address], by: answering.peerID, over: asking) == .unreachable(address))
        #expect(await stop(asking, answering, other))
    }

    @Test func localAddressesAreRefusedByDefault() async throws {
        let (asking, client, answering) = try await pair(local: .refused)
        let own = await asking.announcedAddresses()
        #expect(await client.check(own, by: answering.peerID, over: asking) == .undecided(.refused))
        #expect(await stop(asking, answering))
    }

    @Test func aPeerWithoutTheProtocolDoesNotAnswer() async throws {
        let (asking, answering) = (makeHost(1), makeHost(2))
        let client = AutoNATService(agentVersion: "atoll/test")
        await client.attach(to: asking)
        try await join(asking, answering)
        let own = await asking.announcedAddresses()
        #expect(await client.check(own, by: answering.peerID, over: asking) == .undecided(.noAnswer))
        #expect(await stop(asking, answering))
    }

    /// A server that sends the nonce over the connection that the client dialed proves nothing.
    @Test func aServerThatFakesTheDialIsNotBelieved() async throws {
        let (asking, lying) = (makeHost(1), makeHost(2))
        let client = AutoNATService(agentVersion: "atoll/test")
        await client.attach(to: asking)
        let victim = asking.peerID
        await lying.serveSessions(AutoNATLimits.dialRequestProtocol, messageBytesMax: 8192) { session in
            guard let request = try? await session.receive() else { return }
            // The nonce is the last eight bytes of a request that has no field behind it.
            let message = [0x09] + request.suffix(8)
            _ = try? await lying.withSession(
                AutoNATLimits.dialBackProtocol, to: victim, messageBytesMax: 10, within: .seconds(5)
            ) { (session) throws(RequestError) in
                try await session.send(message)
                _ = try await session.receive()
            }
            // Response OK, address 0, dial status OK.
            try? await session.send([0x12, 0x08, 0x08, 0xc8, 0x01, 0x10, 0x00, 0x18, 0xc8, 0x01])
        }
        try await join(asking, lying)
        let own = await asking.announcedAddresses()
        #expect(await client.check(own, by: lying.peerID, over: asking) == .undecided(.dialBackMissing))
        #expect(await stop(asking, lying))
    }

    @Test func aWrongClockIsMeasured() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        await right.serveClock { WallClock.nanoseconds + 90_000_000_000 }
        try await join(left, right)
        let reading = try await left.readClock(of: right.peerID)
        #expect(abs(reading.offset.inSeconds - 90) <= reading.uncertainty.inSeconds + 0.001)
        #expect(reading.uncertainty < .seconds(5) && reading.differenceMin > .seconds(80))
        await #expect(throws: RequestError.protocolRefused) { try await right.readClock(of: left.peerID) }
        #expect(await stop(left, right))
    }

    @Test func noSystemClockMakesItTrap() {
        #expect(WallClock.nanoseconds(seconds: 2, and: 5) == 2_000_000_005)
        #expect(WallClock.nanoseconds(seconds: -1, and: 0) == 0)
        for seconds in [Int64.max, Int64.max / 1_000_000_000 + 1, 9_223_372_036] {
            #expect(WallClock.nanoseconds(seconds: seconds, and: 999_999_999) == .max)
        }
    }

    @Test func twoPeersSeeTheSamePortOfOurs() async throws {
        let (left, right) = (makeHost(1), makeHost(2))
        let contacts = [
            PeerContact(peer: left.peerID, addresses: try await left.start()),
            PeerContact(peer: right.peerID, addresses: try await right.start()),
        ]
        let found = await MappingProbe(agentVersion: "atoll/test").observe(contacts, within: .seconds(30))
        #expect(Set(found.map(\.peer)) == [left.peerID, right.peerID])
        #expect(Set(found.map(\.local)).count == 1 && found.allSatisfy { $0.local == $0.observed })
        #expect(NATKind(found) == .none)
        #expect(await stop(left, right))
    }
}
