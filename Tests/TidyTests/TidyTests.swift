import Foundation
import Testing

/// What the sources must look like, read from the sources: boundaries, banned calls and sizes.
@Suite struct TidyTests {
    static let product = sourceFiles(below: ["Sources", "node"])
    static let everything = product + sourceFiles(below: ["Tests"])

    /// Longest file, in lines. Style asks for about 400; beyond 500 a file has two subjects.
    static let fileLinesMax = 500
    /// Longest function, in lines. Style asks for about 60; a long table-like switch may need more, never this much.
    static let functionLinesMax = 100

    @Test func `A module imports only what lies below it and what its boundary allows`() {
        var findings: [String] = []
        // Generated code imports what its runtime needs; the module's own list holds it to that.
        for file in Self.product where !file.isGenerated {
            for (number, line) in file.code.enumerated() {
                guard let imported = importedModule(line), imported != file.module, imported != "Swift" else {
                    continue
                }
                if let objection = Layers.objection(to: imported, in: file.module),
                    !AllowList.permits("import \(imported)", in: file.path)
                {
                    findings.append("\(file.path):\(number + 1): \(objection)")
                }
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test(arguments: Rule.all.map(\.name)) func `Code breaks no rule outside the allow-list`(name: String)
        throws
    {
        let rule = try #require(Rule.all.first { $0.name == name })
        var findings: [String] = []
        for file in rule.coversTests ? Self.everything : Self.product
        where rule.holds(file.module) && !file.isGenerated && !AllowList.permits(name, in: file.path) {
            for (number, code) in file.code.enumerated() where rule.isBroken(code) {
                findings.append("\(file.path):\(number + 1): \(name): \(rule.advice)")
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test func `Files and functions stay small`() {
        var findings: [String] = []
        for file in Self.everything where !file.isGenerated {
            if file.lines.count - 1 > Self.fileLinesMax, !AllowList.permits("file length", in: file.path) {
                findings.append("\(file.path): \(file.lines.count - 1) lines, at most \(Self.fileLinesMax)")
            }
            for function in functions(in: file)
            where function.lineCount > Self.functionLinesMax && !AllowList.permits("function length", in: file.path) {
                findings.append("\(file.path):\(function.line): a function of \(function.lineCount) lines")
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test func `No unfinished work is left in the code and no path of one machine`() {
        // Assembled here so that this file does not find itself.
        let unfinished = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:"]
        let machinePaths = ["/wo" + "rk/", "/ro" + "ot/"]
        var findings: [String] = []
        for file in Self.everything where !file.isGenerated {
            let isProduct = file.path.hasPrefix("Sources/") || file.path.hasPrefix("node/")
            for (number, line) in file.lines.enumerated() {
                for word in unfinished where line.contains(word) {
                    findings.append("\(file.path):\(number + 1): \(word)")
                }
                for path in machinePaths + (isProduct ? ["/tm" + "p/"] : [])
                where line.contains(path) && !AllowList.permits("machine path", in: file.path) {
                    findings.append("\(file.path):\(number + 1): the path \(path) exists on one machine only")
                }
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test func `Every file ends with one newline and no line with a space`() {
        var findings: [String] = []
        for file in Self.everything where !file.isGenerated {
            if !file.endsWithNewline { findings.append("\(file.path): no newline at the end, or more than one") }
            for (number, line) in file.lines.enumerated() where line.hasSuffix(" ") || line.contains("\t") {
                findings.append("\(file.path):\(number + 1): a tab or trailing space")
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test func `The allow-list names rules that exist and files that still need it`() {
        var findings: [String] = []
        for entry in AllowList.entries {
            guard let file = Self.everything.first(where: { $0.path == entry.path }) else {
                findings.append("\(entry.path) does not exist"); continue
            }
            if entry.reason.isEmpty { findings.append("\(entry.path): \(entry.rule): no reason") }
            if let rule = Rule.all.first(where: { $0.name == entry.rule }) {
                if !file.code.contains(where: rule.isBroken) {
                    findings.append("\(entry.path) no longer breaks \(entry.rule)")
                }
            } else if !["file length", "function length", "machine path"].contains(entry.rule),
                !entry.rule.hasPrefix("import ")
            {
                findings.append("\(entry.path): no rule is called \(entry.rule)")
            }
        }
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test func `The package manifest lists our modules in layer order`() throws {
        let manifest = try String(
            contentsOf: repositoryRoot.appendingPathComponent("Package.swift"), encoding: .utf8)
        var last = -1
        for line in manifest.split(separator: "\n") {
            guard let range = line.range(of: "module(\""), let end = line[range.upperBound...].firstIndex(of: "\"")
            else {
                continue
            }
            let name = String(line[range.upperBound..<end])
            guard let rank = Layers.order.firstIndex(of: name) else {
                Issue.record("\(name) has no place in Layers.order"); continue
            }
            // Experts stands by itself between two groups that do not know it; the manifest may group it with either.
            if name == "Experts" { continue }
            #expect(rank > last, "\(name) stands too late in the manifest")
            last = rank
        }
    }
}

/// The module that a line imports, submodules and access levels stripped.
func importedModule(_ code: String) -> String? {
    var words = code.split(separator: " ").map(String.init)
    while let first = words.first,
        [
            "package", "internal", "private", "fileprivate", "public", "@testable", "@_exported",
            "@preconcurrency",
        ].contains(first)
    {
        words.removeFirst()
    }
    guard words.count >= 2, words[0] == "import" else { return nil }
    let kinds: Set<String> = ["struct", "class", "enum", "func", "var", "let", "typealias", "protocol"]
    let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
    return name.split(separator: ".").first.map(String.init)
}

/// A function or initializer found by its braces: where it starts and how many lines its body takes.
func functions(in file: SourceFile) -> [(line: Int, lineCount: Int)] {
    var found: [(line: Int, lineCount: Int)] = []
    for (start, code) in file.code.enumerated() {
        let trimmed = code.drop { $0 == " " }
        guard
            contains("func ", in: code) || trimmed.hasPrefix("init(") || trimmed.contains(" init(")
                || trimmed.hasPrefix("deinit"),
            !trimmed.contains("self.init("), !trimmed.contains("super.init(")
        else { continue }
        var depth = 0, opened = false
        search: for index in start..<min(file.code.count, start + 2000) {
            for byte in file.code[index].utf8 {
                if byte == UInt8(ascii: "{") { depth += 1; opened = true }
                if byte == UInt8(ascii: "}") { depth -= 1 }
                if opened, depth == 0 || depth < 0 {
                    found.append((start + 1, index - start + 1))
                    break search
                }
            }
            // A requirement in a protocol has no body: the next declaration or a closing brace comes first.
            if !opened, depth < 0 { break }
            if !opened, index > start, contains("func ", in: file.code[index]) { break }
        }
    }
    return found
}
