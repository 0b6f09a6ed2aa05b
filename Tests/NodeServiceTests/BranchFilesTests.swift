import Checkpoint
import Compression
import Glibc
import LanguageModel
import OuterSync
import PeerNet
import Swarm
import Testing
import Tokenizing

@testable import NodeService

/// What branches and experts are on disk, without a network.
@Suite struct BranchFilesTests {
    let folder = ScratchFolder()
    let identity = Identity(seed: [UInt8](repeating: 7, count: 32))!
    let swarmID = Digest(hashing: [1])

    private var charter: Charter {
        SwarmSpecification().charter(
            founder: identity.peerID, tokenizer: Digest(hashing: Tokenizer.bytes.tokenizerJSON))
    }

    private func layout() throws -> FragmentLayout {
        try FragmentLayout(ParameterLayout(try charter.model.configuration()), rule: charter.fragmentRule)
    }

    @Test func `a list of sources is names with weights, or one name`() throws {
        #expect(try SourceList.parse("main") == [.init(name: "main", weight: 1)])
        #expect(
            try SourceList.parse("a:0.7,b:0.3") == [.init(name: "a", weight: 0.7), .init(name: "b", weight: 0.3)])
        for text in ["", ",", "a,b", "a:1,b", "a:0", "a:-1,b:2", "a:nan", "a:1:2", ":1", "a:1,a:2", "a:1,"] {
            #expect(throws: UserError.self, "\(text)") { try SourceList.parse(text) }
        }
    }

    @Test func `the text of a posterior is a list of sources without those that count for nothing`() throws {
        let text = BranchPosterior.sourceList(["x", "y", "z"], [0.75, 0.0001, 0.2499])
        #expect(try SourceList.parse(text) == [.init(name: "x", weight: 0.75), .init(name: "z", weight: 0.2499)])
    }

    @Test func `a branch's start gives back the parameters, and a false byte is refused`() throws {
        let layout = try layout()
        let library = try BlobFolder(opening: folder.path + "/library")
        let thetas = layout.fragments.map { fragment in (0..<fragment.parameterCount).map { Float($0) / 7 } }
        let starts = try thetas.map { theta in
            BlobReference(digest: try library.write(BranchStart.bytes(of: theta)), byteCount: 4 * theta.count)
        }
        let branch = try Branch(
            BranchRecord(
                name: "law", parents: [.init(source: "main", weight: 1)], starts: starts, tokenBudget: 99, domains: []),
            by: identity, swarmID: swarmID)
        try BranchStart.check(branch, layout: layout)
        #expect(branch.charter(of: charter).tokenBudget == 99)
        for (fragment, theta) in zip(layout.fragments, thetas) {
            let head = try BranchStart.head(of: branch, fragment, charter: charter, library: library)
            #expect(head.theta == theta && NodeCore.round(ofScalars: head.scalars) == RoundIndex(0))
        }
        let path = "\(library.path)/\(starts[0].digest)"
        var bytes = try DurableFile.read(path, byteCountMax: 1 << 30)
        bytes[5] ^= 1
        try DurableFile.write(bytes, to: path)
        #expect(throws: CheckpointError.self) {
            try BranchStart.head(of: branch, layout.fragments[0], charter: charter, library: library)
        }
        var short = branch.record
        short.starts[0].byteCount -= 4
        let other = try Branch(short, by: identity, swarmID: swarmID)
        #expect(throws: UserError.self) { try BranchStart.check(other, layout: layout) }
    }

    @Test func `the branch that was chosen is found again, and no other bytes pass for its record`() throws {
        let swarm = SwarmFolder(path: folder.path + "/swarm")
        try createFolders(swarm.path)
        #expect(try SwarmRegistry.activeBranch(of: swarmID, in: swarm) == nil)
        let branch = try Branch(
            BranchRecord(
                name: "law", parents: [.init(source: "main", weight: 1)],
                starts: [BlobReference(digest: swarmID, byteCount: 4)], tokenBudget: 0, domains: []), by: identity,
            swarmID: swarmID)
        try SwarmRegistry.choose(branch, in: swarm)
        #expect(try SwarmRegistry.activeBranch(of: swarmID, in: swarm) == branch)
        #expect(throws: CheckpointError.self) { try SwarmRegistry.activeBranch(of: Digest(hashing: [2]), in: swarm) }
        let own = swarm.of(branch: branch.id)
        #expect(own.journalPath != swarm.journalPath && own.membersPath == swarm.membersPath)
        try DurableFile.write(Array("../../x\n".utf8), to: swarm.activeBranchPath)
        #expect(throws: CheckpointError.self) { try SwarmRegistry.activeBranch(of: swarmID, in: swarm) }
        try SwarmRegistry.choose(nil, in: swarm)
        #expect(try SwarmRegistry.activeBranch(of: swarmID, in: swarm) == nil)
    }

    @Test func `an expert's folder comes out of the blobs byte for byte, or not at all`() throws {
        let charter = charter
        let model = try charter.model.configuration()
        let layout = ParameterLayout(model)
        try ModelFolder.write(
            to: folder.path + "/model", configuration: model, tokenizer: .bytes,
            parameters: layout.initialParameters(seed: 3))
        let library = try BlobFolder(opening: folder.path + "/library")
        let files = try ExpertFolder.store(folder.path + "/model", in: library)
        #expect(files.contains { $0.name == "model.safetensors" } && files.contains { $0.name == "config.json" })
        var record = ExpertRecord(
            name: "law", branch: "", closes: false, tokens: 0, domains: [], heads: [], files: files)
        try ExpertFolder.write(record, from: library.path, to: folder.path + "/out", charter: charter)
        for file in files {
            #expect(
                try DurableFile.read("\(folder.path)/model/\(file.name)", byteCountMax: 1 << 30)
                    == DurableFile.read("\(folder.path)/out/\(file.name)", byteCountMax: 1 << 30))
        }
        var other = charter
        other.model.layerCount += 1
        #expect(throws: (any Error).self) {
            try ExpertFolder.write(record, from: library.path, to: folder.path + "/bad", charter: other)
        }
        // A blob under another file's name is not what was signed.
        let path = "\(library.path)/\(record.files[0].blob.digest)"
        var bytes = try DurableFile.read(path, byteCountMax: 1 << 30)
        bytes[0] ^= 1
        try DurableFile.write(bytes, to: path)
        #expect(throws: CheckpointError.self) {
            try ExpertFolder.write(record, from: library.path, to: folder.path + "/bad", charter: charter)
        }
        record.files[0].blob.byteCount += 1
        #expect(throws: CheckpointError.self) {
            try ExpertFolder.write(record, from: library.path, to: folder.path + "/bad", charter: charter)
        }
        #expect(access(folder.path + "/bad", F_OK) != 0)
        let left = try SystemFiles().list(folder.path).sorted()
        #expect(left == ["library", "model", "out"])
    }

    @Test func `a file of several chunks becomes a blob of its digest`() throws {
        let library = try BlobFolder(opening: folder.path + "/library")
        for count in [1, BlobTree.chunkByteCount, BlobTree.chunkByteCount + 1, 3 * BlobTree.chunkByteCount] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try DurableFile.write(bytes, to: folder.path + "/file")
            let blob = try library.store(fileAt: folder.path + "/file")
            #expect(blob == BlobReference(digest: Digest(ofBlob: bytes), byteCount: count))
            #expect(library.read(blob.digest) == bytes)
        }
        try DurableFile.write([], to: folder.path + "/file")
        #expect(throws: CheckpointError.self) { try library.store(fileAt: folder.path + "/file") }
    }
}
