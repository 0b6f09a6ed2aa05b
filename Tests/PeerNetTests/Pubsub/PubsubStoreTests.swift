import Testing

@testable import PeerNet

/// The bounded collections behind gossipsub.
@Suite struct PubsubStoreTests {
    private let start = Moment(nanoseconds: 1_000_000_000)
    private func id(_ number: Int) -> MessageID {
        MessageID(author: testIdentity(1).peerID, sequence: UInt64(number))
    }
    private func peer(_ number: Int) -> PeerID {
        PeerID(publicKey: [UInt8](repeating: 0, count: 28) + MessageID.bytes(of: UInt64(number)).suffix(4))!
    }

    @Test func seenIDsExpireAndTheOldestGiveWay() {
        var seen = SeenCache(lifetime: .seconds(120), countMax: 100)
        for number in 0..<150 { seen.insert(id(number), .pending, at: start + .seconds(number)) }
        #expect(seen.count == 100)
        #expect(seen.status(of: id(49)) == nil && seen.status(of: id(50)) == .pending)
        seen.update(id(50), .rejected)
        seen.insert(id(50), .pending, at: start)
        #expect(seen.status(of: id(50)) == .rejected)
        seen.expire(at: start + .seconds(200))
        #expect(seen.status(of: id(80)) == nil && seen.status(of: id(81)) == .pending)
        #expect(seen.count == 69)
    }

    @Test func cachedMessagesAreBoundedByCountAndBytes() {
        var cache = MessageCache(windowsKept: 5)
        for number in 0..<PubsubLimits.cachedMax + 10 {
            cache.insert(id(number), topic: trainingTopic, publishField: [1])
        }
        #expect(cache.count == PubsubLimits.cachedMax && cache.bytes == PubsubLimits.cachedMax)
        #expect(cache.request(id(9), by: peer(1)) == nil)
        let large = [UInt8](repeating: 0, count: 1 << 20)
        for number in 0..<40 { cache.insert(id(100_000 + number), topic: trainingTopic, publishField: large) }
        #expect(cache.bytes <= PubsubLimits.cachedBytesMax && cache.count == 16)
        for _ in 0..<5 { cache.shift() }
        #expect(cache.bytes == 0 && cache.count == 0)
    }

