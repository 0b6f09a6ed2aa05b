import Checkpoint
import JSONText
import Swarm

// Commands about branches and experts, on the side of the person.

extension NodeControl {
    /// The branches that the node knows.
    package func branches() async throws(UserError) -> BranchListReport {
        guard let table = BranchListReport(try await ask(["command": "branch_list"])) else { throw Self.unintelligible }
        return table
    }

    /// Makes a branch and goes on in it.
    ///
    /// - Parameters:
    ///   - from: `main`, a branch or expert, or several with weights.
    ///   - tokenBudget: the tokens at which it ends; nil: as many as the charter says.
    package func newBranch(_ name: String, from: String, tokenBudget: Int?) async throws(UserError) -> BranchReport {
        _ = try SourceList.parse(from)
        if let tokenBudget { try checkFlag("--tokens", tokenBudget, in: 1...Int(Limits.shareMax)) }
        let answer = try await ask([
            "command": "branch_new", "name": .text(name), "from": .text(from),
            "token_budget": .integer(Int64(tokenBudget ?? 0)),
        ])
        guard let id = answer.object?["id"]?.string?.string else { throw Self.unintelligible }
        return try await joinBranch(id)
    }

    /// Gets a branch's start from the swarm, and starts the node anew in the branch.
    package func joinBranch(_ name: String) async throws(UserError) -> BranchReport {
        let answer = try await fetching("branch_join", name)
        guard let id = answer["id"]?.string?.string else { throw Self.unintelligible }
        let launcher = NodeLauncher(home: home)
        if try await status().branch != id {
            try await launcher.stop()
            _ = try await launcher.start(port: nil)
        }
        return BranchReport(id: id, verb: "training")
    }

    /// Publishes what a branch came to as an expert, and ends the branch.
    package func closeBranch(_ name: String) async throws(UserError) -> ExpertRow {
        guard let row = ExpertRow(try await ask(["command": "branch_close", "name": .text(name)])) else {
            throw Self.unintelligible
        }
        return row
    }

    /// The experts that the node knows.
    package func experts() async throws(UserError) -> ExpertTable {
        guard let table = ExpertTable(try await ask(["command": "expert_list"])) else { throw Self.unintelligible }
        return table
    }

    /// Offers a checkpoint folder to the swarm.
    package func publishExpert(_ path: String, name: String) async throws(UserError) -> ExpertRow {
        let question: JSONValue = [
            "command": "expert_publish", "path": .text(NodeHome.absolute(path)), "name": .text(name),
        ]
        guard let row = ExpertRow(try await ask(question)) else { throw Self.unintelligible }
        return row
    }

    /// Gets an expert from the swarm and writes it as a checkpoint folder.
    ///
    /// - Parameter path: must not exist, or be an empty folder.
    package func fetchExpert(_ name: String, to path: String) async throws(UserError) -> FetchedExpert {
        Interruption.catchSignals()
        do {
            try DurableFolder.checkUnused(path)
            let answer = try await fetching("expert_fetch", name)
            let record = try SwarmRegistry(home: home).active()
            guard let text = answer["record"]?.string?.string, let bytes = Self.bytes(hexadecimal: text) else {
                throw Self.unintelligible
            }
            let expert = try Expert(bytes: bytes, swarmID: record.id)
            try ExpertFolder.write(
                expert.record, from: record.folder.libraryPath, to: path, charter: record.charter,
                isCancelled: { Interruption.isRequested })
            return FetchedExpert(id: expert.id, path: path)
        } catch { throw UserError(wrapping: error) }
    }

    /// Asks again and again until the node holds what a command needs; shows how far that is.
    private func fetching(_ command: String, _ name: String) async throws(UserError) -> JSONObject {
        Interruption.catchSignals()
        var meter = FetchMeter()
        while true {
            let reply = try await ask(["command": .text(command), "name": .text(name)]).object
            guard let answer = reply, let held = answer["held"]?.integer, let byteCount = answer["bytes"]?.integer
            else {
                throw Self.unintelligible
            }
            if let problem = answer["problem"]?.string?.string {
                throw UserError(
                    "the node cannot get it: \(problem)", cure: "Try again once a member that holds it is connected",
                    exitCode: .temporaryFailure)
            }
            meter.show(held: held, of: byteCount)
            if held >= byteCount { return answer }
            if Interruption.isRequested { throw .interrupted }
            await NodeLauncher.pause()
        }
    }

    private static func bytes(hexadecimal text: String) -> [UInt8]? {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == text.utf8.count, digits.count.isMultiple(of: 2) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}

/// Says on standard error how far a fetch is, whenever that has changed by a tenth.
private struct FetchMeter {
    private var tenth = 0

    mutating func show(held: Int, of byteCount: Int) {
        let now = byteCount > 0 ? 10 * held / byteCount : 10
        guard now > tenth, now < 10 else { return }
        tenth = now
        UserError.writeToStandardError("fetched \(10 * now) %\n")
    }
}
