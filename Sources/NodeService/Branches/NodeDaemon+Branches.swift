import Checkpoint
import Compression
import Glibc
import JSONText
import OuterSync
import PeerNet
import Swarm

// What the node's owner wants of branches. Each command is one question; those that wait for others' bytes are asked again
// and again until they are done.

extension NodeDaemon {
    /// Answers a command about branches or experts; nil: it is about neither.
    func answerAboutBranches(_ command: String, _ question: JSONObject) async -> JSONValue? {
        do {
            switch command {
            case "branch_list": return branchList()
            case "branch_new": return try await makeBranch(question)
            case "branch_join": return try await joinBranch(question)
            case "branch_close": return try await closeBranch(question)
            case "expert_list": return expertList()
            case "expert_fetch": return try await fetchExpert(question)
            case "expert_publish": return try await publishExpert(question)
            default: return nil
            }
        } catch {
            let error = UserError(wrapping: error)
            return [
                "error": .text(error.message), "cure": .text(error.cure),
                "exit_code": .integer(Int64(error.exitCode.rawValue)),
            ]
        }
    }

    // MARK: Branches

    private func branchList() -> JSONValue {
        let members = core.membersByBranch
        func held(_ id: String) -> Bool {
            access("\(setup.folder.of(branch: id == Branch.main ? nil : id).branchPath)/heads/0", F_OK) == 0
        }
        func row(_ id: String, name: String, maker: PeerID) -> JSONObject {
            let row: JSONValue = [
                "id": .text(id), "name": .text(name), "maker": .text("\(maker)"),
                "trained": .bool(id == core.branchID), "held": .bool(held(id)),
                "members": .integer(Int64((members[id]?.count ?? 0) + (id == core.branchID ? 1 : 0))),
            ]
            return row.object ?? JSONObject()
        }
        var rows = [JSONValue.object(row(Branch.main, name: Branch.main, maker: setup.charter.founder))]
        for branch in core.branches {
            var object = row(branch.id, name: branch.record.name, maker: branch.maker)
            object["parents"] = .array(
                branch.record.parents.map { ["source": .text($0.source), "weight": .number($0.weight)] })
            object["domains"] = .array(branch.record.domains.map { .text($0) })
            object["token_budget"] = .integer(Int64(branch.charter(of: setup.charter).tokenBudget))
            if let expert = core.closure(of: branch.id) { object["expert"] = .text(expert.id) }
            rows.append(.object(object))
        }
        return ["branches": .array(rows)]
    }

    /// Signs a branch from what the question names; whoever makes it goes on in it.
    private func makeBranch(_ question: JSONObject) async throws -> JSONValue {
        let name = try Self.text(question, "name")
        var sources: [(source: BranchDesk.Source, weight: Double)] = []
        for part in try SourceList.parse(try Self.text(question, "from")) {
            sources.append((try source(part.name), part.weight))
        }
        let total = sources.reduce(0) { $0 + $1.weight }
        // Asked before the work as well as after it.
        let budget = UInt64(clamping: question["token_budget"]?.integer ?? 0)
        var record = BranchRecord(
            name: name, parents: sources.map { .init(source: $0.source.id, weight: $0.weight / total) },
            starts: setup.layout.fragments.map {
                BlobReference(digest: Digest(hashing: []), byteCount: 4 * $0.parameterCount)
            }, tokenBudget: budget, domains: setup.domains)
        _ = try Branch(record, by: setup.identity, swarmID: setup.swarmID)
        record.starts = try await desk.store(start: sources)
        var made: Branch?
        try administer { (core, now, outputs) throws(RecordProblem) in
            made = try core.make(record, at: now, into: &outputs)
        }
        guard let made else { preconditionFailure("a branch was made or an error thrown") }
        return ["id": .text(made.id)]
    }

    /// Gets a branch's start and makes it the one that the next start of the node trains.
    private func joinBranch(_ question: JSONObject) async throws -> JSONValue {
        let name = try Self.text(question, "name")
        if name == Branch.main {
            try SwarmRegistry.choose(nil, in: setup.folder)
            return Self.progress(ExpertLibrary.Progress(), of: Branch.main)
        }
        let branch = try branch(name)
        try BranchStart.check(branch, layout: setup.layout)
        if let expert = core.closure(of: branch.id) {
            throw UserError(
                "the branch \(branch.id) is closed", cure: "Fetch what it came to: atoll expert fetch \(expert.id)",
                exitCode: .unavailable)
        }
        let progress = await library.fetch(branch.record.starts, from: holders(of: branch.maker))
        if progress.isComplete { try SwarmRegistry.choose(branch, in: setup.folder) }
        return Self.progress(progress, of: branch.id)
    }

    /// Publishes a branch's heads as an expert and ends the branch.
    private func closeBranch(_ question: JSONObject) async throws -> JSONValue {
        let branch = try branch(try Self.text(question, "name"))
        guard core.mayClose(branch) else {
            throw UserError(
                "only its maker \(branch.maker.short) and the swarm's founder may close the branch \(branch.id)",
                cure:
                    "To keep what it came to, write it with atoll checkpoint and offer that with atoll expert publish",
                exitCode: .noPermission)
        }
        if let expert = core.closure(of: branch.id) {
            throw UserError(
                "the branch \(branch.id) is closed", cure: "Its expert is \(expert.id)", exitCode: .unavailable)
        }
        let content = try await desk.store(heads: setup.folder.of(branch: branch.id), of: branch.id)
        return try publish(
            ExpertRecord(
                name: branch.record.name, branch: branch.id, closes: true, tokens: content.tokens,
                domains: branch.record.domains, heads: content.heads, files: content.files))
    }

    // MARK: Experts

