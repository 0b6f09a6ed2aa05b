import Compression
import OuterSync

/// A seeded generator (splitmix64), the same as in protocols/vectors/payload.py.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Long-tailed values, the same as in protocols/vectors/payload.py.
func samples(_ seed: UInt64, _ count: Int, _ scale: Float) -> [Float] {
    var random = SplitMix(seed)
    return (0..<count).map { _ in
        let x = (Float(random.next() >> 40) - 8_388_608) / 8_388_608
        return x * x * x * scale
    }
}

/// Stores in memory that can be told to fail.
final class MemoryStore: BlobStore, HeadStore {
    var blobs: [Digest: [UInt8]] = [:]
    var heads: [FragmentIndex: FragmentHead] = [:]
    var feedback: [FragmentIndex: [UInt8]] = [:]
    var isFull = false

    func read(_ digest: Digest) -> [UInt8]? { blobs[digest] }

    func write(_ bytes: [UInt8]) throws(StorageFailure) -> Digest {
        if isFull { throw StorageFailure(reason: "the disk is full") }
        let digest = Digest(ofBlob: bytes)
        blobs[digest] = bytes
        return digest
    }

    func persist(_ head: FragmentHead, of fragment: FragmentIndex) throws(StorageFailure) {
        if isFull { throw StorageFailure(reason: "the disk is full") }
        heads[fragment] = head
    }

    func persist(feedback: [UInt8], of fragment: FragmentIndex) throws(StorageFailure) {
        if isFull { throw StorageFailure(reason: "the disk is full") }
        self.feedback[fragment] = feedback
    }

    func feedback(of fragment: FragmentIndex, byteCountMax: Int) -> [UInt8]? {
        feedback[fragment].flatMap { $0.count <= byteCountMax ? $0 : nil }
    }
}

/// A model of two blocks, embedding and final norm, as fragments {0}, {1}, {rest}; parameters in all: 2 * 700 + 330.
func smallLayout() throws -> FragmentLayout {
    try FragmentLayout(tensors: [
        TensorDescription(name: "embedding", shape: [10, 32], block: nil),
        TensorDescription(name: "block.0.norm", shape: [100], block: 0),
        TensorDescription(name: "block.0.weight", shape: [20, 30], block: 0),
        TensorDescription(name: "block.1.norm", shape: [100], block: 1),
        TensorDescription(name: "block.1.weight", shape: [20, 30], block: 1),
        TensorDescription(name: "norm", shape: [10], block: nil),
    ])
}

/// One node without a network: stores and a workshop.
struct TestNode {
    let store = MemoryStore()
    let workshop: FragmentWorkshop

    init(
        _ layout: FragmentLayout, codec: Codec = .e3m0, feedback: Float = 0, rule: OuterRule, seed: UInt64 = 1
    ) {
        let encoding = PayloadEncoding(contribution: codec, result: codec, feedback: feedback)
        let heads = layout.fragments.map { fragment in
            FragmentHead(
                genesis: samples(seed + UInt64(fragment.index.value), fragment.parameterCount, 0.5), scalars: [0],
                fragment: fragment)
        }
        workshop = FragmentWorkshop(
            layout: layout, encoding: encoding, rule: rule, heads: heads, blobs: store, headStore: store)
    }
}

/// What went wrong in a job that had to work.
struct UnexpectedResult: Error {
    var result: JobResult
}

/// Runs one whole round of a fragment among nodes that hold the same head: snapshot, encode, aggregate, step, adopt.
///
/// - Parameters:
///   - live: per node its live fragment.
///   - shares: per node its training.
///   - owners: per tile the owning node; nil: the tile is left out of the commit.
///   - order: an order in which each owner sees contributions.
/// - Returns: the new head's digest.
func runRound(
    _ nodes: [TestNode], _ fragment: FragmentIndex, _ round: UInt64, live: [[Float]], shares: [TrainingShare],
    owners: [Int?], order: [Int]? = nil
) throws -> Digest {
    let round = RoundIndex(round)
    let assignment = nodes.indices.map { node in owners.indices.filter { owners[$0] == node }.map(TileIndex.init) }
    var contributions: [[ContributionReference]] = nodes.map { _ in [] }
    for (member, node) in nodes.enumerated() {
        node.workshop.keepSnapshot(fragment, round, live: live[member])
        let result = node.workshop.run(.encodeContribution(fragment: fragment, round: round, assignment: assignment))
        guard case .contributionEncoded(let blobs, _) = result else { throw UnexpectedResult(result: result) }
        for (owner, blob) in blobs.enumerated() {
            guard let blob else { continue }
            nodes[owner].store.blobs[blob.digest] = node.store.blobs[blob.digest]
            contributions[owner].append(ContributionReference(member: member, share: shares[member], blob: blob))
        }
    }
    var payloads: [CommittedPayload] = []
    for (owner, node) in nodes.enumerated() where !assignment[owner].isEmpty {
        let arrived = (order ?? Array(nodes.indices)).map { contributions[owner][$0] }
        let result = node.workshop.run(
            .aggregate(fragment: fragment, round: round, tiles: assignment[owner], contributions: arrived))
        guard case .aggregated(let blob, let members, _, _) = result else { throw UnexpectedResult(result: result) }
        payloads.append(CommittedPayload(tiles: assignment[owner], shares: members.map { shares[$0] }, blob: blob))
        for other in nodes { other.store.blobs[blob.digest] = node.store.blobs[blob.digest] }
    }
    let step = OuterStepDescription(payloads: payloads, scalars: [UInt8(truncatingIfNeeded: round.value)])
    var digests: Set<Digest> = []
    for node in nodes {
        let base = node.workshop.head(fragment).digest
        let result = node.workshop.run(.outerStep(fragment: fragment, base: base, step: step))
        guard case .outerStepped(let head) = result else { throw UnexpectedResult(result: result) }
        let adopted = node.workshop.run(.adopt(fragment: fragment, head: head))
        guard adopted == .adopted else { throw UnexpectedResult(result: adopted) }
        node.workshop.releaseSnapshot(fragment, round)
        digests.insert(head)
    }
    guard digests.count == 1, let digest = digests.first else { throw UnexpectedResult(result: .adopted) }
    return digest
}
