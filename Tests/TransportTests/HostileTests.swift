import Glibc
import Testing

@testable import PeerNet
@testable import Transport

/// What strangers can do to a listening host: each case ends with the offender out, while an honest peer is served.
/// docs/threat-model.md lists the cases. With ATOLL_HOSTILE_MEMORY set, and run alone, the growth of resident memory is
/// checked too (the attacker's own memory, in the same process, counts with it).
@Suite(.serialized, .timeLimit(.minutes(2))) struct HostileTests {
    static let messages = "/test/messages/1.0.0"
    static let blobs = "/test/blob/1.0.0"
    static let memoryGrowthMax = 64 << 20
    static let protocols: [String: StreamPriority] = [messages: .control, blobs: .bulk]

    /// A victim, and an honest peer that is connected to it.
    struct Scene {
        let victim: PeerHost
        let honest: PeerHost
        let address: Multiaddr
        let residentBefore: Int

        init(_ limits: HostLimits = HostLimits()) async throws {
            victim = makeHost(1, limits: limits)
            honest = makeHost(2)
            await victim.acceptMessages(on: messages, messageBytesMax: 100_000)
            await victim.serve(blobs, requestBytesMax: 1000) { _, request in .bytes(request.reversed()) }
            address = try await victim.start()[0]
            _ = try await honest.start()
            _ = try await honest.connect(to: [address])
            // The dialer is done a message earlier; until then the victim counts a half-open connection.
            while await victim.peers().isEmpty { await Task.yield() }
            residentBefore = residentBytes()
        }

        /// The honest peer still gets its answers, and another one can still come.
        func serves() async throws -> Bool {
            guard try await honest.ping(victim.peerID) < .seconds(5) else { return false }
            let answer = try await honest.request([1, 2, 3], to: victim.peerID, on: blobs, responseBytesMax: 10)
            let newcomer = makeHost(3)
            _ = try await newcomer.start()
            guard try await newcomer.connect(to: [address]) == victim.peerID else { return false }
            await newcomer.stop()
            return answer == [3, 2, 1]
        }

        /// Checks that honest peers are served and memory has not grown, then ends everything.
        func end(_ name: String) async throws -> Bool {
            let isServing = try await serves()
            let growth = residentBytes() - residentBefore
            if getenv("ATOLL_HOSTILE_MEMORY") != nil {
                print("hostile: \(name): resident memory grew by \(growth >> 10) KiB")
                #expect(growth <= memoryGrowthMax, "\(name)")
            }
            let isStopped = await stop(honest, victim)
            return isServing && isStopped
        }
    }

    /// Resident bytes of this process.
    static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return 0 }
        let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .split(separator: " ")
        return (Int(words[1]) ?? 0) * Int(getpagesize())
    }

    // MARK: Before the handshake is done

    @Test func garbageBeforeTheHandshake() async throws {
        let scene = try await Scene()
        var random = SystemRandomNumberGenerator()
        for count in [1, 20, 1000, 65_536] {
            for first in [UInt8(0), 0x13, 0x16, 0x47, 0xff] {
                let socket = try RawSocket(to: scene.address)
                defer { socket.close() }
                socket.send([first] + (1..<max(2, count)).map { _ in UInt8.random(in: 0...255, using: &random) })
                // Too few bytes to be wrong are cut off by the time limit instead (`slowLoris`).
                if count >= 1000 { #expect(await socket.isClosedByPeer(within: .seconds(10))) }
            }
        }
        #expect(try await scene.end("garbage"))
    }

    @Test func truncatedAndReplayedHandshakes() async throws {
        let scene = try await Scene()
        // A true handshake, recorded.
        let model = try RawPeer(to: scene.address, seed: 9)
        #expect(await model.secure())
        let recorded = model.sent
        model.close()
        // Cut off anywhere: nothing is left of it once its sender is gone.
        for count in stride(from: 0, to: recorded.count, by: 7) {
            let socket = try RawSocket(to: scene.address)
            socket.send(Array(recorded.prefix(count)))
            socket.close()
        }
        // Played again: the victim's key is fresh, so the last message proves nothing.
        for _ in 0..<20 {
            let socket = try RawSocket(to: scene.address)
            defer { socket.close() }
            socket.send(recorded)
            #expect(await socket.isClosedByPeer(within: .seconds(10)))
        }
        while await scene.victim.connectionCount > 1 { await Task.yield() }
        #expect(await scene.victim.peers().map(\.peerID) == [scene.honest.peerID])
        #expect(try await scene.end("truncated and replayed handshakes"))
    }

    /// The initiator's payload with a byte of its signature, or of its key, changed before it is sealed.
    @Test(arguments: [0, 1]) func forgedSignatures(kind: Int) async throws {
        let scene = try await Scene()
        for _ in 0..<5 {
            let forger = try RawPeer(to: scene.address, seed: 9)
            defer { forger.close() }
            forger.connection.forgesPayload = { payload in
                // Field 1 is the key (36 bytes behind 2), field 2 the signature.
                payload[kind == 0 ? 2 + 36 + 2 + 5 : 2 + 10] ^= 1
            }
            #expect(await forger.isDropped())
        }
        #expect(await scene.victim.peers().map(\.peerID) == [scene.honest.peerID])
        #expect(try await scene.end("forged signatures"))
    }

    @Test func identityMismatch() async throws {
        let scene = try await Scene()
        // The host dials somebody and finds another one there.
        let named = makeHost(7).peerID
        let (other, impostor) = (makeHost(4), makeHost(5))
        _ = try await other.start()
        let address = try await impostor.start()[0]
        await #expect(throws: TransportError.wrongPeer(expected: named, found: impostor.peerID)) {
            _ = try await other.connect(to: [address.encapsulating(p2p: named)])
        }
        #expect(await other.peers().isEmpty)
        // Somebody who has the host's own identity.
        let twin = try RawPeer(to: scene.address, seed: 1)
        #expect(await twin.isDropped())
        twin.close()
        #expect(await stop(other, impostor))
        #expect(try await scene.end("identity mismatch"))
    }

    @Test func slowLoris() async throws {
        var limits = HostLimits()
        limits.inbound.halfOpenMax = 8
        let scene = try await Scene(limits)
        // Eight who say one byte now and then hold every place, until newcomers come: the oldest goes.
        let hello: [UInt8] = Array("\u{13}/multistream/1.0.0\n".utf8)
        let sockets = try (0..<8).map { _ in try RawSocket(to: scene.address) }
        while await scene.victim.connectionCount < 9 { await Task.yield() }
        var isServed = false
        var byte = 0
        let deadline = ContinuousClock.now + .seconds(20)
        while !isServed, ContinuousClock.now < deadline {
            for socket in sockets { socket.send([hello[min(byte, hello.count - 1)]]) }
            byte += 1
            let newcomer = makeHost(3)
            _ = try await newcomer.start()
            isServed = (try? await newcomer.connect(to: [scene.address])) == scene.victim.peerID
            await newcomer.stop()
        }
        #expect(isServed)
        var gone = 0
        for socket in sockets where await socket.isClosedByPeer(within: .milliseconds(50)) { gone += 1 }
        #expect(gone >= 1)
        for socket in sockets { socket.close() }
        #expect(try await scene.end("slow-loris"))
    }

    @Test func halfOpenFloodAndSybilsOfOneSubnet() async throws {
        var limits = HostLimits()
        limits.inbound.countsLoopback = true
        limits.inbound.groupAcceptsAtOnce = 10_000
        let scene = try await Scene(limits)
        // Six hundred connections that say nothing, from three subnets.
        var sockets: [RawSocket] = []
        for index in 0..<600 {
            sockets.append(try RawSocket(to: scene.address, from: "127.0.\(1 + index % 3).\(1 + index / 3)"))
        }
        #expect(try await scene.serves())
        let half = await scene.victim.connectionCount
        #expect(half <= 3 + 3 * limits.inbound.groupHalfOpenMax)
        for socket in sockets { socket.close() }
        while await scene.victim.connectionCount > 1 { await Task.yield() }
        // Identities are free, addresses are not: two hundred peers of one subnet get its share of places.
        var sybils: [RawPeer] = []
        for index in 0..<UInt8(200) {
            guard let peer = try? RawPeer(to: scene.address, seed: 20 + index, from: "127.0.9.\(1 + index)")
            else { continue }
            _ = await peer.secure()
            sybils.append(peer)
        }
        let count = await scene.victim.peers().count
        #expect(count <= 1 + limits.inbound.localGroupConnectionsMax)
        #expect(count >= 100)
        #expect(try await scene.serves())
        for peer in sybils { peer.close() }
        while await scene.victim.peers().count > 1 { await Task.yield() }
        #expect(try await scene.end("half-open flood and Sybils"))
    }

    // MARK: Behind the handshake

    /// Frames that no honest muxer sends, each on a connection of its own.
    static let malformedFrames: [(String, [UInt8])] = [
        ("unknown version", [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("unknown type", [0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("unknown flags", [0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("stream 0", [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("wrong parity", [0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]),
        ("oversized frame of a new stream", [0, 0, 0, 1, 0, 0, 0, 101, 0xff, 0xff, 0xff, 0xff]),
        ("data beyond the window", [0, 0, 0, 1, 0, 0, 0, 101, 0, 4, 0, 1]),
        ("ping with a stream's id", [0, 2, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0]),
    ]

    @Test func oversizedAndMalformedFrames() async throws {
        let scene = try await Scene()
        for (name, frame) in Self.malformedFrames {
            let peer = try RawPeer(to: scene.address, seed: 9)
            defer { peer.close() }
            #expect(await peer.secure())
            peer.connection.sendRaw(frame)
            #expect(await peer.isDropped(), "\(name)")
        }
        #expect(try await scene.end("malformed frames"))
    }

    @Test func tenThousandStreams() async throws {
        let scene = try await Scene()
        for proposes in [false, true] {
            let peer = try RawPeer(to: scene.address, seed: 9)
            defer { peer.close() }
            #expect(await peer.secure())
            let proposal = Array("\u{13}/multistream/1.0.0\n\u{11}\(Self.blobs)\n".utf8)
            var opened = 0
            for index in 0..<10_000 where !peer.isClosedByPeer {
                let id = UInt32(1001 + 2 * index)
                let bytes = [UInt8(id >> 24), UInt8(id >> 16 & 255), UInt8(id >> 8 & 255), UInt8(id & 255)]
                peer.connection.sendRaw([0, 1, 0, 1] + bytes + [0, 0, 0, 0])
                if proposes {
                    peer.connection.sendRaw([0, 0, 0, 0] + bytes + [0, 0, 0, UInt8(proposal.count)] + proposal)
                }
                opened += 1
                if index % 50 == 0 { peer.turn() }
            }
            #expect(await peer.isDropped())
            #expect(opened < 10_000)
        }
        #expect(try await scene.end("10,000 streams"))
    }

    @Test func requestsThatNeverEndOrAreTooLong() async throws {
        var limits = HostLimits()
        limits.stallTimeout = .milliseconds(600)
        limits.offencesMax = 64
        let scene = try await Scene(limits)
        for size in [1, 2000] {
            let peer = try RawPeer(to: scene.address, seed: 9)
            defer { peer.close() }
            #expect(await peer.secure())
            for _ in 0..<40 {
                guard let stream = peer.connection.openStream(Self.blobs, priority: .control, at: Loop.now) else {
                    break
                }
                peer.connection.write([UInt8](repeating: 1, count: size), to: stream)
            }
            #expect(await peer.isDropped(), "\(size)")
        }
        #expect(try await scene.end("requests without end"))
    }

    @Test func messagesBeyondTheLimit() async throws {
        let scene = try await Scene()
        for message in [[0xff, 0xff, 0xff, 0x7f], [0xa1, 0x8d, 0x06], [0], [UInt8](repeating: 0xff, count: 20)] {
            let peer = try RawPeer(to: scene.address, seed: 9)
            defer { peer.close() }
            #expect(await peer.secure())
            let stream = peer.connection.openStream(Self.messages, priority: .control, at: Loop.now)
            peer.connection.write(message.map { UInt8($0) }, to: stream!)
            #expect(await peer.isDropped())
        }
        #expect(try await scene.end("messages beyond the limit"))
    }

    /// One segment brings the reason to drop the connection and streams behind it: those must not be taken up any more, or
    /// their handlers would wait for a peer that is gone, and a stopping host for them.
    @Test func streamsBehindTheReasonToDrop() async throws {
        let clock = "/test/clock/1.0.0"
        let served = makeHost(3)
        await served.acceptMessages(on: Self.messages, messageBytesMax: 1000)
        await served.serveSessions(clock, messageBytesMax: 10) { session in _ = try? await session.receive() }
        let peer = try RawPeer(to: try await served.start()[0], seed: 9)
        defer { peer.close() }
        #expect(await peer.secure())
        let bad = peer.connection.openStream(Self.messages, priority: .control, at: Loop.now)
        peer.connection.write([0], to: bad!)
        for _ in 0..<3 { _ = peer.connection.openStream(clock, priority: .control, at: Loop.now) }
        #expect(await peer.isDropped())
        #expect(await served.sessionCount == 0)
        #expect(await stop(served))
    }

    @Test func messagesThatNobodyReadsAndPushesWithoutEnd() async throws {
        let scene = try await Scene()
        let peer = try RawPeer(to: scene.address, seed: 9)
        #expect(await peer.secure())
        // As fast as it may, 20 MB of messages: the consumer, which does not read, holds them back at its limit.
        let stream = peer.connection.openStream(Self.messages, priority: .control, at: Loop.now)!
        let message = [UInt8](repeating: 7, count: 100_000)
        for _ in 0..<200 {
            peer.connection.write([0xa0, 0x8d, 0x06] + message, to: stream)
        }
        var record = IdentifyRecord()
        for index in 0..<1000 where !peer.isClosedByPeer {
            record.agentVersion = "liar/\(index)" + String(repeating: "x", count: 200)
            peer.connection.announce(record, protocols: [:], at: Loop.now)
            peer.turn()
        }
        #expect(!peer.isClosedByPeer, "it kept to the rules, and is held back")
        // What the stream's window had granted before may still come.
        let bytesMax = HostLimits().waitingEventBytesMax + YamuxLimits().streamWindowBytesMax + 200_000
        #expect(await scene.victim.waitingEventBytes <= bytesMax)
        #expect(await scene.victim.waitingEventCount < 1100)
        #expect(try await scene.end("messages and pushes without end"))
        peer.close()
    }
}

extension PeerHost {
    var waitingEventBytes: Int { eventBytes }
    var sessionCount: Int { sessions.count }
    var waitingEventCount: Int { events.count - eventsTaken }
}