    private func expertList() -> JSONValue {
        ["experts": .array(core.experts.map { .object(description(of: $0)) })]
    }

    private func description(of expert: Expert) -> JSONObject {
        let record = expert.record
        let isHeld = record.files.allSatisfy { library.folder.holds($0.blob.digest, byteCount: $0.blob.byteCount) }
        let description: JSONValue = [
            "id": .text(expert.id), "name": .text(record.name), "publisher": .text("\(expert.publisher)"),
            "branch": .text(record.branch), "closes": .bool(record.closes),
            "tokens": .integer(Int64(clamping: record.tokens)), "bytes": .integer(Int64(record.byteCount)),
            "domains": .array(record.domains.map { .text($0) }), "held": .bool(isHeld),
            "heads": .array(record.heads.map { .text("\($0.digest)") }),
        ]
        return description.object ?? JSONObject()
    }

    /// Gets an expert's files; the command then makes a folder of them.
    private func fetchExpert(_ question: JSONObject) async throws -> JSONValue {
        let expert = try expert(try Self.text(question, "name"))
        let progress = await library.fetch(expert.record.files.map(\.blob), from: holders(of: expert.publisher))
        guard progress.isComplete else { return Self.progress(progress, of: expert.id) }
        var object = Self.progress(progress, of: expert.id).object ?? JSONObject()
        object["record"] = .text(Self.hexadecimal(expert.bytes))
        return .object(object)
    }

    /// Offers a checkpoint folder to the swarm.
    private func publishExpert(_ question: JSONObject) async throws -> JSONValue {
        let files = try await desk.store(checkpoint: try Self.text(question, "path"))
        return try publish(
            ExpertRecord(
                name: try Self.text(question, "name"), branch: "", closes: false, tokens: 0, domains: [], heads: [],
                files: files))
    }

    private func publish(_ record: ExpertRecord) throws -> JSONValue {
        var published: Expert?
        try administer { (core, now, outputs) throws(RecordProblem) in
            published = try core.publish(record, at: now, into: &outputs)
        }
        guard let published else { preconditionFailure("an expert was published or an error thrown") }
        return .object(description(of: published))
    }

    // MARK: Names

    /// A branch by its name, if that is one branch's alone, or its id.
    private func branch(_ name: String) throws(UserError) -> Branch {
        let matching = core.branches.filter { $0.id == name || $0.record.name == name }
        if let exact = matching.first(where: { $0.id == name }) { return exact }
        guard let first = matching.first else {
            throw UserError(
                "there is no branch '\(name)'", cure: "atoll branch list shows those that this node knows",
                exitCode: .usage)
        }
        guard matching.count == 1 else {
            throw UserError(
                "\(matching.count) branches are called '\(name)'",
                cure: "Give the id of one, as atoll branch list shows it",
                exitCode: .usage)
        }
        return first
    }

    /// An expert by its name, if that is one expert's alone, or its id or the first eight digits of it or more.
    private func expert(_ name: String) throws(UserError) -> Expert {
        let matching = core.experts.filter {
            $0.record.name == name || name.utf8.count >= 8 && $0.id.hasPrefix(name)
        }
        guard let first = matching.first else {
            throw UserError(
                "there is no expert '\(name)'", cure: "atoll expert list shows those that this node knows",
                exitCode: .usage)
        }
        guard matching.count == 1 else {
            throw UserError(
                "\(matching.count) experts are called '\(name)'",
                cure: "Give the id of one, as atoll expert list shows it",
                exitCode: .usage)
        }
        return first
    }

    /// What a branch can start from: a branch whose heads are here, else an expert whose files are.
    private func source(_ name: String) throws(UserError) -> BranchDesk.Source {
        if name == Branch.main { return .heads(setup.folder.of(branch: nil), Branch.main) }
        if core.branches.contains(where: { $0.id == name || $0.record.name == name }) {
            let branch = try branch(name)
            let folder = setup.folder.of(branch: branch.id)
            if access("\(folder.branchPath)/heads/0", F_OK) == 0 { return .heads(folder, branch.id) }
            if let expert = core.closure(of: branch.id) { return try held(expert) }
            throw UserError(
                "this node holds no heads of the branch \(branch.id)", cure: "Join the branch first, or name an expert",
                exitCode: .unavailable)
        }
        return try held(try expert(name))
    }

    private func held(_ expert: Expert) throws(UserError) -> BranchDesk.Source {
        let files = expert.record.files
        guard files.allSatisfy({ library.folder.holds($0.blob.digest, byteCount: $0.blob.byteCount) }) else {
            throw UserError(
                "this node does not hold the expert \(expert.record.name)",
                cure: "Fetch it first: atoll expert fetch \(expert.id) --out DIR", exitCode: .unavailable)
        }
        return .expert(expert)
    }

    /// Whom to ask for the bytes of a record: its signer first, then everybody.
    func holders(of signer: PeerID) -> [PeerID] {
        let others = core.connectedPeers.filter { $0 != signer }
        return (signer == setup.identity.peerID ? [] : [signer]) + others
    }

    private static func text(_ question: JSONObject, _ key: JSONString) throws(UserError) -> String {
        guard let text = question[key]?.string?.string, !text.isEmpty else {
            throw UserError("no \(key.string) is given", cure: "Name one", exitCode: .usage)
        }
        return text
    }

    private static func progress(_ progress: ExpertLibrary.Progress, of id: String) -> JSONValue {
        var object = JSONObject()
        object["id"] = .text(id)
        object["held"] = .integer(Int64(progress.heldBytes))
        object["bytes"] = .integer(Int64(progress.byteCount))
        if let problem = progress.problem { object["problem"] = .text(problem) }
        return .object(object)
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
