import Foundation
import Testing

/// Training that is stopped and goes on.
@Suite struct ResumeTests {
    let place = Workplace()

    private func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: place[name])) }

    private func train(_ arguments: [String]) throws -> AtollProcess.Result {
        try AtollProcess.run(["train", "--data", place["text"], "--steps", "7", "--batch", "2"] + arguments)
    }

    @Test(arguments: [
        ["--dtype", "f32"], ["--dtype", "bf16", "--optimizer", "muon", "--schedule", "wsd"],
        ["--accumulate", "2", "--recompute"],
    ])
    func `A stopped run that is resumed ends with the bits of one that was not`(flags: [String]) throws {
        try place.writeText()
        #expect(try train(flags + ["--out", place["whole"]]).status == 0)
        let stopped = try train(flags + ["--stop-after", "3", "--out", place["part"]])
        #expect(stopped.status == 0, "\(stopped.error)")
        #expect(try bytes("part/model.safetensors") != bytes("whole/model.safetensors"))
        let resumed = try AtollProcess.run("train", "--resume", place["part"], "--threads", "1")
        #expect(resumed.status == 0, "\(resumed.error)")
        for file in ["model.safetensors", "trainer.state", "config.json"] {
            #expect(try bytes("part/\(file)") == bytes("whole/\(file)"), "\(file)")
        }
        #expect(place.names() == ["part", "text", "whole"])
    }

    @Test func `Checkpoints on the way replace each other and the last one is the whole run`() throws {
        try place.writeText()
        #expect(try train(["--out", place["whole"]]).status == 0)
        #expect(try train(["--save-every", "2", "--out", place["saved"]]).status == 0)
        #expect(try bytes("saved/model.safetensors") == bytes("whole/model.safetensors"))
        #expect(place.names() == ["saved", "text", "whole"])
    }

    @Test func `What a person keeps in the folder of a checkpoint survives a resumed run`() throws {
        try place.writeText()
        #expect(try train(["--stop-after", "2", "--out", place["part"]]).status == 0)
        try place.write("part/notes.md", "mine")
        try place.write("part/model-00001-of-00002.safetensors", "stale")
        #expect(try AtollProcess.run("train", "--resume", place["part"]).status == 0)
        #expect(try String(decoding: bytes("part/notes.md"), as: UTF8.self) == "mine")
        #expect(!place.names(in: "part").contains("model-00001-of-00002.safetensors"))
        // A folder cannot be carried over: said before the work, with everything left as it is.
        try place.write("part/more/notes.md", "mine")
        let before = try bytes("part/trainer.state")
        let refused = try AtollProcess.run("train", "--resume", place["part"], "--steps", "9")
        #expect(refused.status != 0 && refused.error.contains("more"), "\(refused.error)")
        #expect(try bytes("part/trainer.state") == before)
        #expect(place.names() == ["part", "text"])
    }

    @Test func `What cannot be resumed is refused with the cure`() throws {
        try place.writeText()
        #expect(try train(["--stop-after", "2", "--out", place["part"]]).status == 0)
        let whole = try bytes("part/trainer.state")
        func resume(_ more: String...) throws -> AtollProcess.Result {
            try AtollProcess.run(["train", "--resume", place["part"]] + more)
        }
        let flag = try resume("--batch", "4")
        #expect(flag.status == 64 && flag.error.contains("--batch does not go with --resume"))
        let few = try resume("--steps", "1")
        #expect(few.status == 64 && few.error.contains("has done 2 steps already"))

        try place.write("text/more.txt", String(repeating: "a line that was not there before\n", count: 200))
        let text = try resume()
        #expect(text.status == 65 && text.error.contains("not the one that this run began with"), "\(text.error)")
        try FileManager.default.removeItem(atPath: place["text/more.txt"])

        for damaged in [Data(), whole.prefix(100), whole.dropLast(), whole + [0], Data(repeating: 7, count: 5000)] {
            try damaged.write(to: URL(fileURLWithPath: place["part/trainer.state"]))
            let result = try resume()
            #expect(result.status == 65 && result.error.contains("trainer.state"), "\(result.error)")
        }
        try FileManager.default.removeItem(atPath: place["part/trainer.state"])
        let absent = try resume()
        #expect(absent.status != 0 && absent.error.contains("trainer.state"))
    }
}
