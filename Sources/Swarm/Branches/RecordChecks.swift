import PeerNet

/// Why a record of a branch or an expert cannot be made or read, in words.
package struct RecordProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// The reason.
    package let description: String

    /// Wraps a reason.
    package init(_ description: String) { self.description = description }
}

/// What the text in records may be: it is printed by whoever hears of a record, and names make up paths.
enum RecordChecks {
    /// A branch's or expert's name.
    static func name(_ name: String, _ what: String) throws(Refusal) {
        guard (1...Limits.recordNameBytesMax).contains(name.utf8.count), let first = name.utf8.first,
            isSmall(first), name.utf8.allSatisfy({ isSmall($0) || "-_.".utf8.contains($0) })
        else {
            throw Refusal(
                "\(what)'s name must be 1 to \(Limits.recordNameBytesMax) of a-z, 0-9, '-', '_' and '.', and begin with a letter or digit"
            )
        }
        guard name != Branch.main else { throw Refusal("'\(Branch.main)' is the name of a swarm's first branch") }
    }

    /// The name of a file in a checkpoint folder.
    static func fileName(_ name: String) throws(Refusal) {
        let isGood = name.utf8.allSatisfy { isSmall($0) || (0x41...0x5a).contains($0) || "-_.".utf8.contains($0) }
        guard isGood, (1...128).contains(name.utf8.count), name.utf8.first != UInt8(ascii: ".") else {
            throw Refusal("an expert has a file whose name is out of range")
        }
    }

    /// Descriptions of text.
    static func domains(_ domains: [String]) throws(Refusal) {
        guard domains.count <= Limits.recordDomainsMax else { throw Refusal("a record names too many domains") }
        for domain in domains { try text(domain, "a domain") }
    }

    /// Whether a domain's name can stand in a record.
    static func isGoodDomain(_ domain: String) -> Bool { (try? text(domain, "")) != nil }

    /// Some printable characters.
    static func text(_ text: String, _ what: String) throws(Refusal) {
        guard (1...Limits.recordTextBytesMax).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x20...0x7e).contains($0) })
        else { throw Refusal("\(what) must be 1 to \(Limits.recordTextBytesMax) printable ASCII characters") }
    }

    private static func isSmall(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
