import Checkpoint
import JSONText
import LanguageModel
import Numerics
import Testing
import Tokenizing

@testable import Experts

/// Which chat template a result has.
@Suite struct ChatTemplateTests {
    let place = ScratchFolder()

    private func companions(_ template: String?, inFile: Bool = false) throws -> Companions {
        let shape = ModelConfiguration(
            vocabularySize: 256, width: 2, layerCount: 1, headCount: 1, feedForwardWidth: 2, contextLength: 4)
        let name = "model\(place.names.count)"
        try ModelFolder.write(
            to: place[name], configuration: shape, tokenizer: .bytes,
            parameters: FloatBuffer(count: shape.parameterCount))
        var companions = try ModelFolder(place[name]).companions()
        guard let template else { return companions }
        if inFile {
            companions.files["chat_template.jinja"] = Array(template.utf8)
        } else {
            let config: JSONValue = ["chat_template": .text(template)]
            companions.files["tokenizer_config.json"] = try config.encoded()
        }
        return companions
    }

    private func text(_ wish: String, _ inputs: [Companions] = []) throws(RecipeProblem) -> String? {
        try ChatTemplate.text(wish, inputs: inputs, place: RecipePlace(file: "r"))
    }

    @Test func `Names, Jinja texts, and what most models have`() throws {
        #expect(try text("chatml")?.contains("<|im_start|>assistant") == true)
        #expect(try text("llama3")?.contains("<|start_header_id|>") == true)
        #expect(try text("{{ messages }}") == "{{ messages }}")
        let inputs = [
            try companions("one"), try companions(nil), try companions("two"), try companions("two", inFile: true),
        ]
        #expect(try text("auto", inputs) == "two")
        #expect(try text("auto", [inputs[1]]) == nil)
        #expect(throws: RecipeProblem.self) { try text("chatlm") }
    }

    @Test func `A template is put where every program looks`() throws {
        var companions = try companions("old")
        ChatTemplate.put("new", into: &companions)
        #expect(companions.files["chat_template.jinja"] == Array("new".utf8))
        let config = try JSONValue(parsing: try #require(companions.files["tokenizer_config.json"]))
        #expect(config == ["chat_template": "new"])
    }
}
