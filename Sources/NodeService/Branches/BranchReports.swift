package import JSONText
import Swarm

/// The branches of a swarm, as a node knows them.
package struct BranchListReport: CommandReport {
    /// One branch.
    struct Row: Sendable {
        var id: String
        var name: String
        var maker: String
        var members: Int
        var isTrained: Bool
        var isHeld: Bool
        var expert: String?
        var parents: [(source: String, weight: Double)]
        var domains: [String]
    }

    let rows: [Row]
    /// As the node told it.
    package let json: JSONValue

    init?(_ answer: JSONValue) {
        guard let entries = answer.object?["branches"]?.array else { return nil }
        json = .array(entries)
        var rows: [Row] = []
        for entry in entries {
            guard let object = entry.object, let id = object["id"]?.string?.string,
                let name = object["name"]?.string?.string, let maker = object["maker"]?.string?.string,
                let members = object["members"]?.integer, let isTrained = object["trained"]?.bool,
                let isHeld = object["held"]?.bool
            else { return nil }
            var parents: [(source: String, weight: Double)] = []
            for parent in (object["parents"]?.array ?? []).compactMap(\.object) {
                guard let source = parent["source"]?.string?.string, let weight = parent["weight"]?.double else {
                    return nil
                }
                parents.append((source: source, weight: weight))
            }
            rows.append(
                Row(
                    id: id, name: name, maker: maker, members: members, isTrained: isTrained, isHeld: isHeld,
                    expert: object["expert"]?.string?.string, parents: parents,
                    domains: (object["domains"]?.array ?? []).compactMap { $0.string?.string }))
        }
        self.rows = rows
    }

    /// One line per branch; the one that this node trains has a star.
    package var text: String {
        rows.map { row in
            let state =
                row.expert.map { "closed, expert \($0)" }
                ?? "\(row.members) connected\(row.isHeld && !row.isTrained ? ", held" : "")"
            let parents = row.parents.map { parent in
                row.parents.count == 1 ? parent.source : "\(parent.source):\(fixed(parent.weight, 3))"
            }.joined(separator: ",")
            return "\(row.isTrained ? "*" : " ") \(row.id)  \(state)"
                + (parents.isEmpty ? "" : "  from \(parents)")
                + (row.domains.isEmpty ? "" : "  on \(row.domains.joined(separator: ", "))")
        }.joined(separator: "\n")
    }
}

/// The experts of a swarm, as a node knows them.
package struct ExpertTable: CommandReport {
    let rows: [ExpertRow]
    /// As the node told it.
    package let json: JSONValue

    init?(_ answer: JSONValue) {
        guard let entries = answer.object?["experts"]?.array else { return nil }
        json = .array(entries)
        let rows = entries.compactMap { ExpertRow($0) }
        guard rows.count == entries.count else { return nil }
        self.rows = rows
    }

    /// One line per expert.
    package var text: String {
        rows.isEmpty ? "no experts are known" : rows.map(\.text).joined(separator: "\n")
    }
}

/// One expert.
package struct ExpertRow: CommandReport {
    /// Its id.
    package let id: String
    let name: String
    let publisher: String
    let branch: String
    let tokens: Int
    let byteCount: Int
    let isHeld: Bool
    /// As the node told it.
    package let json: JSONValue

    init?(_ answer: JSONValue) {
        guard let object = answer.object, let id = object["id"]?.string?.string,
            let name = object["name"]?.string?.string, let publisher = object["publisher"]?.string?.string,
            let branch = object["branch"]?.string?.string, let tokens = object["tokens"]?.integer,
            let byteCount = object["bytes"]?.integer, let isHeld = object["held"]?.bool
        else { return nil }
        json = answer
        self.id = id
        self.name = name
        self.publisher = publisher
        self.branch = branch
        self.tokens = tokens
        self.byteCount = byteCount
        self.isHeld = isHeld
    }

    /// One line.
    package var text: String {
        "\(id)  \(name)  \(NodeReport.bytes(UInt64(clamping: byteCount)))"
            + (branch.isEmpty ? "" : "  branch \(branch), \(tokens) tokens") + "  by \(publisher)"
            + (isHeld ? "  held" : "")
    }
}

/// What became of a branch's command.
package struct BranchReport: CommandReport {
    /// The branch's id.
    package let id: String
    let verb: String

    /// One line.
    package var text: String { "\(verb) \(id)" }
    /// The id.
    package var json: JSONValue { ["id": .text(id)] }
}

/// An expert that was written.
package struct FetchedExpert: CommandReport {
    /// Its id.
    package let id: String
    /// The folder.
    package let path: String

    /// One line.
    package var text: String { "wrote the expert \(id) to \(path)" }
    /// Both.
    package var json: JSONValue { ["id": .text(id), "out": .text(path)] }
}
