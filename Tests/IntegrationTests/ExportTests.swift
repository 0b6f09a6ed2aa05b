import Foundation
import Testing

/// Checkpoints in other forms, and what is left of one whose writer was killed.
@Suite struct ExportTests {
    let place = Workplace()

    private func makeModel() throws {
        try place.writeText()
        let result = try AtollProcess.run(
            "train", "--data", place["text"], "--steps", "2", "--batch", "2", "--out", place["model"])
        #expect(result.status == 0, "\(result.error)")
    }

    private func config(_ name: String) throws -> [String: Any] {
        let data = try Data(contentsOf: URL(fileURLWithPath: place["\(name)/config.json"]))
        return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func `Element types, shards and what else a folder holds survive`() throws {
        try makeModel()
        var edited = try config("model")
        edited["their_key"] = ["a": 1]
        edited["eos_token_id"] = [10, 0]
        try place.write(
            "model/config.json", String(decoding: JSONSerialization.data(withJSONObject: edited), as: UTF8.self))
        try place.write("model/chat_template.jinja", "{{ messages }}")
        let exported = try AtollProcess.run(
            "export", "safetensors", place["model"], "--dtype", "bfloat16", "--shard-size", "500KB", "--out",
            place["half"])
        #expect(exported.status == 0, "\(exported.error)")
        #expect(place.names(in: "half").contains("model-00001-of-00004.safetensors"))
        let tuned = try AtollProcess.run(
            "train", "--from", place["half"], "--data", place["text"], "--steps", "1", "--batch", "1", "--out",
            place["tuned"])
        #expect(tuned.status == 0, "\(tuned.error)")
        let merged = try AtollProcess.run("merge", place["tuned"], place["half"], "--out", place["merged"])
        #expect(merged.status == 0, "\(merged.error)")
        for (name, type) in [("half", "bfloat16"), ("tuned", "float32"), ("merged", "float32")] {
            #expect(try config(name)["torch_dtype"] as? String == type)
            #expect(try (config(name)["their_key"] as? [String: Int]) == ["a": 1])
            #expect(try (config(name)["eos_token_id"] as? [Int]) == [10, 0])
            #expect(place.names(in: name).contains("chat_template.jinja"))
        }
        #expect(place.names(in: "tuned").contains("model.safetensors"))
    }

    @Test func `GGUF files lie beside the folder and replace nothing`() throws {
        try makeModel()
        #expect(try AtollProcess.run("export", "gguf", place["model/"]).status == 0)
        let data = try Data(contentsOf: URL(fileURLWithPath: place["model.gguf"]))
        #expect(data.prefix(4) == Data("GGUF".utf8))
        // Two bytes per parameter, four for norms, and the metadata.
        #expect((1_670_000..<1_700_000).contains(data.count))
        for (arguments, status, words) in [
            (["export", "gguf", place["model"]], Int32(73), "exists already"),
            (["export", "gguf", place["model"], "--dtype", "int8"], 64, "--dtype int8"),
            (["export", "gguf", place["text"], "--out", place["x.gguf"]], 66, "config.json"),
            (["export", "gguf", "."], 64, "--out"),
            (["export", "safetensors", place["model"], "--out", place["model"]], 73, "not empty"),
            (["export", "safetensors", place["model"], "--out", place["o"], "--shard-size", "0"], 64, "--shard-size"),
            (["export", "safetensors", place["model"], "--out", place["none/o"]], 66, "no such file"),
        ] {
            let result = try AtollProcess.run(arguments)
            #expect(result.status == status, "\(arguments): \(result.error)")
            #expect(result.lastErrorLine.contains(words), "\(result.lastErrorLine)")
        }
        #expect(place.names() == ["model", "model.gguf", "text"])
    }

    /// Kills a writer once `isDue` says so of the names in its unfinished folder, and gives these.
    private func kill(
        _ arguments: [String], once isDue: (_ partial: [String], _ isThere: Bool) -> Bool
    ) throws -> Int {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: AtollProcess.path)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        var seen = 0
        while process.isRunning {
            let partial = place.names().first { $0.hasPrefix(".out.") }
            let names = partial.map { place.names(in: $0) } ?? []
            seen = max(seen, names.count)
            if isDue(names, FileManager.default.fileExists(atPath: place["out"])) { break }
            sched_yield()
        }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        return seen
    }

    @Test func `A killed writer leaves a whole checkpoint or none`() throws {
        try makeModel()
        // Some 40 files, each forced to the disk: the kill falls between them or into one.
        let arguments = [
            "export", "safetensors", place["model"], "--shard-size", "30KB", "--out", place["out"],
        ]
        var (whole, torn) = (0, 0)
        for count in [1, 2, 4, 5, 8, 13, 20, 27, 34, 38, 1000] {
            _ = try kill(arguments) { partial, isThere in partial.count >= count || isThere }
            if FileManager.default.fileExists(atPath: place["out"]) {
                whole += 1
                let used = try AtollProcess.run("generate", place["out"], "--tokens", "1")
                #expect(used.status == 0, "\(used.error)")
                try FileManager.default.removeItem(atPath: place["out"])
            } else {
                torn += 1
            }
        }
        #expect(whole > 0 && torn > 5)
        // The next writer of the same output removes what the killed ones left.
        #expect(try AtollProcess.run(arguments).status == 0)
        #expect(place.names() == ["model", "out", "text"])
        #expect(try AtollProcess.run("generate", place["out"], "--tokens", "1").status == 0)
    }
}
