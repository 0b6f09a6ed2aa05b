import Compression
import OuterSync
import PeerNet

@testable import Swarm

/// Records of the test swarm, whose model has two fragments.
enum BranchSamples {
    static let swarmID = Digest(hashing: [9, 9])
    static let context = BranchContext(swarmID: swarmID, branch: "")

    static func blob(_ number: UInt8) -> BlobReference {
        BlobReference(digest: Digest(hashing: [number]), byteCount: 64)
    }

    static func record(_ name: String = "law") -> BranchRecord {
        BranchRecord(
            name: name, parents: [.init(source: "main", weight: 0.75), .init(source: "other", weight: 0.25)],
            starts: [blob(1), blob(2)], tokenBudget: 500_000, domains: ["statutes", "case law"])
    }

    static func branch(_ name: String = "law", by maker: UInt8 = 3) throws -> Branch {
        try Branch(record(name), by: testIdentity(maker), swarmID: swarmID)
    }

    static func record(of branch: String, closes: Bool = true) -> ExpertRecord {
        ExpertRecord(
            name: "law", branch: branch, closes: closes, tokens: 12_345, domains: ["statutes"],
            heads: branch.isEmpty
                ? []
                : (UInt8(3)...4).map {
                    ExpertRecord.Head(round: RoundIndex(UInt64($0)), digest: Digest(hashing: [$0]))
                },
            files: [
                .init(name: "tokenizer.json", blob: blob(5)), .init(name: "config.json", blob: blob(6)),
                .init(name: "model.safetensors", blob: blob(7)),
            ])
    }

    static func expert(_ record: ExpertRecord, by publisher: UInt8) -> Expert {
        Expert(Signed(record, by: testIdentity(publisher), in: context))
    }

    static func book() -> BranchBook {
        BranchBook(swarmID: swarmID, founder: testIdentity(1).peerID, fragmentCount: 2)
    }
}
