import Checkpoint
import Compression
import Corpus
import Glibc
import LanguageModel
import Numerics
import OuterSync
import PeerNet
import Swarm
import Tokenizing

/// Everything that a node opens before it starts: whatever is wrong with home, disk, text or records is found here.
struct NodeSetup: Sendable {
    let home: NodeHome
    let identity: Identity
    let swarmID: Digest
    let charter: Charter
    let sealedCharter: [UInt8]
    let networkKey: NetworkKey?
    let folder: SwarmFolder
    /// What the node trains; nil: the branch that the swarm started with.
    let branch: Branch?
    let layout: FragmentLayout
    let encoding: PayloadEncoding
    let residuals: FragmentResiduals
    let late: LateFragments
    let outerRule: OuterRule
    let heads: [FragmentHead]
    let recovered: NodeCore.Recovered
    let trainerBases: [Digest]
    let incarnation: UInt64
    /// Whether the node has nothing of its own to train on yet: it neither founded the swarm nor trained for it before.
    let startsFromOthers: Bool
    /// Peers, and records of members, branches and experts; for the first branch its rounds too.
    let members: SwarmJournal
    let journal: SwarmJournal
    let blobs: BlobFolder
    /// Files of experts and starts of branches.
    let library: BlobFolder
    /// What the owner's text is called.
    let domains: [String]
    let disk: SwarmDisk
    /// Serves the blobs, and the charter.
    let server: BlobServer
    let corpus: Corpus
    /// The owner's caps on all that the node sends and receives.
    let rateLimits: LinkRates
    let makeTrainer: @Sendable () throws(TrainingFailure) -> any FragmentTrainer

    init(home: NodeHome, configuration: NodeConfiguration, threads: Int?, record: SwarmRegistry.Record) throws {
        self.home = home
        identity = try home.loadOrCreateIdentity()
        swarmID = record.id
        charter = record.branch.map { $0.charter(of: record.charter) } ?? record.charter
        branch = record.branch
        domains = configuration.domains.map(\.name)
        sealedCharter = record.sealedCharter
        networkKey = try home.loadNetworkKey(configuration)
        folder = record.folder
        let model = try charter.model.configuration()
        let parameterLayout = ParameterLayout(model)
        layout = try FragmentLayout(parameterLayout, rule: charter.fragmentRule)
        encoding = charter.encoding
        outerRule = charter.outerRule
        rateLimits = LinkRates(
            up: Self.kilobits(configuration.upload), down: Self.kilobits(configuration.download))
        corpus = try Self.openCorpus(configuration, home: home, model: model, charter: charter)

        blobs = try BlobFolder(opening: folder.blobsPath)
        try folder.heads(layout: layout).create()
        let storageThread = ThreadExecutor()
        library = try BlobFolder(opening: folder.libraryPath)
        members = try SwarmJournal(path: folder.membersPath, executor: storageThread)
        journal =
            record.branch == nil ? members : try SwarmJournal(path: folder.journalPath, executor: storageThread)
        disk = SwarmDisk(folder: folder, blobs: blobs, executor: storageThread)
        server = BlobServer(
            folders: [blobs, library], resident: [record.sealedCharter],
            caps: FairServing.Caps(
                bytesPerSecond: configuration.serve.map { Double($0.bytesPerSecond) },
                bytesPerSecondEach: configuration.servePerPeer.map { Double($0.bytesPerSecond) }))
        let contents = journal.opened
        let known = members.opened
        incarnation = known.incarnation

        heads = try Self.openHeads(
            layout, parameterLayout: parameterLayout, charter: charter, folder: folder.heads(layout: layout),
            branch: record.branch, library: library)
        let state = try Self.openState(folder, fragmentCount: layout.fragments.count)
        let saved = state.flatMap { BuiltInTrainer.Saved($0.sections, parameterCount: parameterLayout.count) }
        if state != nil, saved == nil {
            throw CheckpointError.damaged(path: folder.statePath, reason: "it is not the state of this swarm's model")
        }
        residuals = FragmentResiduals(
            layout: layout, encoding: encoding, saved: state?.sections ?? [])
        guard
            let late = LateFragments(
                mode: charter.syncMode, rule: outerRule, heads: heads, saved: state?.sections)
        else {
            throw CheckpointError.damaged(
                path: folder.statePath, reason: "it lacks what this swarm's overlap mode needs")
        }
        self.late = late
        let progress = state?.progress ?? TrainingProgress(steps: 0, tokens: 0)
        let recoveredHeads = try Self.recover(heads, folder: folder)
        var recovered = NodeCore.Recovered(
            slots: contents.slots.map(\.message),
            finals: layout.fragments.map { contents.finals[$0.index] ?? [] },
            heads: recoveredHeads,
            liveBases: layout.fragments.map { state?.bases[$0.index.value] }, progress: progress,
            peers: known.peers.sorted { $0.key < $1.key }.map { PeerAddresses(peer: $0.key, addresses: $0.value) },
            admissions: known.admissions.sorted { $0.key < $1.key }.map(\.value))
        recovered.records = known.records.sorted { $0.key < $1.key }.map(\.value)
        self.recovered = recovered
        trainerBases = state?.bases ?? heads.map(\.digest)
        startsFromOthers = state == nil && (record.branch?.maker ?? charter.founder) != identity.peerID

        let seed = Self.cursorSeed(identity.peerID, incarnation: incarnation)
        let materials = BuiltInTrainer.Materials(
            layout: layout, model: model, inner: charter.inner, tokenBudget: charter.tokenBudget, corpus: corpus,
            cursor: saved?.cursor ?? CorpusCursor(seedBytes: seed),
            threads: Self.threadCount(threads ?? configuration.threads),
            parameters: saved?.parameters ?? Self.flatParameters(heads, layout: layout, count: parameterLayout.count),
            moments: saved?.moments)
        makeTrainer = { () throws(TrainingFailure) in BuiltInTrainer(materials) }
    }

