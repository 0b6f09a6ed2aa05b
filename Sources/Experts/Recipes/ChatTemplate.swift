import Checkpoint
import JSONText

/// The Jinja text that turns a conversation into a prompt, by mergekit's names.
enum ChatTemplate {
    /// The templates that have a name.
    static let named: [(name: String, text: String)] = [
        (
            "alpaca",
            "{% for message in messages %}"
                + "{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
                + "{% elif message['role'] == 'assistant' %}{{ '### Response:\\n' + message['content'] + '\\n\\n' }}"
                + "{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}"
                + "{% endfor %}{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
        ),
        (
            "chatml",
            "{% for message in messages %}"
                + "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
                + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        ),
        (
            "llama3",
            "{{ bos_token }}{% for message in messages %}"
                + "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
                + "{{ message['content'] | trim + '<|eot_id|>' }}"
                + "{% endfor %}{% if add_generation_prompt %}"
                + "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
        ),
        (
            "mistral",
            "{{ bos_token }}{% for message in messages %}"
                + "{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
                + "{% else %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
        ),
        (
            "exaone",
            "{% for message in messages %}{{ '[|' + message['role'] + '|]' + message['content'] }}"
                + "{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ '[|endofturn|]\\n' }}{% endif %}"
                + "{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}"
        ),
    ]

    /// The text that a recipe asks for; nil to keep the donor's.
    ///
    /// - Parameter inputs: side files of the models, for `auto`: the template that most of them have.
    static func text(
        _ wish: String, inputs: [Companions], place: RecipePlace
    ) throws(RecipeProblem) -> String? {
        if let template = named.first(where: { $0.name == wish }) { return template.text }
        if wish == "auto" {
            let found = inputs.compactMap(stored)
            // Of equally frequent ones the first.
            let counts = found.map { text in found.count { $0.utf8.elementsEqual(text.utf8) } }
            return found.indices.max { (counts[$0], -$0) < (counts[$1], -$1) }.map { found[$0] }
        }
        guard wish.utf8.contains(UInt8(ascii: "{")) else {
            let names = ["auto"] + named.map(\.name)
            throw RecipeProblem(
                place, "\"\(wish)\" is no chat template\(suggestion(for: wish, among: names))",
                cure: "Choose one of \(names.joined(separator: ", ")), or write a Jinja text")
        }
        return wish
    }

    /// The template among a checkpoint's side files.
    private static func stored(_ companions: Companions) -> String? {
        if let bytes = companions.files["chat_template.jinja"] { return String(validating: bytes, as: UTF8.self) }
        guard let bytes = companions.files["tokenizer_config.json"], let config = try? JSONValue(parsing: bytes) else {
            return nil
        }
        return config.object?["chat_template"]?.string?.string
    }

    /// Puts a template where every generation of transformers looks for it.
    static func put(_ text: String, into companions: inout Companions) {
        companions.files["chat_template.json"] = nil
        companions.files["chat_template.jinja"] = Array(text.utf8)
        guard let bytes = companions.files["tokenizer_config.json"],
            var config = (try? JSONValue(parsing: bytes))?.object
        else { return }
        config["chat_template"] = .text(text)
        if let written = try? JSONValue.object(config).encoded(.indented) {
            companions.files["tokenizer_config.json"] = written
        }
    }
}
