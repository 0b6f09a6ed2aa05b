import Foundation

/// One Swift file of the project, with comments and string literals blanked so that rules see code alone.
struct SourceFile: Sendable {
    /// The path from the repository's root, with slashes.
    let path: String
    /// The lines as written.
    let lines: [String]
    /// The same lines with comments and the insides of string literals replaced by spaces.
    let code: [String]
    /// Whether the file ends with exactly one newline.
    let endsWithNewline: Bool

    /// The folder under Sources or Tests, or the first folder of the path.
    var module: String {
        let parts = path.split(separator: "/").map(String.init)
        return (parts.first == "Sources" || parts.first == "Tests") && parts.count > 1 ? parts[1] : parts.first ?? ""
    }

    /// Whether a generator wrote the file.
    var isGenerated: Bool { path.contains("/Generated/") }

    init(path: String, text: String) {
        self.path = path
        endsWithNewline = text.isEmpty || (text.hasSuffix("\n") && !text.hasSuffix("\n\n"))
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        code = Self.blanked(text).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Replaces comments and string contents by spaces; newlines stay, so line numbers do too.
    static func blanked(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var result = bytes
        var index = 0
        func at(_ offset: Int) -> UInt8 { index + offset < bytes.count ? bytes[index + offset] : 0 }
        func blank(_ count: Int) {
            for _ in 0..<count where index < bytes.count {
                if bytes[index] != UInt8(ascii: "\n") { result[index] = UInt8(ascii: " ") }
                index += 1
            }
        }
        let quote = UInt8(ascii: "\""), slash = UInt8(ascii: "/"), star = UInt8(ascii: "*")
        let backslash = UInt8(ascii: "\\"), newline = UInt8(ascii: "\n")
        while index < bytes.count {
            if at(0) == slash, at(1) == slash {
                while index < bytes.count, bytes[index] != newline { blank(1) }
            } else if at(0) == slash, at(1) == star {
                var depth = 0
                repeat {
                    if at(0) == slash, at(1) == star {
                        depth += 1; blank(2)
                    } else if at(0) == star, at(1) == slash {
                        depth -= 1; blank(2)
                    } else {
                        blank(1)
                    }
                } while depth > 0 && index < bytes.count
            } else if at(0) == quote {
                let long = at(1) == quote && at(2) == quote
                index += long ? 3 : 1
                while index < bytes.count {
                    if at(0) == backslash { blank(2); continue }
                    if long, at(0) == quote, at(1) == quote, at(2) == quote { index += 3; break }
                    if !long, at(0) == quote || at(0) == newline { index += 1; break }
                    blank(1)
                }
            } else {
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// The repository's root, from this file's place in it.
let repositoryRoot = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// Reads every Swift file below the named top-level folders, in path order.
func sourceFiles(below folders: [String]) -> [SourceFile] {
    var files: [SourceFile] = []
    for folder in folders {
        let start = repositoryRoot.appendingPathComponent(folder)
        guard let walker = FileManager.default.enumerator(at: start, includingPropertiesForKeys: nil) else { continue }
        for case let url as URL in walker where url.pathExtension == "swift" {
            guard let text = try? String(contentsOf: url, encoding: .utf8) else { continue }
            files.append(SourceFile(path: String(url.path.dropFirst(repositoryRoot.path.count + 1)), text: text))
        }
    }
    return files.sorted { $0.path < $1.path }
}
