import Numerics
import PeerNet
import Testing

@testable import NodeService

@Suite(.timeLimit(.minutes(1))) struct BodySearchTests {
    let peers = (1...5).compactMap { PeerID(publicKey: [UInt8](repeating: $0, count: 32)) }

    /// Who was asked, in order, and what was found.
    private final class Notes: Sendable {
        let asked = Lock<[PeerID]>([])
        let found = Lock<[[UInt8]?]>([])
    }

    /// A search among peers that answer so; one that is not named is silent until the body was found.
    private func run(
        _ answers: [PeerID: BodySearch.Answer], lateAnswer: BodySearch.Answer = .nothing, announcer: PeerID,
        others: [PeerID], waits: Int = .max
    ) async -> (keptWord: Bool?, asked: [PeerID], found: [[UInt8]?]) {
        let notes = Notes()
        let (silence, end) = AsyncStream.makeStream(of: Void.self)
        let (never, keep) = AsyncStream.makeStream(of: Void.self)
        let waited = Lock(0)
        let search = BodySearch(
            ask: { peer in
                notes.asked.withLock { $0.append(peer) }
                if let answer = answers[peer] { return answer }
                for await _ in silence {}
                return lateAnswer
            },
            wait: {
                let count = waited.withLock { count in
                    count += 1
                    return count
                }
                guard count > waits else { return }
                for await _ in never {}
            })
        let keptWord = await search.run(announcer, others: others) { body in
            notes.found.withLock { $0.append(body) }
            end.finish()
        }
        keep.finish()
        return (keptWord, notes.asked.withLock { $0 }, notes.found.withLock { $0 })
    }

    @Test func `a silent announcer keeps no body from the node, and is charged`() async {
        let result = await run([peers[2]: .body([7])], announcer: peers[0], others: [peers[2], peers[3]])
        #expect(result.found == [[7]] && result.keptWord == false)
        #expect(result.asked.contains(peers[2]))
    }

    @Test func `an announcer that is only slow is not charged`() async {
        let result = await run(
            [peers[2]: .body([7])], lateAnswer: .body([7]), announcer: peers[0], others: [peers[2]])
        #expect(result.found == [[7]] && result.keptWord == true)
    }

    @Test func `an announcer without the body is charged, and the next one asked at once`() async {
        let result = await run(
            [peers[0]: .nothing, peers[1]: .unreachable, peers[2]: .body([7])], announcer: peers[0],
            others: [peers[1], peers[2], peers[3]], waits: 0)
        #expect(result.found == [[7]] && result.keptWord == false && result.asked == Array(peers.prefix(3)))
    }

    @Test func `an announcer that keeps its word is the only one asked`() async {
        let result = await run(
            [peers[0]: .body([7])], announcer: peers[0], others: [peers[1], peers[2]], waits: 0)
        #expect(result.found == [[7]] && result.keptWord == true && result.asked == [peers[0]])
    }

    @Test func `others that do not have it yet are asked again, some times`() async {
        let all = Array(peers.dropFirst())
        let answers = Dictionary(uniqueKeysWithValues: peers.map { ($0, BodySearch.Answer.nothing) })
        let result = await run(answers, announcer: peers[0], others: all + [peers[0]])
        #expect(result.found == [nil] && result.keptWord == false)
        #expect(result.asked.count == 1 + BodySearch.sweepsMax * all.count)
        let alone = await run([peers[0]: .unreachable], announcer: peers[0], others: [])
        #expect(alone.found == [nil] && alone.keptWord == nil)
    }

    @Test func `faults in a row cost score, a body or time pays for them`() {
        var faults = BodyFaults()
        var now = Moment.zero + .seconds(1)
        let scores = (0..<6).map { _ in faults.note(peers[0], keptWord: false, at: now)[peers[0]] }
        #expect(scores == [0, -20, -40, -60, -80, -100])
        var changes = faults.note(peers[1], keptWord: true, at: now)
        #expect(changes.isEmpty)
        changes = faults.note(peers[0], keptWord: true, at: now)
        #expect(changes == [peers[0]: 0])
        changes = faults.note(peers[0], keptWord: false, at: now)
        #expect(changes == [peers[0]: 0])
        now = now + BodyFaults.memory
        changes = faults.note(peers[1], keptWord: false, at: now)
        #expect(changes == [peers[0]: 0, peers[1]: 0])
    }
}
