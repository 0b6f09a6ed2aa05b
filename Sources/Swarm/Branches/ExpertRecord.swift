package import Compression
package import OuterSync
package import PeerNet

/// A checkpoint folder that members can fetch, as its publisher signs it. Described in protocols/branch.md.
package struct ExpertRecord: Hashable, Sendable {
    /// One file of the folder.
    package struct File: Hashable, Sendable {
        /// Its name in the folder.
        package var name: String
        /// Its bytes.
        package var blob: BlobReference

        /// Wraps the two.
        package init(name: String, blob: BlobReference) {
            self.name = name
            self.blob = blob
        }
    }

    /// A head of the branch that is in the checkpoint.
    package struct Head: Hashable, Sendable {
        /// The final commits behind it.
        package var round: RoundIndex
        /// Its digest.
        package var digest: Digest

        /// Wraps the two.
        package init(round: RoundIndex, digest: Digest) {
            self.round = round
            self.digest = digest
        }
    }

    /// What people call it.
    package var name: String
    /// The id of the branch whose heads it is; empty: a checkpoint from elsewhere.
    package var branch: String
    /// Whether the branch ends with it.
    package var closes: Bool
    /// Tokens behind it, as far as its publisher knows.
    package var tokens: UInt64
    /// What it was trained on.
    package var domains: [String]
    /// Per fragment of the branch the head; none for a checkpoint from elsewhere.
    package var heads: [Head]
    /// The files, ascending by name.
    package var files: [File]

    /// Wraps the fields, the files in order; domains whose names cannot stand in a record are left out.
    package init(
        name: String, branch: String, closes: Bool, tokens: UInt64, domains: [String], heads: [Head], files: [File]
    ) {
        self.name = name
        self.branch = branch
        self.closes = closes
        self.tokens = tokens
        self.domains = Array(domains.filter(RecordChecks.isGoodDomain).prefix(Limits.recordDomainsMax))
        self.heads = heads
        self.files = files.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// Bytes of all files.
    package var byteCount: Int { files.reduce(0) { $0 + $1.blob.byteCount } }

    func check() throws(Refusal) {
        try RecordChecks.name(name, "an expert")
        guard branch.isEmpty || Branch.isID(branch) else { throw Refusal("an expert is of no branch") }
        guard !closes || !branch.isEmpty && branch != Branch.main else {
            throw Refusal("an expert closes a branch that cannot be closed")
        }
        guard tokens <= UInt64.max >> 1 else { throw Refusal("an expert's tokens are out of range") }
        try RecordChecks.domains(domains)
        guard heads.count <= Limits.fragmentsMax, heads.isEmpty == branch.isEmpty else {
            throw Refusal("an expert has another number of heads than its branch")
        }
        guard (1...Limits.expertFilesMax).contains(files.count) else {
            throw Refusal("an expert must have 1 to \(Limits.expertFilesMax) files")
        }
        for file in files { try RecordChecks.fileName(file.name) }
        guard zip(files, files.dropFirst()).allSatisfy({ $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) })
        else { throw Refusal("an expert's files must ascend by name, each once") }
    }
}

extension ExpertRecord: SignedContent {
    static let kind = SignedKind.expert

    init(body: [UInt8], in context: BranchContext) throws(Refusal) {
        guard body.count <= Limits.recordBytesMax else { throw Refusal("an expert's record is too large") }
        let message = try decode(WireExpertRecord.self, body)
        guard message.files.count <= Limits.expertFilesMax, message.heads.count <= Limits.fragmentsMax else {
            throw Refusal("an expert has too many files or heads")
        }
        name = message.name
        branch = message.branch
        closes = message.closes
        tokens = message.tokens
        domains = message.domains
        heads = []
        for head in message.heads {
            heads.append(
                Head(round: RoundIndex(head.round), digest: try Swarm.digest(head.head, "an expert's head")))
        }
        files = []
        for file in message.files { files.append(File(name: file.name, blob: try BlobReference(file.blob))) }
        try check()
    }

    var body: [UInt8] {
        var message = WireExpertRecord()
        message.name = name
        message.branch = branch
        message.closes = closes
        message.tokens = tokens
        message.domains = domains
        message.heads = heads.map { head in
            var message = WireExpertHead()
            message.round = head.round.value
            message.head = wire(head.digest.bytes)
            return message
        }
        message.files = files.map { file in
            var message = WireExpertFile()
            message.name = file.name
            message.blob = file.blob.message
            return message
        }
        return encode(message)
    }
}

/// An expert's record with its publisher, whose signature is right.
package struct Expert: Hashable, Sendable {
    /// What was signed.
    package let record: ExpertRecord
    /// Who offers it.
    package let publisher: PeerID
    let key: Digest
    let signed: Signed<ExpertRecord>

    init(_ signed: Signed<ExpertRecord>) {
        self.signed = signed
        record = signed.content
        publisher = signed.signer
        key = signed.recordKey
    }

    /// Reads what `bytes` gave.
    package init(bytes: [UInt8], swarmID: Digest) throws(RecordProblem) {
        do throws(Refusal) {
            self.init(try Signed(try decode(WireSigned.self, bytes), in: BranchContext(swarmID: swarmID, branch: "")))
        } catch { throw RecordProblem(error.reason) }
    }

    /// The signed record.
    package var bytes: [UInt8] { encode(signed.message) }

    /// Names the expert: half of its record's digest, in hexadecimal.
    package var id: String { String(key.description.prefix(Digest.byteCount)) }
}
