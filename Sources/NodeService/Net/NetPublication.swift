import Checkpoint
import Glibc
import JSONText
import Transport

/// Talks to a running `atoll net listen`.
package struct NetPublication: Sendable {
    /// Bytes that one gossip message carries.
    package static let byteCountMax = 1023 << 10

    private let controlPath: String

    /// Works with the listener behind a control socket.
    package init(controlPath: String) { self.controlPath = controlPath }

    /// Publishes a file on a topic.
    package func publish(_ path: String, to topic: String) async throws(UserError) -> NetEvent {
        _ = try NetHost.topic(topic)
        guard let resolved = realpath(path, nil) else { throw .system("read \(path)", errno: errno) }
        defer { free(resolved) }
        var status = stat()
        guard stat(resolved, &status) == 0 else { throw .system("read \(path)", errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw UserError("\(path) is no file", cure: "Name a regular file", exitCode: .noInput)
        }
        guard status.st_size <= Self.byteCountMax else {
            throw UserError(
                "\(path) has \(status.st_size) bytes and a message carries at most \(Self.byteCountMax)",
                cure: "Announce its digest instead and serve it as a blob", exitCode: .badData)
        }
        return try await ask(
            ["command": "publish", "topic": .text(topic), "path": .text(String(cString: resolved))])
    }

    /// Looks a peer up in the listener's hash table.
    package func find(_ peer: String) async throws(UserError) -> NetEvent {
        try await ask(["command": "find", "peer": .text(peer)])
    }

    /// Hears what arrives on some topics, until `countMax` messages came (nil: for ever) or Ctrl-C.
    package func subscribe(
        _ topics: [String], countMax: Int?, show: (NetEvent) -> Void
    ) async throws(UserError) {
        for topic in topics { _ = try NetHost.topic(topic) }
        if let countMax { try checkFlag("--count", countMax, in: 1...1_000_000_000) }
        let client = try await connect()
        let signals = SignalWaiter()
        await signals.start()
        let watcher = Task {
            if await signals.next() != nil { await client.close() }
        }
        do {
            let question: JSONValue = ["command": "subscribe", "topics": .array(topics.map { .text($0) })]
            try await client.send(question.line)
            var count = 0
            while count < countMax ?? .max, let line = try await client.nextLine() {
                let event = try Self.event(line)
                show(event)
                if event.json.object?["event"] == "message" { count += 1 }
            }
        } catch {
            await signals.stop()
            await watcher.value
            await client.close()
            throw UserError(wrapping: error)
        }
        await signals.stop()
        await watcher.value
        await client.close()
    }

    private func connect() async throws(UserError) -> ControlClient {
        do { return try await ControlClient.connect(path: controlPath) } catch {
            throw UserError(
                "no listener answers at \(controlPath)",
                cure: "Start one with atoll net listen, or name its socket by --control", exitCode: .unavailable)
        }
    }

    private func ask(_ question: JSONValue) async throws(UserError) -> NetEvent {
        let client = try await connect()
        do {
            try await client.send(question.line)
            guard let line = try await client.nextLine() else {
                throw UserError("the listener is gone", cure: "Start it again", exitCode: .unavailable)
            }
            await client.close()
            return try Self.event(line)
        } catch {
            await client.close()
            throw UserError(wrapping: error)
        }
    }

    /// An event that the listener sent; throws the error that it may be instead.
    private static func event(_ line: [UInt8]) throws -> NetEvent {
        let value = try JSONValue(parsing: line)
        guard let object = value.object else {
            throw UserError(
                "the listener's answer is not understood", cure: "It may be of another version; restart it",
                exitCode: .unavailable)
        }
        if let reason = object["error"]?.string?.string {
            let code = object["code"]?.integer.flatMap { UserError.ExitCode(rawValue: Int32(truncatingIfNeeded: $0)) }
            throw UserError(reason, cure: object["cure"]?.string?.string ?? "", exitCode: code ?? .unavailable)
        }
        return NetEvent(received: value)
    }
}

extension NetEvent {
    /// An event as a listener's client shows it: what there is to say in one line.
    init(received json: JSONValue) {
        let object = json.object
        func field(_ name: String) -> String? { object?[JSONString(name)]?.string?.string }
        self.json = json
        switch field("event") {
        case "message":
            let bytes = object?["bytes"]?.integer ?? 0
            let content = field("text").map { UserError.oneLine($0) }
            text =
                "\(field("topic") ?? "")  \(field("author") ?? ""): "
                + (content ?? "\(bytes) bytes, BLAKE2b-256 \(field("blake2b") ?? "")")
        case "published":
            let followers = object?["followers"]?.integer ?? 0
            text = "published \(object?["bytes"]?.integer ?? 0) bytes on \(field("topic") ?? "") to \(followers) peers"
        case "found":
            let addresses = object?["addresses"]?.array?.compactMap { $0.string?.string } ?? []
            text = "\(field("peer_id") ?? "") is at \(addresses.joined(separator: " "))"
        default: text = field("event") ?? ""
        }
    }
}
