package import Corpus
import Glibc

/// What `--data` names: globs, folders and files, each optionally as NAME=GLOB for a domain of its own.
package enum DataSelection {
    /// The domain of everything without a name.
    private static let defaultName = "data"

    /// Groups the values of `--data` by domain, in the order of first mention.
    ///
    /// A value counts as NAME=GLOB if what precedes the first `=` consists of letters, digits, `-` and `_`, and no file has
    /// the whole value as its name.
    package static func parse(_ values: [String]) throws(UserError) -> [DomainSource] {
        guard !values.isEmpty else { throw UserError(corpus: .noDomains) }
        var sources: [DomainSource] = []
        for value in values {
            let (name, pattern) = split(value)
            guard !pattern.isEmpty else {
                throw UserError(
                    "--data \(value) names no files",
                    cure: "Write a glob, or NAME=GLOB such as notes='/home/me/**/*.txt'",
                    exitCode: .usage)
            }
            if let index = sources.firstIndex(where: { $0.name == name }) {
                sources[index].patterns.append(pattern)
            } else {
                sources.append(DomainSource(name: name, patterns: [pattern]))
            }
        }
        return sources
    }

    private static func split(_ value: String) -> (name: String, pattern: String) {
        let parts = value.utf8.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, parts[0].allSatisfy(isNameByte), access(value, F_OK) != 0,
            let name = String(parts[0]), let pattern = String(parts[1])
        else { return (defaultName, value) }
        return (name, pattern)
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
