import Glibc
package import JSONText
import PeerNet
import Transport

/// `atoll bench idle`: what a node pays for peers that it is connected to and has nothing to say to. One host with gossip
/// and the hash table is measured in this process; its peers live in another one.
package enum IdleBench {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Connected peers.
        package var peers: Int
        /// Seconds that are measured, after ten in which the connections settle.
        package var seconds: Int

        /// Wraps the fields.
        package init(peers: Int, seconds: Int) {
            self.peers = peers
            self.seconds = seconds
        }
    }

    /// What it cost.
    package struct Report: CommandReport {
        /// Peers that stayed connected throughout.
        package var peers: Int
        /// How long was measured.
        package var seconds: Double
        /// Of one core.
        package var coreShare: Double
        /// Of the whole process.
        package var residentBytes: Int
        /// What the peers added to it.
        package var grownBytes: Int
        /// Bits per second and peer, both directions, as they went through the sockets.
        package var bitsPerSecond: Double

        package var text: String {
            """
            peers      \(peers), for \(NodeReport.decimal(seconds, places: 0)) s
            processor  \(NodeReport.decimal(coreShare * 100, places: 2)) % of a core
            memory     \(residentBytes >> 20) MiB, \(NodeReport.decimal(Double(grownBytes) / 1048576, places: 1)) MiB of it for the peers
            traffic    \(NodeReport.decimal(bitsPerSecond, places: 0)) bit/s per peer, both directions, without TCP/IP headers
            """
        }

        package var json: JSONValue {
            [
                "peers": .integer(Int64(peers)), "seconds": .number(seconds), "core_share": .number(coreShare),
                "resident_bytes": .integer(Int64(residentBytes)), "grown_bytes": .integer(Int64(grownBytes)),
                "bits_per_second_per_peer": .number(bitsPerSecond),
            ]
        }
    }

    private static let topicName = "atoll-idle"
    private static let settlingTime: Duration = .seconds(10)
    /// How long the peers may take to connect.
    private static let connectingTime: Duration = .seconds(60)

    /// Starts the peers in another process, waits until they are connected, and measures.
    package static func run(_ request: Request) async throws(UserError) -> Report {
        guard (1...150).contains(request.peers), (1...3600).contains(request.seconds) else {
            throw UserError(
                "peers or seconds are out of range", cure: "Give 1 to 150 peers and 1 to 3600 seconds", exitCode: .usage
            )
        }
        let host = try await NetHost.make(NetSettings(listen: ["/ip4/127.0.0.1/tcp/0"], table: "/atoll/kad/1.0.0"))
        let address = try await NetHost.start(host)[0]
        let before = residentBytes()
        let child: ChildProcess
        do throws(UserError) {
            try await follow(on: host)
            child = try ChildProcess(
                [
                    ChildProcess.ownPath(), "bench", "idle", "--peers", "\(request.peers)", "--as-peers-of",
                    address.encapsulating(p2p: host.peerID).description,
                ], outputPath: "/dev/null", errorPath: "/dev/null", detached: false)
        } catch {
            await host.stop()
            throw error
        }
        // Events are taken, as a node would; there is nothing to do about them.
        let consumer = Task { while await host.next() != nil {} }
        let report = await measure(host, request, before: before)
        child.send(signal: SIGKILL)
        _ = child.waitUntilEnd()
        await host.stop()
        await consumer.value
        guard let report else {
            throw UserError(
                "the peers did not connect, or did not stay", cure: "Try fewer peers", exitCode: .unavailable)
        }
        return report
    }

    private static func measure(_ host: PeerHost, _ request: Request, before: Int) async -> Report? {
        let clock = ContinuousClock()
        let deadline = clock.now + connectingTime
        while await host.peers().count(where: { $0.identify != nil }) < request.peers {
            guard clock.now < deadline else { return nil }
            await host.wait(.milliseconds(100))
        }
        await host.wait(settlingTime)
        let (began, usedBefore, trafficBefore) = (clock.now, processorTime(), await host.traffic())
        await host.wait(.seconds(request.seconds))
        let (seconds, used, traffic) = ((clock.now - began).inSeconds, processorTime(), await host.traffic())
        let peers = await host.peers().count
        guard peers >= request.peers else { return nil }
        let resident = residentBytes()
        let bytes =
            traffic.bytesSent + traffic.bytesReceived - trafficBefore.bytesSent - trafficBefore.bytesReceived
        return Report(
            peers: peers, seconds: seconds, coreShare: (used - usedBefore) / seconds, residentBytes: resident,
            grownBytes: max(0, resident - before), bitsPerSecond: Double(bytes) * 8 / seconds / Double(peers))
    }

    private static func follow(on host: PeerHost) async throws(UserError) {
        let topic = try NetHost.topic(topicName)
        do { try await host.subscribe(topic) } catch {
            throw UserError("the topic cannot be followed: \(error)", cure: "Report this", exitCode: .unavailable)
        }
    }

    /// The other process: hosts that connect to `address` and stay until it goes away.
    package static func serve(peers: Int, of address: String) async throws(UserError) {
        let target = try NetHost.address(address)
        var hosts: [PeerHost] = []
        for _ in 0..<peers {
            let host = try await NetHost.make(NetSettings(table: "/atoll/kad/1.0.0"))
            _ = try await NetHost.start(host)
            try await follow(on: host)
            do { _ = try await host.connect(to: [target]) } catch {
                throw UserError("\(error)", cure: "Run atoll bench idle without --as-peers-of", exitCode: .unavailable)
            }
            hosts.append(host)
        }
        await withTaskGroup(of: Void.self) { group in
            for host in hosts {
                group.addTask {
                    while let event = await host.next() { if case .disconnected = event { return } }
                }
            }
            // When the first is disconnected, all are.
            _ = await group.next()
            for host in hosts { await host.stop() }
        }
    }

    /// Seconds of processor time that this process has used.
    private static func processorTime() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        return Double(seconds) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6
    }

    /// Resident bytes of this process.
    private static func residentBytes() -> Int {
        let words = SystemText.lines("/proc/self/statm").first?.split(separator: " ") ?? []
        return words.count > 1 ? (Int(words[1]) ?? 0) * Int(getpagesize()) : 0
    }
}