    /// A cap in kbit/s; 0: none.
    private static func kilobits(_ rate: BitRate?) -> UInt32 {
        rate.map { min(UInt32(clamping: $0.bytesPerSecond / 125), Limits.kilobitsMax) } ?? 0
    }

    /// What the core is told at its start.
    func coreConfiguration(listenAddresses: [Multiaddr], way: SwarmRegistry.Way) -> NodeCore.Configuration {
        var configuration = NodeCore.Configuration(
            identity: identity, charter: charter, swarmID: swarmID, incarnation: incarnation,
            listenAddresses: listenAddresses, bootstrap: way.bootstrap,
            fragments: layout.fragments.map { fragment in
                FragmentShape(
                    tileCount: fragment.tiles.count, payloadBytesMax: fragment.payloadByteCountMax(encoding),
                    snapshotTileBytesMax: fragment.chunkByteCountMax,
                    resultBytes: encoding.ladder.isEmpty ? [] : encoding.resultCodecs.map { fragment.byteCount($0) })
            },
            rateLimits: rateLimits, seed: UInt64(identity.peerID.publicKey[0]) << 56 ^ incarnation,
            credential: way.credential)
        if let branch {
            configuration.branch = branch.id
            configuration.branchMaker = branch.maker
        }
        return configuration
    }

    /// Seeds a node's sequence of windows: two nodes never draw the same one, nor two starts of a node, unless the second
    /// continues the first one's cursor.
    static func cursorSeed(_ peer: PeerID, incarnation: UInt64) -> [UInt8] {
        peer.publicKey + withUnsafeBytes(of: incarnation.littleEndian) { Array($0) }
    }

    /// One thread per core unless told otherwise.
    static func threadCount(_ threads: Int) -> Int { threads > 0 ? threads : WorkerPool.processorCount }

    static func openCorpus(
        _ configuration: NodeConfiguration, home: NodeHome, model: ModelConfiguration, charter: Charter
    ) throws -> Corpus {
        guard Digest(hashing: Tokenizer.bytes.tokenizerJSON) == charter.tokenizer else {
            throw UserError(
                "the swarm uses a tokenizer that this version does not have", cure: "Update atoll",
                exitCode: .unavailable)
        }
        do {
            return try Corpus(
                configuration.domains.map { DomainSource(name: $0.name, patterns: $0.globs, weight: $0.weight) },
                tokenizer: .bytes, contextLength: model.contextLength)
        } catch CorpusError.noDomains {
            throw UserError(
                "this node has no text to train on",
                cure: "Name some with atoll init --domain NAME='/path/**/*.txt'", exitCode: .noInput)
        } catch {
            var failure = UserError(wrapping: error)
            failure.cure += ". The domains stand in \(home.configurationPath)"
            throw failure
        }
    }

    private static func openHeads(
        _ layout: FragmentLayout, parameterLayout: ParameterLayout, charter: Charter, folder: HeadFolder,
        branch: Branch?, library: BlobFolder
    ) throws -> [FragmentHead] {
        var genesis: FloatBuffer?
        return try layout.fragments.map { fragment in
            if let head = try folder.load(fragment) { return head }
            if let branch {
                let head = try BranchStart.head(of: branch, fragment, charter: charter, library: library)
                try folder.persist(head, of: fragment.index)
                return head
            }
            let parameters = genesis ?? parameterLayout.initialParameters(seed: charter.seed)
            genesis = parameters
            let head = FragmentHead(
                genesis: parameters.withUnsafeBufferPointer { fragment.gather(from: $0) },
                scalars: NodeCore.genesisScalars(charter: charter, fragment: fragment.index), fragment: fragment)
            try folder.persist(head, of: fragment.index)
            return head
        }
    }

    private static func recover(_ heads: [FragmentHead], folder: SwarmFolder) throws -> [NodeCore.RecoveredHead] {
        try heads.map { head in
            guard let round = NodeCore.round(ofScalars: head.scalars) else {
                throw CheckpointError.damaged(path: folder.path, reason: "a head names no round")
            }
            return NodeCore.RecoveredHead(round: round, digest: head.digest)
        }
    }

    private static func openState(_ folder: SwarmFolder, fragmentCount: Int) throws -> LocalState? {
        guard access(folder.statePath, F_OK) == 0 else { return nil }
        return try LocalState(readingFrom: folder.statePath, fragmentCount: fragmentCount)
    }

    /// The heads' parameters as one flat buffer in the model's order; padding stays 0.
    static func flatParameters(_ heads: [FragmentHead], layout: FragmentLayout, count: Int) -> [Float] {
        var parameters = [Float](repeating: 0, count: count)
        parameters.withUnsafeMutableBufferPointer { model in
            for (fragment, head) in zip(layout.fragments, heads) { fragment.overwrite(model, with: head.theta) }
        }
        return parameters
    }
}
