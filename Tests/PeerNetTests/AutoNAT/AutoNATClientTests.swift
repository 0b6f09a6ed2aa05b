import Testing

@testable import PeerNet

/// The state machine behind a reference, because expectations take no mutating calls.
private final class Client {
    private var machine = AutoNATClient()
    func begin(_ addresses: [Multiaddr], nonce: UInt64) -> [UInt8]? { machine.begin(addresses, nonce: nonce) }
    func receive(_ message: [UInt8], for nonce: UInt64) -> AutoNATClient.Step { machine.receive(message, for: nonce) }
    /// A dial-back from outside to a node behind a router, unless told otherwise.
    func receiveDialBack(
        _ message: [UInt8], at local: String = "/ip4/192.168.1.2/tcp/4001",
        from remote: String = "/ip4/9.9.9.9/tcp/5555",
        onOutbound isOutbound: Bool = false
    ) -> [UInt8]? {
        machine.receiveDialBack(
            message, on: .init(local: try! Multiaddr(local), remote: try! Multiaddr(remote)), isOutbound: isOutbound)
    }
    func ended(_ nonce: UInt64) -> Reachability { machine.ended(nonce) }
}

@Suite struct AutoNATClientTests {
    private let first = try! Multiaddr("/ip4/8.8.8.8/tcp/4001")
    private let second = try! Multiaddr("/ip4/8.8.4.4/tcp/4001")
    private let nonce: UInt64 = 42

    private func started() -> Client {
        let client = Client()
        #expect(client.begin([first, second], nonce: nonce) != nil)
        return client
    }

    private func response(
        _ status: AutoNATMessage.ResponseStatus, _ index: UInt64 = 0, _ dial: AutoNATMessage.DialStatus = .unused
    ) -> [UInt8] { AutoNATMessage.dialResponse(status, addressIndex: index, dial).encoded }

    @Test func `an address is reachable when the nonce came in and the server says that it connected`() {
        for status in [AutoNATMessage.DialStatus.ok, .dialBackError, .dialError] {
            let client = started()
            #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: nonce)) == [])
            let expected = status == .dialError ? Reachability.undecided(.violation) : .reachable(second)
            #expect(client.receive(response(.ok, 1, status), for: nonce) == .done(expected))
        }
    }

    @Test(arguments: [
        // From the local network, to a socket of the other family, to a public address of the socket's own at another port.
        ("/ip4/192.168.1.2/tcp/4001", "/ip4/192.168.1.9/tcp/5555"),
        ("/ip6/2001:db8::1/tcp/4001", "/ip6/2001:db8::2/tcp/1"),
        ("/ip4/8.8.8.8/tcp/4002", "/ip4/9.9.9.9/tcp/5555"),
    ])
    func `a nonce that came in elsewhere shows nothing of the address that the server names`(
        local: String, remote: String
    ) {
        let client = started()
        #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: nonce), at: local, from: remote) == [])
        #expect(client.receive(response(.ok, 0, .ok), for: nonce) == .done(.undecided(.dialBackElsewhere)))
    }

    @Test func `a nonce may come in on an own address, on a translated port, and between neighbours on a local one`()
        throws
    {
        let local = try Multiaddr("/ip4/192.168.1.2/tcp/4001")
        for (asked, at, remote) in [
            (first, "/ip4/8.8.8.8/tcp/4001", "/ip4/9.9.9.9/tcp/1"),
            (first, "/ip4/10.0.0.2/tcp/7", "/ip4/9.9.9.9/tcp/1"),
            (local, "/ip4/192.168.1.2/tcp/4001", "/ip4/192.168.1.9/tcp/1"),
        ] {
            let client = Client()
            #expect(client.begin([asked], nonce: nonce) != nil)
            #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: nonce), at: at, from: remote) == [])
            #expect(client.receive(response(.ok, 0, .ok), for: nonce) == .done(.reachable(asked)))
        }
    }

    @Test func `a server that only claims success is not believed`() {
        let client = started()
        #expect(client.receive(response(.ok, 0, .ok), for: nonce) == .done(.undecided(.dialBackMissing)))
    }

    @Test func `wrong nonces, nonces of ended requests and dial-backs on own connections are discarded`() {
        let client = started()
        #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: 43)) == nil)
        #expect(client.receiveDialBack([]) == nil)
        #expect(client.receiveDialBack([0xff]) == nil)
        #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: nonce), onOutbound: true) == nil)
        #expect(client.receive(response(.ok, 0, .dialError), for: nonce) == .done(.unreachable(first)))
        #expect(client.receiveDialBack(AutoNATDialBack.message(nonce: nonce)) == nil)
    }

