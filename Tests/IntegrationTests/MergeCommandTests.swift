import Foundation
import Testing

/// `atoll merge` with recipes: good ones end with a checkpoint, bad ones with one line and nothing behind.
@Suite struct MergeCommandTests {
    let place = Workplace()

    private func makeModels() throws {
        try place.writeText()
        for (name, seed) in [("base", "1"), ("a", "2"), ("b", "3")] {
            let result = try AtollProcess.run(
                "train", "--steps", "1", "--batch", "1", "--seed", seed, "--data", place["text"], "--out", place[name])
            #expect(result.status == 0, "\(result.error)")
        }
    }

    private func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    private func expectFailure(_ recipe: String, _ status: Int32, _ words: String...) throws {
        try place.write("r.yaml", recipe)
        let before = place.names()
        let result = try AtollProcess.run("merge", place["r.yaml"], "--out", place["out"])
        #expect(result.status == status, "\(result.error)")
        #expect(result.lastErrorLine.hasPrefix("atoll: ") && result.lastErrorLine.hasSuffix("."))
        for word in words { #expect(result.lastErrorLine.contains(word), "\(result.lastErrorLine)") }
        #expect(result.output.isEmpty)
        #expect(place.names() == before)
    }

    @Test func `A recipe becomes a checkpoint, and the same bytes again`() throws {
        try makeModels()
        let recipe = """
            # Anchors, quotes, exponents and comments as people write them.
            merge_method: dare_ties
            base_model: &base "\(place["base"])"
            models:
              - model: *base
              - model: \(place["a"])
                parameters: {weight: 0.5, density: [0.25, .5]}
              - model: '\(place["b"])'
                parameters:
                  weight:
                    - filter: mlp
                      value: 1e-1
                    - value: 0.4
                  density: 0.5
            parameters:
              int8_mask: true
            dtype: bfloat16
            """
        try place.write("r.yaml", recipe)
        let first = try AtollProcess.run(
            "merge", place["r.yaml"], "--out", place["one"], "--seed", "5", "--shard-size", "200KB", "--json")
        #expect(first.status == 0, "\(first.error)")
        let report = try object(first.output)
        #expect(report["method"] as? String == "dare_ties")
        #expect(report["dtype"] as? String == "bfloat16")
        #expect((report["inputs"] as? [String])?.count == 3)
        let again = try AtollProcess.run(
            "merge", "run", place["r.yaml"], "--out", place["two"], "--seed", "5", "--shard-size", "200KB")
        #expect(again.status == 0, "\(again.error)")
        #expect(place.names(in: "one") == place.names(in: "two"))
        #expect(place.names(in: "one").contains("model.safetensors.index.json"))
        for name in place.names(in: "one") {
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: place["one/\(name)"]))
                    == Data(contentsOf: URL(fileURLWithPath: place["two/\(name)"])), "\(name)")
        }
        #expect(try String(contentsOfFile: place["one/mergekit_config.yml"], encoding: .utf8) == recipe)
        let evaluated = try AtollProcess.run(
            "eval", place["one"], "--data", place["text"], "--windows", "8", "--json")
        #expect(evaluated.status == 0, "\(evaluated.error)")
        // A recipe's result can be merged on.
        let average = try AtollProcess.run("merge", place["one"], place["two"], "--out", place["three"])
        #expect(average.status == 0, "\(average.error)")
    }

    @Test func `Malformed recipes name the place and the cure`() throws {
        try makeModels()
        let model = "models: [{model: \(place["a"]), parameters: {weight: 1}}]\n"
        try expectFailure("merge_method: linear\nmodels: [", 65, "r.yaml", "line", "Mend the recipe")
        try expectFailure("", 65, "r.yaml", "null, not keys and values")
        try expectFailure("just text", 65, "a string, not keys and values")
        try expectFailure("merge_metod: linear\n" + model, 65, "'merge_method' is missing")
        try expectFailure("merge_method: liner\n" + model, 65, "merge_method", "did you mean 'linear'")
        try expectFailure("merge_method: linear\nmodle: 1\n" + model, 65, "unknown key 'modle'")
        try expectFailure(
            "merge_method: linear\nmodels: [{model: \(place["a"]), parameters: {wieght: 1}}]", 65,
            "models[0].parameters.wieght", "did you mean 'weight'")
        try expectFailure("merge_method: linear\nmerge_method: linear\n" + model, 65, "merge_method")
        try expectFailure(
            "merge_method: linear\nmodels: [{model: org/model, parameters: {weight: 1}}]", 66, "org/model",
            "not fetched from a hub", "download the model first")
        try expectFailure(
            "merge_method: linear\nmodels: [{model: \(place["none"]), parameters: {weight: 1}}]", 66, "none",
            "no such file")
        try expectFailure(
            "merge_method: linear\nmodels: [{model: \(place["a"]), parameters: {weight: 0}}]", 65, "sum to zero")
        try expectFailure(model + "merge_method: linear\n---\nmerge_method: linear", 65, "r.yaml")
        try expectFailure(
            "base_model: \(place["a"])\nexperts: [{source_model: \(place["b"])}]", 65, "experts[0]", "positive_prompts")
        let both = try AtollProcess.run("merge", place["r.yaml"], place["a"], "--out", place["out"])
        #expect(both.status == 64 && both.lastErrorLine.contains("is a file among 2 arguments"))
        let weights = try AtollProcess.run("merge", place["r.yaml"], "--weights", "1", "--out", place["out"])
        #expect(weights.status == 64 && weights.lastErrorLine.contains("Write the weights into the recipe"))
    }

    @Test func `A mixture of experts has the classic names`() throws {
        try makeModels()
        try place.write(
            "moe.yaml",
            """
            base_model: \(place["base"])
            gate_mode: hidden
            experts_per_token: 1
            experts:
              - {source_model: \(place["a"]), positive_prompts: ["int main"], negative_prompts: [text], noise_scale: 0.1}
              - {source_model: \(place["b"]), positive_prompts: [line], residual_scale: 0.5}
            """)
        let result = try AtollProcess.run("merge", place["moe.yaml"], "--out", place["moe"], "--json")
        #expect(result.status == 0, "\(result.error)")
        let config = try object(String(contentsOfFile: place["moe/config.json"], encoding: .utf8))
        #expect(config["architectures"] as? [String] == ["MixtralForCausalLM"])
        #expect(config["num_local_experts"] as? Int == 2 && config["num_experts_per_tok"] as? Int == 1)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: place["moe/model.safetensors"])).prefix(1 << 16)
        let header = String(decoding: bytes, as: UTF8.self)
        for name in ["layers.3.block_sparse_moe.gate.weight", "layers.0.block_sparse_moe.experts.1.w2.weight"] {
            #expect(header.contains(name), "\(name)")
        }
        #expect(!header.contains("mlp.gate_proj"))
    }

    @Test func `A search is repeatable and writes a recipe that merges to the same model`() throws {
        try makeModels()
        try place.write(
            "r.yaml",
            """
            merge_method: linear
            models:
              - {model: \(place["a"]), parameters: {weight: 0.9}}
              - {model: \(place["b"]), parameters: {weight: 0.1}}
            """)
        func search(_ out: String) throws -> AtollProcess.Result {
            try AtollProcess.run(
                "merge", "search", place["r.yaml"], "--data", "t=\(place["text"])", "--trials", "8", "--windows", "4",
                "--out", place[out], "--json")
        }
        let one = try search("one")
        #expect(one.status == 0, "\(one.error)")
        let report = try object(one.output)
        let rows = try #require(report["rows"] as? [[String: Any]])
        #expect(report["trials"] as? Int == 8)
        let losses = rows.map { ($0["searched_loss"] as? [Double])?.first ?? .infinity }
        #expect(rows.last?["name"] as? String == "best" && losses.last == losses.min())
        let two = try search("two")
        #expect(
            one.output.replacingOccurrences(of: place["one"], with: "")
                == two.output.replacingOccurrences(of: place["two"], with: ""))
        let again = try AtollProcess.run(
            "merge", place["one/mergekit_config.yml"], "--out", place["three"])
        #expect(again.status == 0, "\(again.error)")
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: place["one/model.safetensors"]))
                == Data(contentsOf: URL(fileURLWithPath: place["three/model.safetensors"])))
        let endless = try AtollProcess.run("merge", "search", place["r.yaml"], "--data", place["text"])
        #expect(endless.status == 64 && endless.lastErrorLine.contains("no end"))
    }
}
