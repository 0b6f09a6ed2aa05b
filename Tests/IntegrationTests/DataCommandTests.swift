import Foundation
import Testing

/// Text prepared once, read by training, and what happens to damaged folders.
@Suite struct DataCommandTests {
    let place = Workplace()

    private func prepare() throws {
        try place.writeText()
        let lines = (0..<400).map { "{\"text\": \"record \($0) of the web, \($0 * 7 % 400)\", \"id\": \($0)}\n" }
        try place.write("web.jsonl", lines.joined())
        let gzip = Process()
        gzip.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        gzip.arguments = ["gzip", place["web.jsonl"]]
        try gzip.run()
        gzip.waitUntilExit()
        let result = try AtollProcess.run(
            "data", "prepare", "--data", "books=\(place["text"])", "web=\(place["web.jsonl.gz"])", "--out",
            place["prepared"], "--json")
        #expect(result.status == 0, "\(result.error)")
        let report = try #require(
            JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let domains = try #require(report["domains"] as? [[String: Any]])
        #expect(domains.map { $0["name"] as? String } == ["books", "web"])
        let training = domains.compactMap { $0["training_documents"] as? Int }
        let heldOut = domains.compactMap { $0["held_out_documents"] as? Int }
        #expect(zip(training, heldOut).map { $0 + $1 } == [40, 400])
        // About a twentieth, chosen by content.
        #expect((10...30).contains(heldOut[1]))
    }

    @Test func `Prepared text trains to the same bits as the text itself`() throws {
        try prepare()
        for (name, data) in [
            ("direct", ["books=\(place["text"])", "web=\(place["web.jsonl.gz"])"]),
            ("model", ["books=\(place["prepared"])", "web=\(place["prepared"])"]),
        ] {
            let result = try AtollProcess.run(
                ["train", "--data"] + data + ["--steps", "2", "--batch", "2", "--out", place[name]])
            #expect(result.status == 0, "\(result.error)")
        }
        let weights = try ["direct", "model"].map {
            try Data(contentsOf: URL(fileURLWithPath: place["\($0)/model.safetensors"]))
        }
        #expect(weights[0] == weights[1])
    }

    @Test func `A damaged folder is found out, and preparing over one replaces nothing`() throws {
        try prepare()
        #expect(try AtollProcess.run("data", "verify", place["prepared"]).status == 0)
        let again = try AtollProcess.run("data", "prepare", "--data", place["text"], "--out", place["prepared"])
        #expect(again.status == 73)
        #expect(again.lastErrorLine.contains("not empty"))
        #expect(try AtollProcess.run("data", "verify", place["prepared"]).status == 0)

        let tokens = URL(fileURLWithPath: place["prepared/0-training-0.tokens"])
        var bytes = try Data(contentsOf: tokens)
        bytes[100] ^= 1
        try bytes.write(to: tokens)
        let flipped = try AtollProcess.run("data", "verify", place["prepared"])
        #expect(flipped.status == 65)
        #expect(flipped.lastErrorLine.contains("checksum"))
        try bytes.dropLast(2).write(to: tokens)
        for arguments in [
            ["data", "verify", place["prepared"]],
            ["train", "--data", place["prepared"], "--steps", "1", "--batch", "1"],
        ] {
            let cut = try AtollProcess.run(arguments)
            #expect(cut.status == 65)
            #expect(cut.lastErrorLine.contains("its index says"))
        }
    }

    @Test func `Training a tokenizer says what text it read`() throws {
        try place.writeText()
        let result = try AtollProcess.run(
            "tokenizer", "train", "--data", place["text"], "--vocab-size", "300", "--out", place["tokens"])
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output.hasPrefix("data: "))
        #expect(result.output.contains(" bytes of 40 files\n"))
    }

    @Test func `Lines without text leave no folder behind`() throws {
        try place.write("bad.jsonl", "{\"text\": 3}\n")
        let result = try AtollProcess.run("data", "prepare", "--data", place["bad.jsonl"], "--out", place["prepared"])
        #expect(result.status == 65)
        #expect(result.lastErrorLine.contains("line 1"))
        #expect(place.names() == ["bad.jsonl"])
    }
}
