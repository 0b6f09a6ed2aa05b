import Foundation
import Testing

/// Every mistake ends with one line that names cause and cure, a documented exit code, and nothing left behind.
@Suite struct LocalBadInputTests {
    let place = Workplace()

    /// Runs a command that must fail with the code and with all of the words in its one line.
    private func expectFailure(_ arguments: [String], _ status: Int32, _ words: String...) throws {
        let before = place.names()
        let result = try AtollProcess.run(arguments)
        #expect(result.status == status, "\(arguments): \(result.error)")
        #expect(result.lastErrorLine.hasPrefix("atoll: "), "\(arguments): \(result.error)")
        #expect(result.lastErrorLine.hasSuffix("."))
        for word in words { #expect(result.lastErrorLine.contains(word), "\(result.lastErrorLine)") }
        #expect(result.output.isEmpty)
        #expect(place.names() == before)
    }

    private func train(_ arguments: String...) -> [String] {
        ["train", "--steps", "1", "--batch", "1"] + arguments
    }

    private func makeModel(_ name: String = "model") throws {
        try place.writeText()
        let result = try AtollProcess.run(train("--data", place["text"], "--out", place[name]))
        #expect(result.status == 0, "\(result.error)")
    }

    @Test func `Text that is not there`() throws {
        try expectFailure(train("--data", place["none/*.txt"]), 66, "no file matches", "Check the pattern")
        try expectFailure(train(), 64, "no training data", "--data")
        try place.write("empty/a.txt", "")
        try place.write("short/a.txt", "too short")
        try expectFailure(train("--data", place["empty"]), 65, "0 bytes", "Name more files")
        try expectFailure(train("--data", place["short"]), 65, "9 bytes", "Name more files")
        try expectFailure(train("--data", "name="), 64, "names no files", "NAME=GLOB")
    }

    @Test func `Flags out of range`() throws {
        try place.writeText()
        try expectFailure(train("--data", place["text"], "--size", "huge"), 64, "no preset huge", "nano, micro")
        try expectFailure(train("--data", place["text"], "--threads", "5000"), 64, "--threads")
        try expectFailure(train("--data", place["text"], "--learning-rate", "0"), 64, "--learning-rate")
        try expectFailure(["train", "--data", place["text"], "--batch", "0"], 64, "--batch")
        try expectFailure(["generate", place["text"], "--temperature=-1"], 64, "--temperature")
    }

    @Test func `Checkpoints that are not there or are no checkpoints`() throws {
        try expectFailure(["eval", place["none"], "--data", "x"], 66, "none", "no such file", "Check the path")
        try makeModel()
        try expectFailure(["generate", place["text"]], 66, "config.json", "no such file")
        try expectFailure(["generate", place["text/0.txt"]], 66, "not a folder")
        for (file, garbage) in [
            ("model.safetensors", "\u{1}garbage that is no tensor file"), ("config.json", "{"),
            ("tokenizer.json", "[]"),
            ("model.safetensors", ""),
        ] {
            let path = place["model/\(file)"]
            let good = try Data(contentsOf: URL(fileURLWithPath: path))
            try place.write("model/\(file)", garbage)
            try expectFailure(["generate", place["model"]], 65, file, "damaged")
            try good.write(to: URL(fileURLWithPath: path))
        }
        let tensors = try Data(contentsOf: URL(fileURLWithPath: place["model/model.safetensors"]))
        try tensors.dropLast(1000).write(to: URL(fileURLWithPath: place["model/model.safetensors"]))
        try expectFailure(["generate", place["model"]], 65, "damaged")
    }

    @Test func `Merges that make no sense`() throws {
        try makeModel()
        let model = place["model"]
        try expectFailure(["merge", model, model, "--weights", "1,-1", "--out", place["out"]], 64, "sum to zero")
        try expectFailure(
            ["merge", model, model, "--weights", "1", "--out", place["out"]], 64, "1 weights", "2 checkpoints")
        try expectFailure(["merge", model, model, "--weights", "1,x", "--out", place["out"]], 64, "is not a number")
        try expectFailure(["merge", "--out", place["out"]], 64, "no checkpoint")
        try expectFailure(["merge", model, model, "--out", model], 73, "one of the inputs")
        try expectFailure(["merge", model, place["text"], "--out", place["out"]], 66, "config.json")
    }

    @Test func `Outputs that are in use or have no folder`() throws {
        try makeModel()
        try expectFailure(train("--data", place["text"], "--out", place["model"]), 73, "not empty", "another path")
        try expectFailure(train("--data", place["text"], "--out", place["text/0.txt"]), 73, "exists already")
        try expectFailure(train("--data", place["text"], "--out", place["none/model"]), 66, "no such file or folder")
        try expectFailure(["merge", place["model"], "--out", place["text"]], 73, "not empty")
        try place.write("ids.json", #"{"sequences":[[256]]}"#)
        try expectFailure(
            ["logits", place["model"], "--ids", place["ids.json"], "--out", place["l"]], 65, "outside the vocabulary")
        try place.write("ids.json", #"{"sequences":[]}"#)
        try expectFailure(
            ["logits", place["model"], "--ids", place["ids.json"], "--out", place["l"]], 65, "no list of sequences")
    }

    @Test func `Generation and evaluation that make no sense`() throws {
        try makeModel()
        let (model, ids) = (place["model"], place["ids.json"])
        try expectFailure(["generate", model, "--top-p", "0"], 64, "--top-p")
        try expectFailure(["generate", model, "--top-p", "nan"], 64, "--top-p")
        try expectFailure(["generate", model, "--min-p", "2"], 64, "--min-p")
        try expectFailure(["generate", model, "--repetition-penalty", "0"], 64, "--repetition-penalty")
        try expectFailure(["generate", model, "--stop", ""], 64, "--stop")
        try expectFailure(["generate", model, "--prompts", place["none"]], 66, "no such file")
        try expectFailure(["eval", model, "--ids", ids, "--data", "x"], 64, "exclude each other")
        for (text, word) in [
            (#"{"sequences":[[1]]}"#, "has 1 ids"), (#"{"sequences":[[1,-1]]}"#, "outside the vocabulary"),
            (#"{"sequences":[[1,1.5]]}"#, "no list of sequences"), (#"{"sequences":[[1,9999999999]]}"#, "no list"),
            ("[[1]", "is"),
        ] {
            try place.write("ids.json", text)
            try expectFailure(["eval", model, "--ids", ids, "--json"], 65, word)
        }
        try place.write("ids.json", #"{"prompts":[1]}"#)
        try expectFailure(["generate", model, "--prompts", ids], 65, "no list of prompts")
        let long = Array(repeating: "1", count: 129).joined(separator: ",")
        try place.write("ids.json", "{\"sequences\":[[1],[\(long)]]}")
        try expectFailure(["logits", model, "--ids", ids, "--out", place["l"]], 65, "sequence 1", "129 ids")
        try place.write("model/generation_config.json", #"{"eos_token_id": "end"}"#)
        try expectFailure(["generate", model], 65, "eos_token_id", "generation_config.json")
    }

    @Test(.enabled(if: mayMount, "needs the right to mount a file system")) func `A full disk`() throws {
        try makeModel()
        #expect(place.mountMemory("disk", bytes: 1 << 20))
        try expectFailure(
            train("--data", place["text"], "--out", place["disk/model"]), 74, "no space left on device",
            "Free some space")
        try expectFailure(["merge", place["model"], "--out", place["disk/merged"]], 74, "no space left on device")
        #expect(place.names(in: "disk") == [])
    }

    @Test(.enabled(if: mayMount, "needs the right to mount a file system")) func `A read-only disk`() throws {
        try makeModel()
        #expect(place.mountMemory("disk", bytes: 1 << 20))
        #expect(place.remountReadOnly("disk"))
        try expectFailure(
            train("--data", place["text"], "--out", place["disk/model"]), 73, "read-only file system", "writable")
        try expectFailure(["merge", place["model"], "--out", place["disk/merged"]], 73, "read-only file system")
    }

    @Test func `A reader that has gone away ends the command without a trace`() throws {
        try makeModel()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
            "-c", "'\(AtollProcess.path)' generate '\(place["model"])' --tokens 2000 | head -c 1 >/dev/null",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }
}
