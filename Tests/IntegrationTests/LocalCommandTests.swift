import Foundation
import Testing

@Suite struct LocalCommandTests {
    let place = Workplace()

    private func train(_ out: String, _ more: String...) throws -> AtollProcess.Result {
        try AtollProcess.run(
            ["train", "--data", place["text"], "--steps", "3", "--batch", "2", "--out", place[out]] + more)
    }

    private func object(_ line: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test func `Training writes a checkpoint that the other commands read`() throws {
        try place.writeText()
        let trained = try train("model", "--json")
        #expect(trained.status == 0)
        let report = try object(trained.output)
        #expect(report["tokens"] as? Int == 3 * 2 * 128)
        #expect((report["tokens_per_second"] as? Double ?? 0) > 0)
        let (start, end) = (report["loss_start"] as? Double ?? 0, report["loss_end"] as? Double ?? 0)
        #expect(end < start)
        #expect(trained.error.contains("held out"))

        let evaluated = try AtollProcess.run(
            "eval", place["model"], "--data", place["text"], "--held-out", "--json", "--windows", "64")
        #expect(evaluated.status == 0)
        #expect(abs((try object(evaluated.output)["loss"] as? Double ?? 0) - end) < 1e-6)

        let generated = try AtollProcess.run("generate", place["model"], "--prompt", "line", "--tokens", "5", "--json")
        #expect(generated.status == 0)
        #expect(try object(generated.output)["tokens"] as? Int == 5)

        let merged = try AtollProcess.run(
            "merge", place["model"], place["model"], "--weights", "0.3,0.7", "--out", place["merged"])
        #expect(merged.status == 0)
        #expect(place.names(in: "merged") == place.names(in: "model").filter { $0 != "trainer.state" })
        // One model twice is that model; only the record of the merge in the header differs.
        let again = try AtollProcess.run(
            "eval", place["merged"], "--data", place["text"], "--held-out", "--json", "--windows", "64")
        #expect(again.output == evaluated.output)
        #expect(place.names() == ["merged", "model", "text"])
    }

    @Test func `The same seed gives the same model on one thread and on two`() throws {
        try place.writeText()
        #expect(try train("one", "--seed", "7", "--threads", "1").status == 0)
        #expect(try train("two", "--seed", "7", "--threads", "2").status == 0)
        #expect(try train("other", "--seed", "8", "--threads", "2").status == 0)
        func tensors(_ name: String) throws -> Data {
            try Data(contentsOf: URL(fileURLWithPath: place["\(name)/model.safetensors"]))
        }
        #expect(try tensors("one") == tensors("two"))
        #expect(try tensors("one") != tensors("other"))
    }

    @Test func `Training goes on from a checkpoint`() throws {
        try place.writeText()
        #expect(try train("model").status == 0)
        let more = try train("more", "--from", place["model"], "--json")
        #expect(more.status == 0)
        #expect((try object(more.output)["loss_start"] as? Double ?? 9) < 5.4)
    }

    @Test func `Logits are written for every position`() throws {
        try place.writeText()
        #expect(try train("model").status == 0)
        try place.write("ids.json", #"{"sequences":[[1,2,3],[255]]}"#)
        let result = try AtollProcess.run(
            "logits", place["model"], "--ids", place["ids.json"], "--out", place["logits.json"])
        #expect(result.status == 0)
        let text = try String(contentsOfFile: place["logits.json"], encoding: .utf8)
        let logits = try #require(object(text)["logits"] as? [[[Double]]])
        #expect(logits.map(\.count) == [3, 1])
        #expect(logits.allSatisfy { $0.allSatisfy { $0.count == 256 } })
    }

    @Test func `Several texts are generated at once, up to a stop string or an end token`() throws {
        try place.writeText()
        #expect(try train("model").status == 0)
        let greedy = ["generate", place["model"], "--temperature", "0", "--tokens", "20", "--json"]
        let alone = try object(try AtollProcess.run(greedy + ["--prompt", "line"]).output)
        let ids = try #require(alone["ids"] as? [Int])
        #expect(ids.count == 20 && alone["finish"] as? String == "length")
        #expect((alone["decode_tokens_per_second"] as? Double ?? 0) > 0)
        try place.write("prompts.json", #"{"prompts":["text", "line"]}"#)
        try place.write("ids.json", #"{"sequences":[[108, 105, 110, 101]]}"#)
        let together = try AtollProcess.run(
            greedy + ["--prompt", "line", "--prompts", place["prompts.json"], "--ids", place["ids.json"]])
        let results = try #require(object(together.output)["results"] as? [[String: Any]])
        #expect(results.map { $0["prompt"] as? String } == ["line", "text", "line", "line"])
        for index in [0, 2, 3] { #expect(results[index]["ids"] as? [Int] == ids) }

        // A text that is generated anyway, as a stop string; then its last token, as an end token.
        let text = try #require(alone["text"] as? String)
        let stop = String(text.suffix(3))
        let stopped = try object(try AtollProcess.run(greedy + ["--prompt", "line", "--stop", stop]).output)
        #expect(stopped["finish"] as? String == "stop")
        let before = try #require(stopped["text"] as? String)
        #expect(text.hasPrefix(before + stop) && !before.contains(stop))
        try place.write("model/generation_config.json", "{\"eos_token_id\": [\(ids[19]), 255]}")
        let ended = try object(try AtollProcess.run(greedy + ["--prompt", "line"]).output)
        #expect(ended["finish"] as? String == "eos")
        #expect(ended["ids"] as? [Int] == Array(ids[...(ids.firstIndex(of: ids[19]) ?? 0)]))
    }

    @Test func `Token ids are evaluated`() throws {
        try place.writeText()
        #expect(try train("model").status == 0)
        try place.write("ids.json", #"{"sequences":[[1,2,3],[255,0]]}"#)
        let result = try AtollProcess.run("eval", place["model"], "--ids", place["ids.json"], "--json")
        #expect(result.status == 0, "\(result.error)")
        let report = try object(result.output)
        #expect(report["tokens"] as? Int == 3 && report["sequences"] as? Int == 2)
        let (loss, perplexity) = (report["loss"] as? Double ?? 0, report["perplexity"] as? Double ?? 0)
        #expect(loss > 0 && abs(perplexity / exp(loss) - 1) < 1e-9)
    }

    @Test func `Ctrl-C ends training after the running step and keeps the checkpoint`() throws {
        try place.writeText()
        let result = try AtollProcess.run(
            [
                "train", "--data", place["text"], "--steps", "1000000", "--batch", "1", "--out", place["model"],
                "--json",
            ],
            interruptAfter: "step ")
        #expect(result.status == 130)
        #expect(try object(result.output)["interrupted"] as? Bool == true)
        #expect(place.names() == ["model", "text"])
        #expect(try AtollProcess.run("generate", place["model"], "--tokens", "1").status == 0)
    }
}
