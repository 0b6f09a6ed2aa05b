import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

/// Two branches in one swarm: nodes 0 and 1 train the first one, 2 and 3 another that node 2 has made.
@Suite struct BranchSwarmTests {
    let swarm = TestSwarm(nodes: 4)
    let branch: Branch

    init() throws {
        branch = try BranchSamples.branch(by: 3)
        for number in 2...3 { swarm.nodes[number].train(branch, charter: swarm.charter) }
        swarm.nodes[2].records[branch.key] = RecordNotice(branch).bytes
    }

    private func startAll() {
        for number in 0..<4 { swarm.start(number) }
    }

    private func rounds(_ number: Int) -> UInt64 { swarm.nodes[number].heads.map(\.round).min() ?? 0 }

    private var heads: [[Digest]] { swarm.nodes.map { $0.heads.map(\.head.digest) } }

    @Test func `Each branch has its own rounds and heads, and all are one swarm`() throws {
        startAll()
        let isReached = swarm.run(until: 120) { swarm in
            swarm.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 4 } }
        }
        #expect(isReached)
        swarm.run(until: 125) { _ in
            heads[0] == heads[1] && heads[2] == heads[3]
        }
        #expect(heads[0] == heads[1] && heads[2] == heads[3] && heads[0] != heads[2])
        #expect(swarm.violations.isEmpty)
        for number in 0..<4 {
            let core = try #require(swarm.nodes[number].core)
            #expect(core.branchID == (number < 2 ? "main" : branch.id))
            #expect(core.membersByBranch["main"]?.count == (number < 2 ? 1 : 2))
            #expect(core.membersByBranch[branch.id]?.count == (number < 2 ? 2 : 1))
            #expect(core.branches == [branch])
            let voters = Set(core.status.fragments.flatMap(\.voters))
            #expect(voters == Set((number < 2 ? [0, 1] : [2, 3]).map { swarm.nodes[$0].peerID }))
        }
    }

    @Test func `No message of one branch moves anything of the other`() throws {
        startAll()
        swarm.run(until: 20)
        let messages = swarm.nodes[0].sent + swarm.nodes[1].sent
        #expect(messages.count > 100)
        let node = swarm.nodes[2]
        let before = try #require(node.core).status
        for (index, message) in messages.enumerated() {
            for author in [swarm.nodes[0].peerID, swarm.nodes[3].peerID] {
                if index.isMultiple(of: 3) {
                    let verdict = node.core!.judge(message, by: author)
                    let arrival = try Message.arrival(message, in: node.core!.context)
                    if case .othersRound = arrival {
                        #expect(verdict == .reject(reason: "it is of a round of another branch"))
                    }
                }
                swarm.perform(.received(from: author, message: message), on: node)
            }
        }
        let after = try #require(node.core).status
        #expect(after.fragments == before.fragments)
        #expect(after.committedTokens == before.committedTokens)
        #expect(swarm.violations.isEmpty)
        // What is signed in one branch is no signature in another.
        let context = try #require(node.core).context
        for message in messages { #expect((try? Message(bytes: message, in: context)) == nil) }
    }

    @Test func `Records reach whoever comes later, and survive a restart`() throws {
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 20)
        swarm.start(3)
        swarm.run(until: 24)
        #expect(swarm.nodes[3].core?.branches == [branch])
        #expect(swarm.nodes[0].records.count == 1)
        swarm.crash(0)
        swarm.start(0)
        #expect(swarm.nodes[0].core?.branches == [branch])
        // Once all know the same, the records do not travel any more.
        let count = { swarm.nodes.flatMap(\.sent).count { (try? self.pages($0)) ?? false } }
        swarm.run(until: 60)
        let sent = count()
        swarm.run(until: 120)
        #expect(count() == sent)
    }

    private func pages(_ message: [UInt8]) throws -> Bool {
        switch try Message.arrival(message, in: BranchContext(swarmID: swarm.swarmID, branch: Branch.main)) {
        case .own(.records(let notice)), .swarmWide(.records(let notice), _): !notice.branches.isEmpty
        default: false
        }
    }

    @Test func `A closed branch trains no more, the others go on, and its expert is known to all`() throws {
        startAll()
        swarm.run(until: 30)
        #expect(rounds(2) >= 1)
        let record = BranchSamples.record(of: branch.id)
        var closer: Expert?
        try swarm.command(2) { core, outputs in closer = try core.publish(record, at: swarm.now, into: &outputs) }
        let expert = try #require(closer)
        swarm.run(until: 40)
        for node in swarm.nodes { #expect(node.core?.experts == [expert]) }
        #expect(swarm.nodes[2].stopped && swarm.nodes[3].stopped && !swarm.nodes[0].stopped)
        #expect(swarm.nodes[3].core?.status.phase == .finished && swarm.nodes[3].core?.isBranchClosed == true)
        let before = (rounds(0), rounds(2))
        swarm.run(until: 80)
        #expect(rounds(2) == before.1)
        #expect(rounds(0) > before.0)
        #expect(swarm.violations.isEmpty)
        // A restart does not open it again.
        swarm.restart(3, after: 1)
        swarm.run(until: 100)
        #expect(swarm.nodes[3].stopped && rounds(3) == before.1)
    }

    @Test func `Who may not close a branch is dropped, and a forged record is the sender's offence`() throws {
        startAll()
        swarm.run(until: 10)
        let hostile = swarm.nodes[1]
        let closing = RecordNotice(BranchSamples.expert(BranchSamples.record(of: branch.id), by: 2))
        var forged = RecordNotice(try BranchSamples.branch("forged", by: 4))
        forged.branches[0].signature = wire([UInt8](repeating: 1, count: 64))
        for notice in [closing, forged] {
            let before = swarm.nodes[0].events.count
            let message = Message.records(notice).bytes(
                in: BranchContext(swarmID: swarm.swarmID, branch: Branch.main))
            swarm.perform(.received(from: hostile.peerID, message: message), on: swarm.nodes[0])
            #expect(
                swarm.nodes[0].events.dropFirst(before).contains {
                    if case .violation(hostile.peerID, _) = $0 { true } else { false }
                })
        }
        #expect(swarm.nodes[0].core?.experts == [])
        #expect(swarm.nodes[2].core?.isBranchClosed == false)
    }
}
