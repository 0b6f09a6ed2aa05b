package import Corpus
import Glibc

/// What `--data` names: globs, folders, files and prepared folders, each optionally as NAME=GLOB for a domain of its own,
/// or as NAME:WEIGHT=GLOB for one that is drawn that much more often than a domain of weight 1.
package enum DataSelection {
    /// The domain of everything without a name.
    private static let defaultName = "data"

    /// One value of `--data`, taken apart.
    private struct Value {
        var name: String?
        var weight: Double?
        var pattern: String
    }

    /// Groups the values of `--data` by domain, in the order of first mention.
    ///
    /// A value counts as NAME=GLOB if what precedes the first `=` is a name of letters, digits, `-` and `_`, perhaps with a
    /// colon and a weight, and no file has the whole value as its name. A prepared folder without a name stands for all of
    /// its domains.
    package static func parse(_ values: [String]) throws(UserError) -> [DomainSource] {
        guard !values.isEmpty else { throw UserError(corpus: .noDomains) }
        var sources: [DomainSource] = []
        var weights: [String: Double] = [:]
        for text in values {
            let value = try split(text)
            guard !value.pattern.isEmpty else {
                throw UserError(
                    "--data \(text) names no files",
                    cure: "Write a glob, or NAME=GLOB such as notes='/home/me/**/*.txt'",
                    exitCode: .usage)
            }
            for name in try names(of: value) {
                if let weight = value.weight {
                    let earlier = weights.updateValue(weight, forKey: name)
                    guard earlier == nil || earlier == weight else {
                        throw UserError(
                            "--data gives domain \(name) two weights", cure: "Give it one", exitCode: .usage)
                    }
                }
                if let index = sources.firstIndex(where: { $0.name == name }) {
                    sources[index].patterns.append(value.pattern)
                } else {
                    sources.append(DomainSource(name: name, patterns: [value.pattern]))
                }
            }
        }
        for index in sources.indices { sources[index].weight = weights[sources[index].name] ?? 1 }
        return sources
    }

    /// `parse` for a command to which weights mean nothing.
    static func parseUnweighted(
        _ values: [String], for command: String, cure: String
    ) throws(UserError) -> [DomainSource] {
        let sources = try parse(values)
        guard sources.allSatisfy({ $0.weight == 1 }) else {
            throw UserError("a weight has no meaning for \(command)", cure: cure, exitCode: .usage)
        }
        return sources
    }

    private static func names(of value: Value) throws(UserError) -> [String] {
        if let name = value.name { return [name] }
        guard PreparedFolder.isPrepared(value.pattern) else { return [defaultName] }
        do { return try PreparedFolder(value.pattern).domainNames } catch { throw UserError(corpus: error) }
    }

    private static func split(_ text: String) throws(UserError) -> Value {
        let parts = text.utf8.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, access(text, F_OK) != 0, let pattern = String(parts[1]) else {
            return Value(pattern: text)
        }
        let head = parts[0].split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard !head[0].isEmpty, head[0].allSatisfy(isNameByte), let name = String(head[0]) else {
            return Value(pattern: text)
        }
        guard head.count == 2 else { return Value(name: name, pattern: pattern) }
        // The range of a weight in a node's configuration.
        guard let digits = String(head[1]), let weight = Double(digits), (1e-6...1e6).contains(weight) else {
            throw UserError(
                "--data \(text): \"\(String(head[1]) ?? "")\" is not a weight",
                cure: "Write a number from 0.000001 to 1000000, such as notes:2='/home/me/**/*.txt'", exitCode: .usage)
        }
        return Value(name: name, weight: weight, pattern: pattern)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
