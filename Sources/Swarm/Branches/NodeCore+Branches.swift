import Compression
import OuterSync
package import PeerNet

// Records of branches and experts: who learns of them, and what they do to this node.

extension NodeCore {
    /// The id of the branch that this node trains.
    package var branchID: String { context.branch }

    /// Whether the branch that this node trains was closed: its members begin no more rounds.
    package var isBranchClosed: Bool { book.closure(of: context.branch) != nil }

    /// The branches known besides the first one, by id.
    package var branches: [Branch] { book.sortedBranches }

    /// The experts known, by name.
    package var experts: [Expert] { book.sortedExperts }

    /// The expert with which a branch was closed.
    package func closure(of branch: String) -> Expert? { book.closure(of: branch) }

    /// Whether this node may close a branch.
    package func mayClose(_ branch: Branch) -> Bool { book.mayClose(branch, me) }

    /// Connected members by the branch that they train.
    package var membersByBranch: [String: [PeerID]] {
        var members = Dictionary(grouping: peers.elsewhere) { peers[$0]?.branch ?? "" }
        members[context.branch] = peers.members
        return members
    }

    /// Connected peers of any branch, ascending: whoever may hold what a record names.
    package var connectedPeers: [PeerID] { (peers.members + peers.elsewhere).sorted() }

    static func recoveredBook(
        _ configuration: Configuration, _ recovered: Recovered
    ) throws(StartError) -> BranchBook {
        var book = BranchBook(
            swarmID: configuration.swarmID, founder: configuration.charter.founder,
            fragmentCount: configuration.fragments.count)
        do throws(Refusal) {
            for bytes in recovered.records {
                let notice = try RecordNotice(bytes: bytes)
                for signed in notice.branches { _ = try book.take(Branch(try Signed(signed, in: book.context))) }
                for signed in notice.experts { _ = try book.take(Expert(try Signed(signed, in: book.context))) }
            }
        } catch { throw .recovered("a record of a branch or an expert cannot be read: \(error.reason)") }
        return book
    }

    // MARK: What the node's owner wants

    /// Signs a branch and tells the swarm of it.
    package mutating func make(
        _ record: BranchRecord, at now: Moment, into outputs: inout [Output]
    ) throws(RecordProblem) -> Branch {
        let branch = try Branch(record, by: configuration.identity, swarmID: configuration.swarmID)
        do throws(Refusal) {
            guard branch.bytes.count <= Limits.recordBytesMax else { throw Refusal("its record is too large") }
            guard try book.take(branch) else {
                throw Refusal("it is there already, or no more branches can be held")
            }
        } catch { throw RecordProblem(error.reason) }
        tell(RecordNotice(branch), branch.key, at: now, into: &outputs)
        return branch
    }

    /// Signs an expert and tells the swarm of it; ends its branch if it says so.
    package mutating func publish(
        _ record: ExpertRecord, at now: Moment, into outputs: inout [Output]
    ) throws(RecordProblem) -> Expert {
        let expert = Expert(Signed(record, by: configuration.identity, in: book.context))
        do throws(Refusal) {
            try record.check()
            guard expert.signed.body.count <= Limits.recordBytesMax else { throw Refusal("its record is too large") }
            guard try book.take(expert) else {
                throw Refusal("it is there already, or no more experts can be held")
            }
        } catch { throw RecordProblem(error.reason) }
        tell(RecordNotice(expert), expert.key, at: now, into: &outputs)
        return expert
    }

    /// Keeps a record of this node's own, and tells the others once it is on disk.
    private mutating func tell(_ notice: RecordNotice, _ key: Digest, at now: Moment, into outputs: inout [Output]) {
        swap(&out, &outputs)
        self.now = max(self.now, now)
        persist(.record(key, notice.bytes), .record(notice))
        checkClosed()
        swap(&out, &outputs)
    }

    // MARK: What others tell

    /// Says which records this node holds, if it holds any.
    mutating func tellRecords(to peer: PeerID) {
        if !book.isEmpty { send(.records(RecordNotice(summary: book.summary)), to: peer) }
    }

    /// Tells a random connected peer, of whatever branch.
    mutating func tellRecords() {
        guard !book.isEmpty, let peer = connectedPeers.randomElement(using: &random) else { return }
        tellRecords(to: peer)
    }

    mutating func recordsReceived(_ notice: RecordNotice, from peer: PeerID) {
        do throws(Refusal) {
            for message in notice.branches where isNews(message) {
                let branch = Branch(try Signed(message, in: book.context))
                guard mayServe(branch.maker), try book.take(branch) else { continue }
                persist(.record(branch.key, RecordNotice(branch).bytes), .record(nil))
                event(.branchKnown(branch))
            }
            for message in notice.experts where isNews(message) {
                let expert = Expert(try Signed(message, in: book.context))
                guard mayServe(expert.publisher) else { continue }
                do throws(Refusal) {
                    guard try book.take(expert) else { continue }
                } catch {
                    // Who passed it on may not know the branch.
                    violation(peer, signer: expert.publisher, error.reason)
                    continue
                }
                persist(.record(expert.key, RecordNotice(expert).bytes), .record(nil))
                event(.expertKnown(expert))
            }
        } catch { violation(peer, signer: peer, error.reason) }
        checkClosed()
        if let summary = notice.summary { exchangeRecords(with: peer, that: summary) }
    }

    /// Whether a record is not held; nothing is verified for it.
    private func isNews(_ message: WireSigned) -> Bool {
        !book.holds(Digest(hashing: array(message.signer) + array(message.body)))
    }

    /// Sends a peer all records where it holds others than this node: at most so often, and once for the same two states.
    private mutating func exchangeRecords(with peer: PeerID, that summary: RecordSummary) {
        guard summary != book.summary, let entry = peers[peer], entry.isConnected else { return }
        let states = [summary, book.summary]
        guard entry.recordsTold?.states != states else { return }
        if let last = entry.recordsTold?.at, now - last < limits.admissionExchangeInterval { return }
        let now = now
        peers.update(peer) { $0.recordsTold = (states, now) }
        for page in RecordNotice.pages(of: book) { send(.records(page), to: peer) }
    }

    /// Stops training once this node's branch has been closed.
    mutating func checkClosed() {
        guard isStarted, !hasHeardOfClosure, let expert = book.closure(of: context.branch) else { return }
        hasHeardOfClosure = true
        event(.branchClosed(expert))
        if !budgetKnown { out.append(.stopTraining) }
    }
}