    @Test func windowsOfTheCacheAreAdvertisedAndForgotten() {
        var cache = MessageCache(windowsKept: 5)
        for window in 0..<7 {
            cache.insert(id(window), topic: trainingTopic, publishField: [1])
            cache.insert(id(100 + window), topic: Topic("other")!, publishField: [1])
            let first = max(0, window - 2)
            #expect(cache.ids(of: trainingTopic, windows: 3) == (first...window).reversed().map { id($0) })
            cache.shift()
        }
        #expect(
            (0..<7).map { cache.request(id($0), by: peer(1)) != nil } == [false, false, false, true, true, true, true])
        #expect(cache.request(id(6), by: peer(1))?.requests == 2)
        #expect(cache.request(id(6), by: peer(2))?.requests == 1)
    }

    @Test func backoffsAreBoundedAndOnlyGrow() {
        var backoffs = Backoffs()
        for number in 0..<PubsubLimits.backoffsPerTopicMax + 5 {
            backoffs.set(peer(number), trainingTopic, for: .seconds(60 + number), at: start)
        }
        #expect(backoffs.count(in: trainingTopic) == PubsubLimits.backoffsPerTopicMax)
        #expect(backoffs.active(peer(4), trainingTopic, at: start) == nil)
        backoffs.set(peer(10), trainingTopic, for: .seconds(1), at: start)
        #expect(backoffs.active(peer(10), trainingTopic, at: start + .seconds(69)) != nil)
        backoffs.expire(slack: .seconds(1), at: start + .seconds(100_000))
        #expect(backoffs.count(in: trainingTopic) == 0)
        // Time near its end saturates instead of wrapping.
        let end = Moment(nanoseconds: .max)
        backoffs.set(peer(1), trainingTopic, for: .seconds(3600), at: end)
        #expect(backoffs.mustWait(peer(1), trainingTopic, slack: .seconds(1), at: end) == false)
    }

    @Test func promisesAreBounded() {
        var promises = Promises()
        for number in 0..<PubsubLimits.promisesMax + 10 { promises.add(id(number), by: peer(1), until: start) }
        #expect(promises.count == PubsubLimits.promisesMax)
        promises.fulfil(id(0))
        promises.fulfil(id(1), by: peer(2))
        promises.fulfil(id(2), by: peer(1))
        #expect(promises.count == PubsubLimits.promisesMax - 2)
        let broken = promises.takeBroken(at: start)
        #expect(broken.map(\.peer) == [peer(1)] && broken.map(\.count) == [PubsubLimits.promisesMax - 2])
        #expect(promises.count == 0)
    }

    @Test func theQueueDropsTheLeastImportantFirst() {
        var queue = OutgoingQueue()
        func push(_ lane: OutgoingQueue.Lane, _ mark: UInt8) -> Bool {
            queue.push(.init(part: .message, bytes: [mark, 0, 0, 0]), in: lane, costMax: 500)
        }
        #expect(
            push(.control, 1) && push(.own, 2) && push(.forwarded, 3) && push(.forwarded, 4) && push(.advertisement, 5))
        // Full: the advertisement goes, then the oldest forwarded message.
        #expect(push(.forwarded, 6) && queue.count(in: .advertisement) == 0)
        #expect(push(.forwarded, 7) && queue.count(in: .forwarded) == 3)
        #expect(!push(.advertisement, 8))
        #expect(!push(.request, 8))
        #expect(push(.own, 9) && push(.own, 10) && push(.own, 11))
        #expect(push(.own, 12), "the oldest of our own makes room")
        #expect(push(.control, 13) && push(.control, 14) && push(.control, 15) && push(.control, 16))
        #expect(!push(.control, 17), "control is never dropped for control")
        #expect(queue.nextRPC()?.enumerated().filter { $0.offset % 4 == 0 }.map(\.element) == [1, 13, 14, 15, 16])
        #expect(queue.isEmpty && queue.nextRPC() == nil)
    }

    @Test func rpcsArePackedBelowWhatEveryoneAccepts() {
        var queue = OutgoingQueue()
        func push(_ part: OutgoingQueue.Part, _ bytes: [UInt8], _ lane: OutgoingQueue.Lane) -> Bool {
            queue.push(.init(part: part, bytes: bytes), in: lane, costMax: 1 << 24)
        }
        let want = PubsubRPC.Entry.want((0..<300).map { id($0) })
        for _ in 0..<20 {
            #expect(push(.control, want, .request))
            #expect(push(.message, [UInt8](repeating: 0, count: 20_000), .own))
        }
        #expect(push(.message, [UInt8](repeating: 0, count: 900_000), .own))
        var sizes: [Int] = []
        while let rpc = queue.nextRPC() { sizes.append(rpc.count) }
        #expect(sizes.last == 900_000)
        #expect(sizes.dropLast().allSatisfy { $0 <= 64 << 10 })
    }

    @Test func sortedPeersAreASet() {
        var random = TestRandom(state: 5)
        var peers = SortedPeers()
        var model: Set<PeerID> = []
        for _ in 0..<2000 {
            let one = peer(Int.random(in: 0..<50, using: &random))
            if Bool.random(using: &random) {
                #expect(peers.insert(one) == model.insert(one).inserted)
            } else {
                #expect(peers.remove(one) == (model.remove(one) != nil))
            }
            #expect(Array(peers) == model.sorted())
            #expect(peers.contains(one) == model.contains(one))
        }
        #expect(model.sorted() == model.sorted { $0.publicKey.lexicographicallyPrecedes($1.publicKey) })
    }

    @Test func theQueueOfArrivalsKeepsOrder() {
        var fifo = FIFO<Int>()
        var model: [Int] = []
        var random = TestRandom(state: 6)
        for number in 0..<5000 {
            if Int.random(in: 0..<5, using: &random) < 3 {
                fifo.append(number); model.append(number)
            } else {
                #expect(fifo.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(fifo.count == model.count && fifo.first == model.first)
        }
        #expect(Array(fifo.newestFirst) == model.reversed())
        #expect(fifo.remove(where: { $0 % 2 == 0 }) == model.filter { $0 % 2 == 0 })
        #expect(Array(fifo.newestFirst) == model.filter { $0 % 2 == 1 }.reversed())
    }
}
