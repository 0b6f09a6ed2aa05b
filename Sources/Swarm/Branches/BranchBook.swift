import Compression
import PeerNet

/// The branches and experts that a node knows of. Records only ever come in: none changes, none ends.
///
/// At a limit further records are not taken; a peer has a share of its own of the room, so that none takes it all.
struct BranchBook: Sendable {
    /// What signatures of records are bound to: the swarm, and no branch.
    let context: BranchContext
    private let founder: PeerID
    private let fragmentCount: Int
    private var branches: [Digest: Branch] = [:]
    private var experts: [Digest: Expert] = [:]
    private(set) var summary = RecordSummary()

    init(swarmID: Digest, founder: PeerID, fragmentCount: Int) {
        context = BranchContext(swarmID: swarmID, branch: "")
        self.founder = founder
        self.fragmentCount = fragmentCount
    }

    var isEmpty: Bool { branches.isEmpty && experts.isEmpty }

    /// The branches, by id.
    var sortedBranches: [Branch] { branches.values.sorted { $0.id < $1.id } }

    /// The experts, by name, then id.
    var sortedExperts: [Expert] { experts.values.sorted { ($0.record.name, $0.id) < ($1.record.name, $1.id) } }

    func holds(_ key: Digest) -> Bool { branches[key] != nil || experts[key] != nil }

    func branch(_ id: String) -> Branch? { branches.values.first { $0.id == id } }

    /// Takes a branch up; false if it is known or there is no room.
    mutating func take(_ branch: Branch) throws(Refusal) -> Bool {
        guard branch.record.starts.count == fragmentCount else {
            throw Refusal("a branch starts from another number of fragments")
        }
        let own = branches.values.count { $0.maker == branch.maker }
        guard branches[branch.key] == nil, branches.count < Limits.branchesMax, own < Limits.branchesPerPeerMax else {
            return false
        }
        branches[branch.key] = branch
        summary.add(branch.key)
        return true
    }

    /// Takes an expert up; false if it is known or there is no room.
    mutating func take(_ expert: Expert) throws(Refusal) -> Bool {
        guard expert.record.heads.isEmpty || expert.record.heads.count == fragmentCount else {
            throw Refusal("an expert has another number of heads than the model has fragments")
        }
        if expert.record.closes, let branch = branch(expert.record.branch), !mayClose(branch, expert.publisher) {
            throw Refusal("an expert closes a branch that its publisher may not close")
        }
        let own = experts.values.count { $0.publisher == expert.publisher }
        guard experts[expert.key] == nil, experts.count < Limits.expertsMax, own < Limits.expertsPerPeerMax else {
            return false
        }
        experts[expert.key] = expert
        summary.add(expert.key)
        return true
    }

    /// A branch ends at the word of who made it or of the swarm's founder. Anybody may publish what it came to.
    func mayClose(_ branch: Branch, _ peer: PeerID) -> Bool { peer == branch.maker || peer == founder }

    /// The expert with which a branch was closed; the one of the lowest key, if there are several. An expert may be known
    /// before its branch, so what it closes is looked at here.
    func closure(of id: String) -> Expert? {
        guard let branch = branch(id) else { return nil }
        return experts.values
            .filter { $0.record.closes && $0.record.branch == id && mayClose(branch, $0.publisher) }
            .min { $0.key < $1.key }
    }
}
