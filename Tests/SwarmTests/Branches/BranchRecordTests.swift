import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

/// Records of branches and experts: what they say, and what is refused of them.
@Suite struct BranchRecordTests {
    @Test func `A branch's id holds its name and half of its digest, and depends on its maker`() throws {
        let branch = try BranchSamples.branch()
        #expect(branch.id.hasPrefix("law-") && branch.id.utf8.count == 4 + 32)
        #expect(Branch.isID(branch.id) && Branch.isID("main"))
        #expect(try BranchSamples.branch(by: 4).id != branch.id)
        #expect(try Branch(bytes: branch.bytes, swarmID: BranchSamples.swarmID) == branch)
        for text in [
            "", "law", "law-", "main-", "-\(branch.id.suffix(32))", "Law\(branch.id.dropFirst(3))", "x/\(branch.id)",
        ] { #expect(!Branch.isID(text), "\(text)") }
        let expert = BranchSamples.expert(BranchSamples.record(of: branch.id), by: 3)
        #expect(try Expert(bytes: expert.bytes, swarmID: BranchSamples.swarmID) == expert)
        #expect(expert.record.files.map(\.name) == ["config.json", "model.safetensors", "tokenizer.json"])
        #expect(expert.record.byteCount == 192)
    }

    @Test func `A record of another swarm, cut or changed in any byte is refused`() throws {
        let branch = try BranchSamples.branch()
        let expert = BranchSamples.expert(BranchSamples.record(of: branch.id), by: 3)
        #expect(throws: RecordProblem.self) { try Branch(bytes: branch.bytes, swarmID: Digest(hashing: [])) }
        for count in 0..<branch.bytes.count {
            #expect(throws: RecordProblem.self) {
                try Branch(bytes: Array(branch.bytes.prefix(count)), swarmID: BranchSamples.swarmID)
            }
        }
        for index in branch.bytes.indices {
            var bytes = branch.bytes
            bytes[index] ^= 0x40
            #expect((try? Branch(bytes: bytes, swarmID: BranchSamples.swarmID)) == nil)
        }
        for index in expert.bytes.indices {
            var bytes = expert.bytes
            bytes[index] ^= 1
            #expect((try? Expert(bytes: bytes, swarmID: BranchSamples.swarmID)) == nil)
        }
        // A signature is good for one kind of record.
        #expect((try? Expert(bytes: branch.bytes, swarmID: BranchSamples.swarmID)) == nil)
    }

    /// Ways in which a branch's record can lie.
    static let badBranches: [@Sendable (inout BranchRecord) -> Void] = [
        { $0.name = "" }, { $0.name = "main" }, { $0.name = "../law" }, { $0.name = ".law" }, { $0.name = "Law" },
        { $0.name = "l\u{1b}[2J" }, { $0.name = String(repeating: "l", count: 41) }, { $0.parents = [] },
        { $0.parents = Array(repeating: .init(source: "main", weight: 1), count: 17) },
        { $0.parents[0].weight = .nan }, { $0.parents[0].weight = .infinity }, { $0.parents[0].source = "a\nb" },
        { $0.starts = [] }, { $0.starts = Array(repeating: BranchSamples.blob(1), count: 257) },
        { $0.tokenBudget = .max }, { $0.domains = ["\u{7}"] },
        { $0.domains = Array(repeating: "x", count: 17) }, { $0.domains = [""] },
    ]

