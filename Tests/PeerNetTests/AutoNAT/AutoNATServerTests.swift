import Testing

@testable import PeerNet

/// The state machine behind a reference, because expectations take no mutating calls.
private final class Server {
    private var machine: AutoNATServer
    init(limits: AutoNATLimits = AutoNATLimits()) { machine = AutoNATServer(limits: limits) }
    var openCount: Int { machine.openCount }
    func open(by peer: PeerID, observed: Multiaddr) -> AutoNATServer.RequestID? {
        machine.open(by: peer, observed: observed)
    }
    func receive(
        _ message: [UInt8], on id: AutoNATServer.RequestID, dataBytes: Int, at now: Moment
    ) -> [AutoNATServer.Action] { machine.receive(message, on: id, dataBytes: dataBytes, at: now) }
    func dialed(_ id: AutoNATServer.RequestID, _ status: AutoNATMessage.DialStatus) -> [AutoNATServer.Action] {
        machine.dialed(id, status)
    }
    func closed(_ id: AutoNATServer.RequestID) { machine.closed(id) }
}

@Suite struct AutoNATServerTests {
    private let peer = Identity(seed: [UInt8](repeating: 1, count: 32))!.peerID
    private let observed = try! Multiaddr("/ip4/8.8.8.8/tcp/55555")
    private let own = try! Multiaddr("/ip4/8.8.8.8/tcp/4001")
    private let victim = try! Multiaddr("/ip4/9.9.9.9/tcp/4001")

    private func request(_ addresses: Multiaddr?...) -> [UInt8] {
        AutoNATMessage.dialRequest(addresses: addresses, nonce: 42).encoded
    }

    private func peer(_ number: Int) -> PeerID {
        Identity(seed: [UInt8](repeating: 7, count: 30) + [UInt8(number >> 8), UInt8(number & 255)])!.peerID
    }

    private func response(
        _ status: AutoNATMessage.ResponseStatus, _ index: UInt64 = 0, _ dial: AutoNATMessage.DialStatus = .unused
    ) -> [AutoNATServer.Action] {
        [.send(AutoNATMessage.dialResponse(status, addressIndex: index, dial).encoded), .finish]
    }

    @Test func `the first address that can be dialed is, and the answer names its index`() throws {
        let server = Server()
        let id = try #require(server.open(by: peer, observed: observed))
        let actions = server.receive(request(nil, own, victim), on: id, dataBytes: 30_000, at: .zero)
        #expect(actions == [.dial(own.encapsulating(p2p: peer), nonce: 42)])
        #expect(server.dialed(id, .dialError) == response(.ok, 1, .dialError))
        #expect(server.openCount == 0)
    }

    @Test(arguments: [
        "/ip4/127.0.0.1/tcp/22", "/ip4/192.168.1.1/tcp/80", "/ip4/10.0.0.1/tcp/4001", "/ip4/0.0.0.0/tcp/4001",
        "/ip4/224.0.0.1/tcp/4001", "/ip4/8.8.8.8/tcp/0", "/ip6/::1/tcp/4001", "/ip6/fe80::1/tcp/4001",
        "/ip6/::ffff:127.0.0.1/tcp/4001", "/dns/example.org/tcp/4001", "/ip4/8.8.8.8/udp/4001",
        "/ip4/8.8.8.8/tcp/4001/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
    ])
    func `addresses that are no stranger's business are refused`(text: String) throws {
        let server = Server()
        let id = try #require(server.open(by: peer, observed: try Multiaddr("/ip4/127.0.0.1/tcp/9")))
        let message = request(try Multiaddr(text))
        #expect(server.receive(message, on: id, dataBytes: 30_000, at: .zero) == response(.dialRefused))
    }

