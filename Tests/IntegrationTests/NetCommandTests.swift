import Foundation
import Testing

/// `atoll net`: two processes of the real binary on 127.0.0.1.
@Suite struct NetCommandTests {
    let place = Workplace()

    /// A running listener and the lines that it has printed.
    private final class Listener {
        let process = Process()
        let control: String
        private let output = Pipe()
        private var rest = Data()

        init(_ place: Workplace, _ name: String, _ flags: String...) throws {
            control = place["\(name).sock"]
            process.executableURL = URL(fileURLWithPath: AtollProcess.path)
            process.arguments = ["net", "listen", "/ip4/127.0.0.1/tcp/0", "--json", "--control", control] + flags
            process.standardOutput = output
            try process.run()
        }

        /// The next event of a kind; others before it are passed over.
        func next(_ event: String) throws -> [String: Any] {
            while true {
                while let end = rest.firstIndex(of: 0x0a) {
                    let line = rest[..<end]
                    rest = Data(rest[rest.index(after: end)...])
                    let object = try #require(try JSONSerialization.jsonObject(with: line) as? [String: Any])
                    if object["event"] as? String == event { return object }
                }
                let part = output.fileHandleForReading.availableData
                try #require(!part.isEmpty, "the listener ended before \(event)")
                rest += part
            }
        }

        /// Stops it by a signal; its exit status.
        func stop() -> Int32 {
            process.terminate()
            process.waitUntilExit()
            return process.terminationStatus
        }
    }

    private func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func `Listeners gossip, find each other in the table, and a dial tells what was negotiated`() throws {
        let table = "/ipfs/kad/1.0.0"
        let one = try Listener(place, "one", "--topic", "reef", "--dht", table)
        let addresses = try #require(try one.next("listening")["addresses"] as? [String])
        let address = addresses[0]
        let other = try Listener(place, "other", "--topic", "reef", "--dht", table, "--bootstrap", address)
        let otherAddress = try #require(try other.next("listening")["addresses"] as? [String])[0]
        let id = String(otherAddress.split(separator: "/").last ?? "")
        #expect(try one.next("identified")["peer_id"] as? String == id)

        try place.write("short", "hello, reef")
        let published = try AtollProcess.run(
            "net", "publish", "--topic", "reef", place["short"], "--control", other.control, "--json")
        #expect(published.status == 0, "\(published.error)")
        let short = try one.next("message")
        #expect(short["text"] as? String == "hello, reef")
        #expect(short["author"] as? String == id)
        try Data((0..<900_000).map { UInt8(truncatingIfNeeded: $0) }).write(to: URL(fileURLWithPath: place["long"]))
        let long = try AtollProcess.run(
            "net", "publish", "--topic", "reef", place["long"], "--control", one.control, "--json")
        let arrived = try other.next("message")
        #expect(arrived["bytes"] as? Int == 900_000)
        #expect(try object(long.output)["blake2b"] as? String == arrived["blake2b"] as? String)

        let dialed = try AtollProcess.run("net", "dial", address, "--json", "--find", id, "--dht", table)
        #expect(dialed.status == 0, "\(dialed.error)")
        let report = try object(dialed.output)
        #expect(report["security"] as? String == "/noise" && report["muxer"] as? String == "/yamux/1.0.0")
        #expect((report["protocols"] as? [String])?.contains("/meshsub/1.2.0") == true)
        #expect((report["ping_milliseconds"] as? [Double])?.count == 3)
        #expect((report["found_addresses"] as? [String])?.first.map { otherAddress.hasPrefix($0) } == true)
        let found = try AtollProcess.run("net", "find", id, "--control", one.control)
        #expect(found.output.hasPrefix("\(id) is at /ip4/127.0.0.1/tcp/"))
        #expect(one.stop() == 0 && other.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: one.control))
    }

    @Test func `A subscription through a listener hears what others publish`() throws {
        let one = try Listener(place, "one")
        let address = try #require(try one.next("listening")["addresses"] as? [String])[0]
        let other = try Listener(place, "other", "--bootstrap", address)
        _ = try one.next("identified")
        try place.write("text", "heard")
        let subscriber = Process()
        let output = Pipe()
        subscriber.executableURL = URL(fileURLWithPath: AtollProcess.path)
        subscriber.arguments = ["net", "subscribe", "reef", "--count", "1", "--control", one.control]
        subscriber.standardOutput = output
        try subscriber.run()
        // The first line says that the subscription stands; gossip tells the other side within the same moment.
        #expect(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) == "subscribed\n")
        var followers = 0
        while followers == 0 {
            let published = try AtollProcess.run(
                "net", "publish", "--topic", "reef", place["text"], "--control", other.control, "--json")
            followers = try #require(try object(published.output)["followers"] as? Int)
        }
        let rest = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(rest.hasPrefix("reef  12D3KooW") && rest.hasSuffix(": heard\n"))
        subscriber.waitUntilExit()
        #expect(subscriber.terminationStatus == 0)
        #expect(one.stop() == 0 && other.stop() == 0)
    }

    @Test func `Mistakes end with cause, cure and code`() throws {
        func expectFailure(_ arguments: [String], _ status: Int32, _ words: String...) throws {
            let result = try AtollProcess.run(arguments)
            #expect(result.status == status, "\(arguments): \(result.error)")
            for word in words { #expect(result.lastErrorLine.contains(word), "\(result.lastErrorLine)") }
            #expect(result.output.isEmpty)
        }
        let control = ["--control", place["x.sock"]]
        try expectFailure(["net", "listen", "here"] + control, 64, "'here' is no multiaddr", "/ip4/127.0.0.1/tcp/4001")
        try expectFailure(["net", "listen", "/dns4/example.com/tcp/1"] + control, 69, "example.com")
        try expectFailure(
            ["net", "listen", "/ip4/127.0.0.1/tcp/0", "--topic", ""] + control, 64, "is no topic")
        try expectFailure(
            ["net", "listen", "/ip4/127.0.0.1/tcp/0", "--dht", "kad"] + control, 64, "names no protocol")
        try expectFailure(["net", "dial", "/ip4/127.0.0.1/tcp/1"], 69, "refused")
        try expectFailure(["net", "dial", "/ip4/127.0.0.1/tcp/1", "--ping=-1"], 64, "--ping")
        try place.write("text", "x")
        try expectFailure(
            ["net", "publish", "--topic", "reef", place["text"]] + control, 69, "no listener answers", "net listen")
        try expectFailure(["net", "publish", "--topic", "reef", place["none"]] + control, 66, "no such file")
        try expectFailure(["net", "publish", "--topic", "reef", place.path] + control, 66, "is no file")
        try Data(count: 1024 << 10).write(to: URL(fileURLWithPath: place["large"]))
        try expectFailure(["net", "publish", "--topic", "reef", place["large"]] + control, 65, "1047552")
        try expectFailure(["net", "find", "12D3"] + control, 69, "no listener answers")
        let listener = try Listener(place, "one")
        _ = try listener.next("listening")
        try expectFailure(["net", "find", "12D3", "--control", listener.control], 64, "no hash table", "--dht")
        try expectFailure(
            ["net", "listen", "/ip4/127.0.0.1/tcp/0", "--control", listener.control], 69, "--control PATH")
        #expect(listener.stop() == 0)
    }
}
