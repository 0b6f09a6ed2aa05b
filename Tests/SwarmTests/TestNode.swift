import Compression
import OuterSync
import PeerNet

@testable import Swarm

/// A head as the fake arithmetic knows it: its scalars and a digest per tile.
struct FakeHead: Hashable {
    var scalars: [UInt8]
    var leaves: [Digest]

    var manifest: SnapshotManifest {
        SnapshotManifest(scalars: scalars, tiles: leaves.map { BlobReference(digest: $0, byteCount: 64) })
    }
    var digest: Digest { manifest.headDigest }
}

func testIdentity(_ number: UInt8) -> Identity {
    Identity(seed: [UInt8](repeating: number, count: 32))!
}

func testCharter(
    founder: PeerID, budget: UInt64 = 1_000_000, stepsPerRound: Int = 20, overlap: Int = 2,
    admission: Charter.Admission = .open
) -> Charter {
    Charter(
        name: "test", founder: founder,
        model: .init(
            vocabularySize: 256, width: 128, layerCount: 4, headCount: 4, keyValueHeadCount: 4, headWidth: 32,
            feedForwardWidth: 352, contextLength: 128, ropeTheta: 10_000, rmsNormEpsilon: 1e-5, tiedEmbeddings: true),
        tokenizer: Digest(hashing: [1]), seed: 7,
        inner: .init(
            learningRate: 1e-3, finalLearningRateShare: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1,
            gradientClip: 1, warmupTokens: 1_000, batchSequences: 8), outer: .init(learningRate: 0.7, momentum: 0.9),
        fragmentRule: .stridedThrees, innerStepsPerRound: stepsPerRound, overlapSteps: overlap, blendAlpha: 0.5,
        encoding: PayloadEncoding(.e3m0), tokenBudget: budget, admission: admission)
}

/// One node: what its disk keeps, and the core while it runs.
final class TestNode {
    struct PendingApply { var application: HeadApplication }

    let number: Int
    let identity: Identity
    var core: NodeCore?
    var incarnation: UInt64 = 0
    /// Pretends that its results went on from another state.
    var rewritesFeedback = false
    // Disk.
    var feedback: Set<Digest> = []
    /// What its results said, in order.
    var feedbackTold: [(fragment: FragmentIndex, FeedbackDigests)] = []
    var slots: [(FragmentIndex, RoundIndex, [UInt8])] = []
    var finals: [[[UInt8]]]
    var heads: [(round: UInt64, head: FakeHead)]
    var liveBases: [Digest?]
    /// Per fragment the head that the live value was last overwritten with, and per copy the one that it is measured from.
    var bases: [Digest]
    var copies: [[UInt64]: Digest] = [:]
    var blobs: Set<Digest> = []
    var progress = TrainingProgress(steps: 0, tokens: 0)
    var savedProgress = TrainingProgress(steps: 0, tokens: 0)
    var knownPeers: [PeerID: [Multiaddr]] = [:]
    var admissions: [Digest: [UInt8]] = [:]
    var records: [Digest: [UInt8]] = [:]
    var credential: Credential?
    /// What it trains; nil: the first branch.
    var branch: Branch?
    var genesis: [FakeHead]
    // Memory.
    var candidates: [Digest: FakeHead] = [:]
    var timers: [NodeCore.Timer: Moment] = [:]
    var applies: [FragmentIndex: HeadApplication] = [:]
    /// With the head that overwrites the live value behind the copy.
    var snapshotsAsked: [(FragmentIndex, RoundIndex, turn: Digest?)] = []
    var blends = 0
    var trains = true
    var diskWorks = true
    /// Whether it says of its blobs that they are smaller than they are.
    var tellsFalseSizes = false
    /// Whether nobody can decode its contributions.
    var sendsUnfit = false
    /// Whether its contributions are those of every other such node.
    var copiesContributions = false
    var stepDuration: Duration = .milliseconds(100)
    var finished = false
    var stopped = false
    var events: [NodeCore.Event] = []
    var sent: [[UInt8]] = []
    var committedTokens: UInt64 = 0

    var peerID: PeerID { identity.peerID }
    var isUp: Bool { core != nil }

    /// Feedback as the workshop tells of it, without values.
    func feedback(from state: Digest?, _ fragment: FragmentIndex, _ result: Digest) -> FeedbackDigests {
        var before = state.flatMap { feedback.contains($0) ? $0 : nil }
        if rewritesFeedback { before = Digest(hashing: result.bytes) }
        let after = Digest(hashing: (before?.bytes ?? []) + result.bytes)
        feedback.insert(after)
        let told = FeedbackDigests(before: before, after: after)
        feedbackTold.append((fragment, told))
        return told
    }

    init(number: Int, identity: Identity, genesis: [FakeHead]) {
        self.number = number
        self.identity = identity
        self.genesis = genesis
        finals = genesis.map { _ in [] }
        heads = genesis.map { (0, $0) }
        liveBases = genesis.map { _ in nil }
        bases = genesis.map(\.digest)
    }

    /// Makes it a node of a branch that has not trained yet.
    func train(_ branch: Branch, charter: Charter) {
        self.branch = branch
        genesis = genesis.enumerated().map { index, head in
            FakeHead(
                scalars: NodeCore.genesisScalars(
                    charter: charter, maker: branch.maker, fragment: FragmentIndex(index)), leaves: head.leaves)
        }
        heads = genesis.map { (0, $0) }
        bases = genesis.map(\.digest)
    }

    func summaries(_ fragment: Int) -> [NodeCore.RoundSummary] {
        events.compactMap { event in
            if case .roundFinal(let summary) = event, summary.fragment.value == fragment { summary } else { nil }
        }
    }
}
