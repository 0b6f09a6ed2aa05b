import Testing

/// The rules themselves, on samples: a rule that finds nothing protects nothing.
@Suite struct TidyRulesTests {
    @Test(arguments: [
        ("try!", "let a = try! b()"), ("as!", "let a = b as! C"), ("fatalError", "fatalError()"),
        ("force unwrap", "let a = b!"), ("force unwrap", "a[0]!.c"), ("force unwrap", "f()!"),
        ("print", "    print(a)"), ("async let", "async let a = b()"),
        ("vector outside the kernels", "let words: SIMD4<UInt64>"), ("sleep", "try await Task.sleep(for: .seconds(1))"),
        ("sleep", "usleep(10)"),
        ("wall clock", "let now = ContinuousClock().now"), ("date", "let now = Date()"),
        ("system randomness", "var g = SystemRandomNumberGenerator()"),
        ("unseeded randomness", "Int.random(in: 0..<3)"),
        ("unseeded randomness", "list.shuffled()"), ("@unchecked Sendable", "final class A: @unchecked Sendable {"),
        ("concurrency in a pure layer", "Task { await a() }"), ("public", "public struct A {"),
    ])
    func `Each rule finds its sample`(name: String, sample: String) throws {
        let rule = try #require(Rule.all.first { $0.name == name })
        #expect(rule.isBroken(sample))
    }

    @Test(arguments: [
        "if a != b {", "if !a { return }", "guard !(a && b) else { return }", "debugPrint(a)",
        "x.random(in: 0..<3, using: &g)",
        "list.shuffled(using: &g)", "updateDate()", "blueprint(a)", "let asleep = a",
    ])
    func `Harmless code breaks no rule`(sample: String) {
        for rule in Rule.all { #expect(!rule.isBroken(sample), "\(rule.name) objects to \(sample)") }
    }

    @Test func `Comments and strings are not code`() {
        let file = SourceFile(
            path: "Sources/Swarm/A.swift",
            text:
                "let a = \"try! x! \\\" as!\" // print(\n/* fatalError( /* nested */ Date() */ let b = 1\nlet c = \"\"\"\n x!\n \"\"\"\n"
        )
        for line in file.code { for rule in Rule.all { #expect(!rule.isBroken(line), "\(rule.name): \(line)") } }
        #expect(file.code.joined().contains("let b = 1"))
        #expect(file.lines.count == file.code.count)
    }

    @Test func `An import upwards or across is refused`() {
        #expect(Layers.objection(to: "Swarm", in: "PeerNet") != nil)
        #expect(Layers.objection(to: "Foundation", in: "Swarm") != nil)
        #expect(Layers.objection(to: "Transport", in: "Simulation") != nil)
        #expect(Layers.objection(to: "LanguageModel", in: "Swarm") != nil)
        #expect(Layers.objection(to: "CUV", in: "Swarm") != nil)
        #expect(Layers.objection(to: "Glibc", in: "PeerNet") != nil)
        #expect(Layers.objection(to: "NIOCore", in: "NodeService") != nil)
        #expect(Layers.objection(to: "OuterSync", in: "Swarm") == nil)
        #expect(importedModule("package import struct Foundation.URL") == "Foundation")
        #expect(importedModule("let important = 1") == nil)
    }

    @Test func `Function lengths are counted by their braces`() {
        let text =
            "struct A {\n    func a() {\n        if b {\n        }\n    }\n\n    init(\n        x: Int\n    ) {\n    }\n}\n"
        let lengths = functions(in: SourceFile(path: "Sources/Swarm/A.swift", text: text)).map(\.lineCount)
        #expect(lengths == [4, 4])
    }
}
