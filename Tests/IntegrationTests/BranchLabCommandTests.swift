import Foundation
import Testing

@Suite struct BranchLabCommandTests {
    let place = Workplace()

    private func writeExperiment(_ more: String = "") throws {
        for name in ["red", "blue"] { try place.writeText(name) }
        try place.write(
            "btm.yaml",
            """
            kind: branch-train-merge
            data: ['red=\(place["red"])', 'blue=\(place["blue"])']
            seeds: [1, 2]
            steps: 4
            global_batch: 4
            window: 32
            held_out_windows: 4
            seed_fractions: [0, 0.5]
            random_split: [0.5]
            \(more)

            """)
    }

    private func lines() throws -> [String] {
        try String(contentsOfFile: place["out/results.jsonl"], encoding: .utf8).split(separator: "\n").map(String.init)
    }

    @Test func `An experiment leaves table and plots, and goes on where it was left`() throws {
        try writeExperiment()
        let command = ["lab", place["btm.yaml"], "--out", place["out"]]
        let estimate = try AtollProcess.run(command + ["--estimate"])
        #expect(estimate.status == 0 && estimate.output.contains("hours"), "\(estimate.error)")
        #expect(!place.names().contains("out"))

        let first = try AtollProcess.run(command)
        #expect(first.status == 0, "\(first.error)")
        #expect(place.names(in: "out") == ["averages.svg", "ensembles.svg", "results.jsonl", "table.md"])
        #expect(first.output.contains("| 50 % | random | 2 |") && first.output.contains("| 100 % | – | 2 |"))
        let all = try lines()
        #expect(all.count == 8)

        // All but two parts, one of them torn: the rest is computed again, to the same losses.
        try (all.prefix(6).joined(separator: "\n") + "\n" + all[6].prefix(20))
            .write(toFile: place["out/results.jsonl"], atomically: true, encoding: .utf8)
        let second = try AtollProcess.run(command)
        #expect(second.status == 0 && second.error.contains("6 parts finished"), "\(second.error)")
        func losses(_ lines: [String]) throws -> Set<String> {
            Set(
                try lines.map { line in
                    let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
                    return "\(object["seed"] ?? "") \(object["seed_fraction"] ?? "") \(object["split"] ?? "") "
                        + "\((object["losses"] as? [String: [Double]] ?? [:]).sorted { $0.key < $1.key })"
                })
        }
        #expect(try losses(lines()) == losses(all))
    }

    @Test func `Mistakes in the file are named`() throws {
        for (more, words) in [
            ("speed: 4", "unknown key 'speed'"), ("seed_fractions: [1]", "duplicated key"),
            ("learning_rate: -1", "'learning_rate'"), ("model: tiny", "nano or micro"),
        ] {
            try writeExperiment(more)
            let result = try AtollProcess.run("lab", place["btm.yaml"], "--out", place["out"])
            #expect(result.status == 65 && result.lastErrorLine.contains(words), "\(result.error)")
        }
        try place.write("other.yaml", "kind: other\n")
        let other = try AtollProcess.run("lab", place["other.yaml"], "--out", place["out"])
        #expect(other.status == 65 && other.lastErrorLine.contains("branch-train-merge"))
        try place.write("odd.yaml", "kind: branch-train-merge\ndata: ['a=x', 'b=y', 'c=z']\nglobal_batch: 4\n")
        try place.write(
            "split.yaml", "kind: branch-train-merge\ndata: ['a=x', 'b=y']\nseed_fractions: [0.5]\nrandom_split: [0]\n")
        let split = try AtollProcess.run("lab", place["split.yaml"], "--out", place["out"])
        #expect(split.status == 65 && split.lastErrorLine.contains("what 'seed_fractions' lists"), "\(split.error)")
        let odd = try AtollProcess.run("lab", place["odd.yaml"], "--out", place["out"])
        #expect(odd.status == 65 && odd.lastErrorLine.contains("multiple of the number of domains"), "\(odd.error)")
        #expect(!place.names().contains("out"))
    }
}
