import JSONText
import Testing

@testable import NodeService

/// YAML files as trees of values.
@Suite struct YAMLTreeTests {
    private func parse(_ text: String) throws -> JSONValue { try YAMLTree.parse(text, name: "f.yaml") }

    @Test func `Scalars are what YAML says, quoted ones are text`() throws {
        let tree = try parse(
            """
            integer: 12
            negative: -3
            fraction: 0.5
            point: .25
            power: 1e-5
            yes_it_is: true
            nothing: ~
            quoted: "12"
            single: 'true'
            word: self_attn
            path: ./models/a-1.5
            version: 1.2.3
            hex: 0x10
            """)
        let expected: JSONValue = [
            "integer": 12, "negative": -3, "fraction": 0.5, "point": 0.25, "power": 1e-5, "yes_it_is": true,
            "nothing": nil, "quoted": "12", "single": "true", "word": "self_attn", "path": "./models/a-1.5",
            "version": "1.2.3", "hex": "0x10",
        ]
        #expect(tree == expected)
    }

    @Test func `Lists, aliases and merged keys`() throws {
        let tree = try parse(
            """
            base: &base {a: 1, b: [1, two]}
            other:
              <<: *base
              a: 2
            same: *base
            """)
        #expect(tree.object?["other"] == ["a": 2, "b": [1, "two"]])
        #expect(tree.object?["same"] == ["a": 1, "b": [1, "two"]])
        #expect(try parse("") == .null)
        #expect(try parse("{\"a\": [0.5, {\"b\": null}]}") == ["a": [0.5, ["b": nil]]])
    }

    @Test(arguments: [
        "a: 1\na: 2", "a: [", "- a\nb: 1", "a: *nowhere", "a: 1\n---\nb: 2", "[a]: 1", "a: &a [*a]",
        "x: &x\n  <<: 3",
    ])
    func `What is no file of values names the file`(text: String) {
        #expect { try parse(text) } throws: { "\($0)".contains("f.yaml") }
    }

    @Test func `Aliases of aliases do not make a short text endless`() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let name = "*a\(level - 1)"
            text += "a\(level): &a\(level) [\(Array(repeating: name, count: 10).joined(separator: ", "))]\n"
        }
        #expect { try parse(text) } throws: { "\($0)".contains("too many values") }
    }
}
