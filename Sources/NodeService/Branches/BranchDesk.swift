import Checkpoint
import Compression
import Experts
import Glibc
import LanguageModel
import Numerics
import OuterSync
import Swarm
import Tokenizing

/// The heavy work behind branches and experts: models read, averaged, written and hashed, on a thread of its own.
actor BranchDesk {
    /// Something that a branch can start from, or that an expert can be made of.
    enum Source: Sendable {
        /// The heads of a branch, in this node's folder of it; the id.
        case heads(SwarmFolder, String)
        case expert(Expert)

        /// The id of branch or expert.
        var id: String {
            switch self {
            case .heads(_, let id): id
            case .expert(let expert): expert.id
            }
        }
    }

    /// Most bytes of one file of an expert: what a blob holds, with room for a header.
    static let shardByteCountMax = 1 << 30

    private let executor = ThreadExecutor()
    private let charter: Charter
    private let layout: FragmentLayout
    private let library: BlobFolder
    private let scratchPath: String

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(setup: NodeSetup) {
        charter = setup.charter
        layout = setup.layout
        library = setup.library
        scratchPath = setup.folder.scratchPath
    }

    deinit { executor.finish() }

    /// Stores the weighted average of some sources as a branch's start: one blob per fragment.
    func store(start sources: [(source: Source, weight: Double)]) throws -> [BlobReference] {
        try withScratch { scratch in
            var paths: [String] = []
            for (index, entry) in sources.enumerated() {
                paths.append("\(scratch)/\(index)")
                _ = try write(entry.source, to: paths[index])
            }
            if paths.count > 1 {
                let average = try WeightedAverage(of: paths, weights: sources.map(\.weight))
                try average.write(to: "\(scratch)/average")
                paths = ["\(scratch)/average"]
            }
            let parameters = try ModelFolder(paths[0]).readParameters()
            return try parameters.withUnsafeBufferPointer { model in
                try layout.fragments.map { fragment in
                    let bytes = BranchStart.bytes(of: fragment.gather(from: model))
                    return BlobReference(digest: try library.write(bytes), byteCount: bytes.count)
                }
            }
        }
    }

    /// Stores a branch's heads as an expert's files.
    func store(
        heads folder: SwarmFolder, of branch: String
    ) throws -> (files: [ExpertRecord.File], heads: [ExpertRecord.Head], tokens: UInt64) {
        try withScratch { scratch in
            let heads = try write(.heads(folder, branch), to: "\(scratch)/expert")
            let files = try ExpertFolder.store("\(scratch)/expert", in: library)
            return (
                files,
                heads.map {
                    ExpertRecord.Head(round: NodeCore.round(ofScalars: $0.scalars) ?? RoundIndex(0), digest: $0.digest)
                },
                heads.compactMap { NodeCore.tokens(ofScalars: $0.scalars) }.max() ?? 0
            )
        }
    }

    /// Stores a checkpoint folder as an expert's files.
    func store(checkpoint path: String) throws -> [ExpertRecord.File] {
        try ExpertFolder.check(path, shownAs: path, charter: charter)
        return try ExpertFolder.store(path, in: library)
    }

    /// Writes a source as a checkpoint folder; gives the heads that are in it.
    private func write(_ source: Source, to path: String) throws -> [FragmentHead] {
        switch source {
        case .expert(let expert):
            try ExpertFolder.write(expert.record, from: library.path, to: path, charter: charter)
            return []
        case .heads(let folder, let id):
            let headFolder = folder.heads(layout: layout)
            let heads = try layout.fragments.map { fragment in
                guard let head = try headFolder.load(fragment) else {
                    throw UserError(
                        "this node holds no heads of the branch \(id)",
                        cure: "Join the branch first, or name an expert", exitCode: .unavailable)
                }
                return head
            }
            let model = try charter.model.configuration()
            let count = ParameterLayout(model).count
            let parameters = FloatBuffer(copying: NodeSetup.flatParameters(heads, layout: layout, count: count))
            try ModelFolder.write(
                to: path, configuration: model, tokenizer: .bytes, parameters: parameters,
                storage: TensorStorage(shardByteCountMax: Self.shardByteCountMax))
            return heads
        }
    }

    /// Gives `body` an empty folder, and removes it.
    private func withScratch<Value>(_ body: (String) throws -> Value) throws -> Value {
        if access(scratchPath, F_OK) == 0 { try removeTree(scratchPath) }
        try createFolders(scratchPath)
        defer { try? removeTree(scratchPath) }
        return try body(scratchPath)
    }
}