    @Test func `refusals say why`() {
        let cases: [(AutoNATMessage.ResponseStatus, Reachability.Reason)] = [
            (.requestRejected, .rejected), (.dialRefused, .refused), (.internalError, .failed),
        ]
        for (status, reason) in cases {
            let client = started()
            #expect(client.receive(response(status), for: nonce) == .done(.undecided(reason)))
        }
        let client = started()
        #expect(client.ended(nonce) == .undecided(.noAnswer))
    }

    @Test func `data is sent once, in messages of four kilobytes, and never more than a hundred thousand bytes`() {
        var client = started()
        let ask = AutoNATMessage.dialDataRequest(addressIndex: 1, byteCount: 100_000).encoded
        guard case .send(let messages) = client.receive(ask, for: nonce) else {
            Issue.record("the data must be sent")
            return
        }
        let sizes = messages.map { message -> Int in
            if case .dialData(let count)? = AutoNATMessage(decoding: message) { count } else { 0 }
        }
        #expect(sizes.reduce(0, +) >= 100_000 && sizes.reduce(0, +) < 100_000 + 4096 && sizes.max() == 4096)
        #expect(client.receive(ask, for: nonce) == .done(.undecided(.violation)))
        for byteCount in [100_001, UInt64.max] {
            client = started()
            let ask = AutoNATMessage.dialDataRequest(addressIndex: 1, byteCount: byteCount).encoded
            #expect(client.receive(ask, for: nonce) == .done(.undecided(.tooMuchData)))
        }
    }

    @Test func `indices outside the request and messages of the other side end it`() {
        for message in [
            response(.ok, 2, .ok), AutoNATMessage.dialDataRequest(addressIndex: 2, byteCount: 1).encoded,
            AutoNATMessage.dialRequest(addresses: [], nonce: nonce).encoded, [], response(.ok, 0, .unused),
        ] {
            let client = started()
            #expect(client.receive(message, for: nonce) == .done(.undecided(.violation)))
        }
    }

    @Test func `requests at once are limited, and nonces are not used twice`() {
        let client = started()
        #expect(client.begin([first], nonce: nonce) == nil)
        #expect(client.begin([], nonce: 1) == nil)
        for nonce in 100..<(100 + 63) { #expect(client.begin([first], nonce: UInt64(nonce)) != nil) }
        #expect(client.begin([first], nonce: 1) == nil)
    }
}

@Suite struct NATKindTests {
    private func observation(_ peer: UInt8, _ observed: String) throws -> MappingObservation {
        MappingObservation(
            peer: Identity(seed: [UInt8](repeating: peer, count: 32))!.peerID,
            local: try Multiaddr("/ip4/192.168.1.2/tcp/5000"), observed: try Multiaddr(observed))
    }

    @Test func `the kind follows from what two peers see`() throws {
        let (direct, outside) = ("/ip4/192.168.1.2/tcp/5000", "/ip4/8.8.8.8/tcp/6000")
        #expect(NATKind([]) == .unknown)
        #expect(NATKind([try observation(1, direct), try observation(2, direct)]) == .none)
        #expect(NATKind([try observation(1, outside)]) == .translated)
        #expect(NATKind([try observation(1, outside), try observation(1, "/ip4/8.8.8.8/tcp/7")]) == .translated)
        #expect(NATKind([try observation(1, outside), try observation(2, direct)]) == .translated)
        #expect(NATKind([try observation(1, outside), try observation(2, outside)]) == .endpointIndependent)
        #expect(NATKind([try observation(1, outside), try observation(2, "/ip4/8.8.8.8/tcp/6001")]) == .symmetric)
        // A translated port alone is a translation, too.
        #expect(NATKind([try observation(1, "/ip4/192.168.1.2/tcp/5001")]) == .translated)
    }
}

@Suite struct ClockReadingTests {
    @Test func `an offset is known up to half of the round trip`() {
        let reading = ClockReading(peer: 1_000_000_500, before: 0, roundTrip: .nanoseconds(1000))
        #expect(reading.offset == .nanoseconds(1_000_000_000) && reading.uncertainty == .nanoseconds(500))
        #expect(reading.differenceMin == .nanoseconds(999_999_500))
        let behind = ClockReading(peer: -2_000_000_000, before: 0, roundTrip: .seconds(2))
        #expect(behind.offset == .seconds(-3) && behind.differenceMin == .seconds(2))
        #expect(ClockReading(peer: 500, before: 0, roundTrip: .seconds(1)).differenceMin == .zero)
    }

    @Test func `no clock that a peer may claim makes it trap`() {
        for peer in [Int64.min, .max, 0] {
            for before in [Int64.min, .max, 0] {
                _ = ClockReading(peer: peer, before: before, roundTrip: .seconds(1)).differenceMin
            }
        }
        #expect(ClockProtocol.nanoseconds(of: ClockProtocol.answer(nanoseconds: -5)) == -5)
        #expect(ClockProtocol.nanoseconds(of: []) == nil)
    }
}
