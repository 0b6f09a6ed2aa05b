import Glibc
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct ControlTests {
    /// A socket path in a fresh folder.
    private func freshPath() -> String {
        var template = Array("/tmp/atoll-control-XXXXXX".utf8CString)
        return String(cString: mkdtemp(&template)) + "/control.sock"
    }

    private func text(_ line: [UInt8]?) -> String? { line.map { String(decoding: $0, as: UTF8.self) } }

    @Test func linesAreAnsweredInOrderToSeveralClients() async throws {
        let path = freshPath()
        let server = ControlServer(path: path) { line, reply in
            for index in 0..<3 { await reply.send(line + Array(" \(index)".utf8)) }
        }
        try await server.start()
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        var clients: [ControlClient] = []
        for _ in 0..<5 { clients.append(try await ControlClient.connect(path: path)) }
        for (index, client) in clients.enumerated() {
            try await client.send(Array("a\(index)".utf8))
            try await client.send(Array("b\(index)".utf8))
        }
        for (index, client) in clients.enumerated() {
            for word in ["a", "b"] {
                for count in 0..<3 { #expect(text(try await client.nextLine()) == "\(word)\(index) \(count)") }
            }
            await client.close()
        }
        await server.stop()
        #expect(stat(path, &status) == -1)
        await #expect(throws: TransportError.self) { _ = try await ControlClient.connect(path: path) }
    }

    @Test func aLiveSocketIsNotTakenAndADeadOneIs() async throws {
        let path = freshPath()
        let first = ControlServer(path: path) { line, reply in await reply.send(line) }
        try await first.start()
        let second = ControlServer(path: path) { _, _ in }
        await #expect(throws: TransportError.controlSocketInUse(path: path)) { try await second.start() }
        await first.stop()
        // The file of a process that died.
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0)
            }
        }
        close(descriptor)
        try await second.start()
        await second.stop()
        let long = ControlServer(path: "/tmp/" + String(repeating: "a", count: 120)) { _, _ in }
        await #expect(throws: TransportError.self) { try await long.start() }
    }

    @Test func anAnswerThatIsFollowedStopsWhenTheClientLeaves() async throws {
        let path = freshPath()
        let left = Gate()
        let server = ControlServer(path: path) { line, reply in
            var count = 0
            while await reply.send(Array("\(count)".utf8) + [UInt8](repeating: 32, count: 10_000)) { count += 1 }
            await left.wait()
        }
        try await server.start()
        let client = try await ControlClient.connect(path: path)
        try await client.send(Array("follow".utf8))
        for count in 0..<200 { #expect(text(try await client.nextLine())?.hasPrefix("\(count) ") == true) }
        await client.close()
        await left.reached()
        await left.open()
        await server.stop()
    }

    @Test func aLineAboveTheLimitEndsTheClientAlone() async throws {
        let path = freshPath()
        let server = ControlServer(path: path, lineBytesMax: 100) { line, reply in await reply.send(line) }
        try await server.start()
        let bad = try await ControlClient.connect(path: path)
        let good = try await ControlClient.connect(path: path)
        try await bad.send([UInt8](repeating: 97, count: 101))
        let answer = try? await bad.nextLine()
        #expect(answer == nil || answer == .some(nil))
        try await good.send([UInt8](repeating: 97, count: 100))
        #expect(try await good.nextLine()?.count == 100)
        await server.stop()
        #expect(try await good.nextLine() == nil)
    }

    @Test func signalsAreReportedInPlaceOfEndingTheProcess() async throws {
        let waiter = SignalWaiter()
        await waiter.start()
        kill(getpid(), SIGTERM)
        #expect(await waiter.next() == .terminate)
        kill(getpid(), SIGINT)
        #expect(await waiter.next() == .interrupt)
        await waiter.stop()
        #expect(await waiter.next() == nil)
    }
}