    @Test(arguments: badBranches.indices)
    func `A branch that is out of range is refused, whoever signed it`(_ index: Int) {
        var record = BranchSamples.record()
        Self.badBranches[index](&record)
        #expect(throws: RecordProblem.self) {
            try Branch(record, by: testIdentity(3), swarmID: BranchSamples.swarmID)
        }
        let signed = Signed(record, by: testIdentity(3), in: BranchSamples.context)
        #expect(throws: Refusal.self) { try Signed<BranchRecord>(signed.message, in: BranchSamples.context) }
    }

    /// Ways in which an expert's record can lie.
    static let badExperts: [@Sendable (inout ExpertRecord) -> Void] = [
        { $0.name = "a b" }, { $0.branch = "nowhere" }, { $0.branch = "main" }, { $0.branch = "" },
        { $0.tokens = .max }, { $0.heads = [] }, { $0.files = [] }, { $0.files[0].name = "../config.json" },
        { $0.files[0].name = ".config" }, { $0.files[0].name = "a/b" }, { $0.files[0].name = "" },
        { $0.files[1] = $0.files[0] }, { $0.files.reverse() },
        { $0.files = Array(repeating: $0.files[0], count: 65) }, { $0.domains = ["\u{202e}"] },
        { $0.heads = Array(repeating: $0.heads[0], count: 257) },
    ]

    @Test(arguments: badExperts.indices)
    func `An expert that is out of range is refused, whoever signed it`(_ index: Int) throws {
        var record = BranchSamples.record(of: try BranchSamples.branch().id)
        Self.badExperts[index](&record)
        let signed = Signed(record, by: testIdentity(3), in: BranchSamples.context)
        #expect(throws: Refusal.self) { try Signed<ExpertRecord>(signed.message, in: BranchSamples.context) }
    }

    @Test func `The largest records that are allowed fit their limit`() throws {
        var branch = BranchSamples.record(String(repeating: "n", count: 40))
        branch.starts = Array(repeating: BlobReference(digest: Digest(hashing: []), byteCount: 1 << 31), count: 256)
        branch.parents = Array(repeating: .init(source: String(repeating: "p", count: 80), weight: 1), count: 16)
        branch.domains = Array(repeating: String(repeating: "d", count: 80), count: 16)
        #expect(try Branch(branch, by: testIdentity(3), swarmID: BranchSamples.swarmID).bytes.count < 24 << 10)
        var expert = BranchSamples.record(of: try BranchSamples.branch().id)
        expert.heads = Array(repeating: .init(round: RoundIndex(.max), digest: Digest(hashing: [])), count: 256)
        expert.files = (100..<164).map {
            .init(
                name: "\($0)" + String(repeating: "f", count: 125),
                blob: BlobReference(digest: Digest(hashing: []), byteCount: 1 << 31))
        }
        expert.domains = branch.domains
        #expect(BranchSamples.expert(expert, by: 3).bytes.count <= 33 << 10)
        #expect(
            try Signed<ExpertRecord>(BranchSamples.expert(expert, by: 3).signed.message, in: BranchSamples.context)
                .content == expert)
    }

    /// Whether a book takes a record up; kept apart from the expectation, which cannot change what it looks at.
    private func takes(_ book: inout BranchBook, _ branch: Branch) throws -> Bool { try book.take(branch) }
    private func takes(_ book: inout BranchBook, _ expert: Expert) throws -> Bool { try book.take(expert) }

    @Test func `A book takes a record once, and from one peer no more than its share`() throws {
        var book = BranchSamples.book()
        let empty = book.summary
        let branch = try BranchSamples.branch()
        let first = [try takes(&book, branch), try takes(&book, branch)]
        #expect(first == [true, false])
        var taken = 1
        for number in 1...Limits.branchesPerPeerMax {
            if try takes(&book, BranchSamples.branch("law\(number)")) { taken += 1 }
        }
        #expect(taken == Limits.branchesPerPeerMax && book.sortedBranches.count == taken)
        let another = try takes(&book, BranchSamples.branch("one-more", by: 4))
        #expect(another)
        var experts = 0
        for number in 0...Limits.expertsPerPeerMax {
            var record = BranchSamples.record(of: "")
            record.closes = false
            record.name = "e\(number)"
            if try takes(&book, BranchSamples.expert(record, by: 5)) { experts += 1 }
        }
        #expect(experts == Limits.expertsPerPeerMax)
        #expect(book.summary != empty)
        var wrong = BranchSamples.record()
        wrong.starts.append(BranchSamples.blob(9))
        let other = try Branch(wrong, by: testIdentity(6), swarmID: BranchSamples.swarmID)
        #expect(throws: Refusal.self) { _ = try takes(&book, other) }
    }

    @Test func `A branch is closed by its maker or the founder, in whatever order the records come`() throws {
        let branch = try BranchSamples.branch()
        let record = BranchSamples.record(of: branch.id)
        for closer: UInt8 in [3, 1] {
            var book = BranchSamples.book()
            let early = try takes(&book, BranchSamples.expert(record, by: closer))
            #expect(early && book.closure(of: branch.id) == nil)
            let isKnown = try takes(&book, branch)
            #expect(isKnown && book.closure(of: branch.id)?.publisher == testIdentity(closer).peerID)
        }
        var book = BranchSamples.book()
        // Before the branch is known nobody can tell who may close it: the word is kept and counts for nothing.
        let kept = [try takes(&book, BranchSamples.expert(record, by: 4)), try takes(&book, branch)]
        #expect(kept == [true, true])
        #expect(book.closure(of: branch.id) == nil)
        #expect(throws: Refusal.self) { _ = try takes(&book, BranchSamples.expert(record, by: 5)) }
        let open = try takes(&book, BranchSamples.expert(BranchSamples.record(of: branch.id, closes: false), by: 5))
        #expect(open && book.closure(of: branch.id) == nil)
    }
}