    @Test func `a local address is dialed by option only, and only that of the requester`() throws {
        var limits = AutoNATLimits()
        limits.localDials = .toRequester
        let server = Server(limits: limits)
        let (mine, other) = (try Multiaddr("/ip4/10.0.0.5/tcp/4001"), try Multiaddr("/ip4/10.0.0.1/tcp/80"))
        let seen = try Multiaddr("/ip4/10.0.0.5/tcp/50000")
        var id = try #require(server.open(by: peer, observed: seen))
        #expect(server.receive(request(other), on: id, dataBytes: 0, at: .zero) == response(.dialRefused))
        id = try #require(server.open(by: peer, observed: seen))
        #expect(
            server.receive(request(other, mine), on: id, dataBytes: 0, at: .zero)
                == [.dial(mine.encapsulating(p2p: peer), nonce: 42)])
    }

    @Test func `another IP is dialed only after at least thirty thousand bytes`() throws {
        let server = Server()
        let id = try #require(server.open(by: peer, observed: observed))
        // Whatever the driver draws, the bounds hold.
        let actions = server.receive(request(victim), on: id, dataBytes: 5, at: .zero)
        #expect(actions == [.send(AutoNATMessage.dialDataRequest(addressIndex: 0, byteCount: 30_000).encoded)])
        let data = AutoNATMessage.dialData(byteCount: 4096).encoded
        for _ in 0..<7 { #expect(server.receive(data, on: id, dataBytes: 0, at: .zero) == []) }
        #expect(
            server.receive(data, on: id, dataBytes: 0, at: .zero)
                == [.dial(victim.encapsulating(p2p: peer), nonce: 42)])
        #expect(server.dialed(id, .ok) == response(.ok, 0, .ok))
    }

    @Test func `crumbs of data, a second request and data that nobody asked for end the request`() throws {
        let server = Server()
        let crumb = AutoNATMessage.dialData(byteCount: 1).encoded
        var id = try #require(server.open(by: peer, observed: observed))
        _ = server.receive(request(victim), on: id, dataBytes: 30_000, at: .zero)
        #expect(server.receive(crumb, on: id, dataBytes: 0, at: .zero) == [.reset])
        id = try #require(server.open(by: peer, observed: observed))
        _ = server.receive(request(victim), on: id, dataBytes: 30_000, at: .zero)
        #expect(server.receive(request(victim), on: id, dataBytes: 0, at: .zero) == [.reset])
        id = try #require(server.open(by: peer, observed: observed))
        #expect(server.receive(crumb, on: id, dataBytes: 0, at: .zero) == [.reset])
        id = try #require(server.open(by: peer, observed: observed))
        #expect(server.receive([1, 2, 3], on: id, dataBytes: 0, at: .zero) == [.reset])
        #expect(server.openCount == 0)
        // What ended is gone: later messages and results do nothing.
        #expect(server.receive(request(own), on: id, dataBytes: 0, at: .zero) == [])
        #expect(server.dialed(id, .ok) == [])
    }

    @Test func `one peer, all peers and one target are limited, and the limits pass`() throws {
        let server = Server()
        func ask(_ peer: PeerID, _ address: Multiaddr, at now: Moment) throws -> [AutoNATServer.Action] {
            let id = try #require(server.open(by: peer, observed: observed))
            defer { server.closed(id) }
            return server.receive(request(address), on: id, dataBytes: 30_000, at: now)
        }
        for _ in 0..<12 { #expect(try ask(peer, own, at: .zero) != response(.requestRejected)) }
        #expect(try ask(peer, own, at: .zero) == response(.requestRejected))
        // Another peer id of the same attacker: the target has had its share.
        #expect(try ask(peer(1), own, at: .zero) == response(.requestRejected))
        // Neighbours of one address count as one.
        for number in 2..<14 {
            let address = try Multiaddr("/ip4/9.9.9.\(number)/tcp/4001")
            #expect(try ask(peer(number), address, at: .zero) != response(.requestRejected))
        }
        #expect(try ask(peer(20), victim, at: .zero) == response(.requestRejected))
        // Many ids and many targets: the sum is limited.
        var accepted = 0
        for number in 100..<200 {
            let address = try Multiaddr("/ip4/11.\(number).1.1/tcp/4001")
            if try ask(peer(number), address, at: .zero) != response(.requestRejected) { accepted += 1 }
        }
        #expect(accepted == 60 - 12 - 1 - 12 - 1)
        #expect(try ask(peer, own, at: .zero + .seconds(60)) == [.dial(own.encapsulating(p2p: peer), nonce: 42)])
    }

    @Test func `streams that say nothing are few`() {
        let server = Server()
        #expect(server.open(by: peer, observed: observed) != nil && server.open(by: peer, observed: observed) != nil)
        #expect(server.open(by: peer, observed: observed) == nil)
        for number in 0..<100 { _ = server.open(by: peer(number), observed: observed) }
        #expect(server.openCount == 32)
    }
}
