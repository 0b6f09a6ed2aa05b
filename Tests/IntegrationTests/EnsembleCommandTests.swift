import Foundation
import Testing

@Suite struct EnsembleCommandTests {
    let place = Workplace()

    private func object(_ line: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    /// Two experts on texts that differ.
    private func makeExperts() throws {
        for name in ["red", "blue"] {
            try place.writeText(name)
            let trained = try AtollProcess.run(
                "train", "--data", place[name], "--steps", "40", "--batch", "4", "--out", place["expert-\(name)"])
            #expect(trained.status == 0, "\(trained.error)")
        }
    }

    private var experts: [String] { [place["expert-red"], place["expert-blue"]] }
    private var data: [String] { ["--data", "red=\(place["red"])", "blue=\(place["blue"])", "--windows", "16"] }

    private func losses(_ arguments: [String]) throws -> [String: Double] {
        let result = try AtollProcess.run(arguments)
        #expect(result.status == 0, "\(result.error)")
        let domains = try #require(object(result.output)["domains"] as? [[String: Any]])
        var losses: [String: Double] = [:]
        for domain in domains {
            let name = try #require(domain["name"] as? String)
            losses[name] = (domain["ensemble"] as? [String: Any] ?? domain)["loss"] as? Double
        }
        return losses
    }

    @Test func `An ensemble is evaluated per domain, and one-hot is that expert`() throws {
        try makeExperts()
        let result = try AtollProcess.run(["ensemble", "eval"] + experts + data + ["--json"])
        #expect(result.status == 0, "\(result.error)")
        let report = try object(result.output)
        let domains = try #require(report["domains"] as? [[String: Any]])
        #expect(domains.map { $0["name"] as? String } == ["red", "blue"])
        for (index, domain) in domains.enumerated() {
            let posterior = try #require(domain["posterior"] as? [Double])
            #expect(abs(posterior.reduce(0, +) - 1) < 1e-9)
            #expect(posterior[index] > posterior[1 - index], "\(domain)")
            let members = try #require(domain["experts"] as? [[String: Any]])
            let alone = members.compactMap { $0["loss"] as? Double }
            let mixed = try #require((domain["ensemble"] as? [String: Any])?["loss"] as? Double)
            #expect(alone[index] < alone[1 - index])
            #expect(mixed < alone[1 - index])
        }
        for (index, expert) in experts.enumerated() {
            let shares = index == 0 ? "1,0" : "0,1"
            let alone = try losses(["eval", expert] + data + ["--json"])
            for rule in ["bayes", "previous-token"] {
                let mixed = try losses(
                    ["ensemble", "eval"] + experts + data + ["--prior", shares, "--rule", rule, "--json"])
                for (name, loss) in alone { #expect(abs((mixed[name] ?? 0) - loss) < 1e-12) }
            }
        }
        let cached = try AtollProcess.run(["ensemble", "eval"] + experts + data + ["--prior", "cached"])
        #expect(cached.status == 0 && cached.output.contains("perplexity") && cached.output.contains("posterior"))
    }

    @Test func `Posteriors of token ids, alone and together`() throws {
        try makeExperts()
        let texts = ["red 3 line 7\n", "blue 3 line 7\n"].map { Array($0.utf8.map(Int.init)) }
        try place.write("ids.json", "{\"sequences\": \(texts)}")
        let result = try AtollProcess.run(
            ["ensemble", "posterior"] + experts + ["--ids", place["ids.json"], "--json"])
        #expect(result.status == 0, "\(result.error)")
        let report = try object(result.output)
        let sequences = try #require(report["sequences"] as? [[String: Any]])
        for (index, sequence) in sequences.enumerated() {
            let losses = try #require(sequence["losses"] as? [Double])
            let posterior = try #require(sequence["posterior"] as? [Double])
            #expect(abs(posterior[0] - 1 / (1 + exp(losses[0] - losses[1]))) < 1e-9)
            #expect(posterior[index] > 0.5, "\(sequence)")
            let alone = try object(
                AtollProcess.run("eval", experts[index], "--ids", place["ids.json"], "--json").output)
            let sum = sequences.reduce(0) { $0 + (($1["losses"] as? [Double])?[index] ?? .nan) }
            #expect(abs((alone["loss"] as? Double ?? 0) * Double(alone["tokens"] as? Int ?? 0) - sum) < 1e-6)
        }
        let means = sequences.compactMap { ($0["posterior"] as? [Double])?[0] }
        let mean = try #require(report["mean"] as? [Double])
        #expect(abs(mean[0] - means.reduce(0, +) / 2) < 1e-9)
        #expect((report["joint"] as? [Double])?.count == 2)
    }

    @Test func `An ensemble generates, by the seed alone, and one expert twice is that expert`() throws {
        try makeExperts()
        let flags = ["--prompt", "red 1 line", "--tokens", "30", "--seed", "5", "--json"]
        func ids(_ arguments: [String]) throws -> [Int] {
            let result = try AtollProcess.run(arguments)
            #expect(result.status == 0, "\(result.error)")
            return try #require(object(result.output)["ids"] as? [Int])
        }
        let mixed = try ids(["ensemble", "generate"] + experts + flags + ["--threads", "1"])
        #expect(mixed.count == 30)
        #expect(try ids(["ensemble", "generate"] + experts + flags + ["--threads", "2"]) == mixed)
        let alone = try ids(["generate", experts[0]] + flags)
        #expect(try ids(["ensemble", "generate", experts[0], experts[0]] + flags) == alone)
        #expect(try ids(["ensemble", "generate"] + experts + flags + ["--prior", "1,0"]) == alone)
        #expect(
            try ids(["ensemble", "generate"] + experts + flags + ["--prior", "0.9,0.1", "--top-experts", "1"]) == alone)
    }

    @Test func `A merge takes its weights from a sample`() throws {
        try makeExperts()
        func merge(_ weights: String, _ more: [String] = []) throws -> [Double] {
            let result = try AtollProcess.run(
                ["merge"] + experts + ["--weights", weights, "--out", place["merged-\(weights)"], "--json"] + more)
            #expect(result.status == 0, "\(result.error)")
            let inputs = try #require(object(result.output)["inputs"] as? [[String: Any]])
            return inputs.compactMap { $0["weight"] as? Double }
        }
        let sample = ["--data", place["blue"]]
        let posterior = try merge("posterior", sample)
        #expect(posterior[1] > 0.5 && abs(posterior[0] + posterior[1] - 1) < 1e-9)
        #expect(try merge("argmax", sample) == [0, 1])
        #expect(try merge("uniform") == [0.5, 0.5])
        let (merged, expert) = (
            try AtollProcess.run(["eval", place["merged-argmax"]] + data + ["--json"]),
            try AtollProcess.run(["eval", experts[1]] + data + ["--json"])
        )
        #expect(merged.output == expert.output)
    }

    @Test func `Mistakes end with cause and cure`() throws {
        try makeExperts()
        let other = try AtollProcess.run(
            "tokenizer", "train", "--data", place["red"], "--vocab-size", "300", "--out", place["tokenizer"])
        #expect(other.status == 0, "\(other.error)")
        let trained = try AtollProcess.run(
            "train", "--data", place["red"], "--tokenizer", place["tokenizer"], "--steps", "1", "--batch", "1", "--out",
            place["other"])
        #expect(trained.status == 0, "\(trained.error)")
        try place.write("ids.json", #"{"sequences": [[1, 2, 300]]}"#)
        let failures: [([String], Int32, String)] = [
            (["eval", experts[0], place["other"]] + data, 65, "differ in the tokenizer"),
            (["eval"] + experts + data + ["--prior", "0.5"], 64, "1 shares were given for 2 experts"),
            (["eval"] + experts + data + ["--prior", "0,0"], 64, "not usable"),
            (["eval"] + experts + data + ["--prior", "best"], 64, "no prior"),
            (["eval"] + experts + data + ["--rule", "best"], 64, "bayes or previous-token"),
            (["eval"] + experts + data + ["--top-experts", "0"], 64, "--top-experts"),
            (["eval"] + experts, 64, "no training data"),
            (["generate"] + experts + ["--prior", "updating"], 64, "no prior"),
            (["generate", experts[0], place["none"]], 66, "no such file"),
            (["posterior"] + experts + ["--ids", place["ids.json"]], 65, "outside the vocabulary"),
        ]
        for (arguments, status, words) in failures {
            let result = try AtollProcess.run(["ensemble"] + arguments)
            #expect(result.status == status, "\(arguments): \(result.error)")
            #expect(result.lastErrorLine.contains(words), "\(result.error)")
            #expect(result.output.isEmpty)
        }
        let merge = try AtollProcess.run(
            ["merge"] + experts + ["--weights", "0.5,0.5", "--data", place["red"], "--out", place["merged"]])
        #expect(merge.status == 64 && merge.lastErrorLine.contains("sample"))
        #expect(!place.names().contains("merged"))
    }
}
