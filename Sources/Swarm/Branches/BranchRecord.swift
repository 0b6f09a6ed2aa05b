package import Compression
package import OuterSync
package import PeerNet

/// What a branch starts from, as its maker signs it. Described in protocols/branch.md.
package struct BranchRecord: Hashable, Sendable {
    /// Something that the starting parameters were made of.
    package struct Parent: Hashable, Sendable {
        /// The id of a branch or an expert.
        package var source: String
        /// Its share.
        package var weight: Double

        /// Wraps the two.
        package init(source: String, weight: Double) {
            self.source = source
            self.weight = weight
        }
    }

    /// What people call it.
    package var name: String
    /// Where the parameters come from.
    package var parents: [Parent]
    /// Per fragment its parameters, little-endian float32.
    package var starts: [BlobReference]
    /// The tokens at which the branch ends; 0: the charter's.
    package var tokenBudget: UInt64
    /// What its maker means to train on.
    package var domains: [String]

    /// Wraps the fields; domains whose names cannot stand in a record are left out.
    package init(
        name: String, parents: [Parent], starts: [BlobReference], tokenBudget: UInt64, domains: [String]
    ) {
        self.name = name
        self.parents = parents
        self.starts = starts
        self.tokenBudget = tokenBudget
        self.domains = Array(domains.filter(RecordChecks.isGoodDomain).prefix(Limits.recordDomainsMax))
    }

    func check() throws(Refusal) {
        try RecordChecks.name(name, "a branch")
        guard (1...Limits.branchParentsMax).contains(parents.count) else {
            throw Refusal("a branch must have 1 to \(Limits.branchParentsMax) parents")
        }
        for parent in parents {
            try RecordChecks.text(parent.source, "a branch's parent")
            guard parent.weight.isFinite else { throw Refusal("a parent's weight is no number") }
        }
        guard (1...Limits.fragmentsMax).contains(starts.count) else {
            throw Refusal("a branch starts from another number of fragments")
        }
        guard tokenBudget <= Limits.shareMax else { throw Refusal("a branch's token budget is out of range") }
        try RecordChecks.domains(domains)
    }
}

extension BranchRecord: SignedContent {
    static let kind = SignedKind.branch

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        guard body.count <= Limits.recordBytesMax else { throw Refusal("a branch's record is too large") }
        let message = try decode(WireBranchRecord.self, body)
        name = message.name
        parents = message.parents.map { Parent(source: $0.source, weight: $0.weight) }
        starts = []
        guard message.starts.count <= Limits.fragmentsMax else { throw Refusal("a branch has too many fragments") }
        for start in message.starts { starts.append(try BlobReference(start)) }
        tokenBudget = message.tokenBudget
        domains = message.domains
        try check()
    }

    var body: [UInt8] {
        var message = WireBranchRecord()
        message.name = name
        message.parents = parents.map { parent in
            var message = WireBranchParent()
            message.source = parent.source
            message.weight = parent.weight
            return message
        }
        message.starts = starts.map(\.message)
        message.tokenBudget = tokenBudget
        message.domains = domains
        return encode(message)
    }
}

/// A branch's record with its maker, whose signature is right.
package struct Branch: Hashable, Sendable {
    /// The branch that every swarm starts with; it has no record.
    package static let main = "main"

    /// What was signed.
    package let record: BranchRecord
    /// Who made it: the first voter of its rounds.
    package let maker: PeerID
    /// Names the branch in messages and signatures: its name, a hyphen, and half of its record's digest in hexadecimal.
    /// So two branches of one name are two branches, and whoever speaks of one has its record in mind.
    package let id: String
    let key: Digest
    let signed: Signed<BranchRecord>

    init(_ signed: Signed<BranchRecord>) {
        self.signed = signed
        record = signed.content
        maker = signed.signer
        key = signed.recordKey
        id = "\(record.name)-\(key.description.prefix(Self.idDigits))"
    }

    /// Checks a record and signs it.
    package init(_ record: BranchRecord, by identity: Identity, swarmID: Digest) throws(RecordProblem) {
        do throws(Refusal) { try record.check() } catch { throw RecordProblem(error.reason) }
        self.init(Signed(record, by: identity, in: BranchContext(swarmID: swarmID, branch: "")))
    }

    /// Reads what `bytes` gave.
    package init(bytes: [UInt8], swarmID: Digest) throws(RecordProblem) {
        do throws(Refusal) {
            self.init(try Signed(try decode(WireSigned.self, bytes), in: BranchContext(swarmID: swarmID, branch: "")))
        } catch { throw RecordProblem(error.reason) }
    }

    /// The signed record, as it is kept on disk.
    package var bytes: [UInt8] { encode(signed.message) }

    private static let idDigits = Digest.byteCount

    /// Whether a text can be a branch's id.
    package static func isID(_ text: String) -> Bool {
        if text == main { return true }
        let digits = text.utf8.suffix(idDigits)
        let name = text.utf8.dropLast(idDigits + 1)
        return text.utf8.count > idDigits + 1 && text.utf8.dropLast(idDigits).last == UInt8(ascii: "-")
            && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
            && (try? RecordChecks.name(String(decoding: name, as: UTF8.self), "")) != nil
    }
}

extension Signed {
    /// Names a record: the same content signed by two peers is two records.
    var recordKey: Digest { Digest(hashing: signer.publicKey + body) }
}

extension Branch {
    /// The swarm's charter as it holds for this branch.
    package func charter(of charter: Charter) -> Charter {
        var charter = charter
        if record.tokenBudget > 0 { charter.tokenBudget = record.tokenBudget }
        return charter
    }
}
