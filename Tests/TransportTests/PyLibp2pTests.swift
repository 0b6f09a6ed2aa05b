import Foundation
import PeerNet
import Testing
import Transport

/// Interoperation with py-libp2p. testnets/peers/py_libp2p.sh makes the environment and runs this suite.
@Suite(
    .serialized, .timeLimit(.minutes(2)),
    .enabled(
        if: ProcessInfo.processInfo.environment["ATOLL_PY_LIBP2P"] != nil,
        "ATOLL_PY_LIBP2P does not name a Python with libp2p; run testnets/peers/py_libp2p.sh"))
struct PyLibp2pTests {
    private func python(_ arguments: String...) throws -> (process: Process, output: FileHandle, input: Pipe) {
        let process = Process()
        process.executableURL = URL(filePath: ProcessInfo.processInfo.environment["ATOLL_PY_LIBP2P"] ?? "")
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "testnets/peers/py_libp2p_ping.py")
        process.arguments = [script.path()] + arguments
        let (output, input) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardInput = input
        try process.run()
        return (process, output.fileHandleForReading, input)
    }

    @Test func pyLibp2pConnectsIdentifiesAndPingsUs() async throws {
        let host = makeHost(1)
        await host.acceptMessages(on: "/atoll/swarm/1.0.0", messageBytesMax: 65536)
        let address = try await host.start()[0].encapsulating(p2p: host.peerID)
        let (process, output, _) = try python("dial", address.description)
        let text = await Task.detached { String(decoding: output.readDataToEndOfFile(), as: UTF8.self) }.value
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(text.contains("atoll/test") && text.contains("/atoll/swarm/1.0.0"))
        #expect(text.contains(#""what": "ping", "count": 5"#))
        print(text)
        #expect(await stop(host))
    }

    @Test func weIdentifyAndPingPyLibp2p() async throws {
        let (process, output, input) = try python("listen")
        let line = await Task.detached { String(decoding: output.availableData, as: UTF8.self) }.value
        let text = try #require(line.split(separator: "\"").first { $0.hasPrefix("/ip4/") })
        let host = makeHost(1)
        _ = try await host.start()
        let peer = try await host.connect(to: [try Multiaddr(text)])
        let record = await host.first { event -> IdentifyRecord? in
            if case .identified(_, let record) = event { record } else { nil }
        }
        #expect(record?.agentVersion.hasPrefix("py-libp2p") == true)
        for _ in 0..<5 { #expect(try await host.ping(peer) > .zero) }
        print(record as Any, await host.peers().first?.roundTripTime as Any)
        await host.disconnect(peer, reason: "done")
        #expect(await stop(host))
        try input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}
