import PeerNet
import Simulation
import Testing

@Suite struct EventQueueTests {
    @Test func `Events come by moment, and in order of scheduling at one moment`() {
        var queue = EventQueue<Int>()
        var generator = SeededGenerator(seed: 7)
        var expected: [(Int, Int)] = []
        for event in 0..<500 {
            let moment = generator.draw(0...40)
            queue.schedule(event, at: Moment(nanoseconds: UInt64(moment)))
            expected.append((moment, event))
        }
        expected.sort { $0.0 == $1.0 ? $0.1 < $1.1 : $0.0 < $1.0 }
        for (moment, event) in expected {
            #expect(queue.pop() == event)
            #expect(queue.now == Moment(nanoseconds: UInt64(moment)))
        }
        #expect(queue.pop() == nil)
    }

    @Test func `Time never goes back, even for an event that is scheduled in the past`() {
        var queue = EventQueue<String>()
        queue.schedule("late", after: .seconds(2))
        #expect(queue.pop() == "late")
        queue.schedule("past", at: .zero)
        #expect(queue.nextMoment == Moment.zero + .seconds(2))
        #expect(queue.pop() == "past")
        #expect(queue.now == Moment.zero + .seconds(2))
    }

    @Test func `A seed gives the same stream and another stream is another`() {
        func draws(_ seed: UInt64, _ stream: UInt64) -> [UInt64] {
            var generator = SeededGenerator(seed: seed, stream: stream)
            return (0..<8).map { _ in generator.next() }
        }
        #expect(draws(1, 2) == draws(1, 2))
        #expect(draws(1, 2) != draws(1, 3))
        #expect(draws(1, 2) != draws(2, 2))
        // The reference stream of SplitMix64 for seed 1234567 (Vigna's splitmix64.c).
        var reference = SeededGenerator(seed: 1_234_567)
        #expect(reference.next() == 6_457_827_717_110_365_317)
        #expect(reference.next() == 3_203_168_211_198_807_973)
    }
}
