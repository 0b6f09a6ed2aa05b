import Numerics
import Testing

@Suite struct SeededRandomTests {
    @Test func theSequenceIsThePublishedOne() {
        // The first outputs of SplitMix64 for seed 1234567, from its authors' reference code.
        var random = SeededRandom(seed: 1_234_567)
        #expect(
            (0..<3).map { _ in random.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
    }

    @Test func streamsOfOneSeedDiffer() {
        var streams = (0..<8).map { SeededRandom(seed: 5, stream: $0) }
        let first = streams.indices.map { streams[$0].next() }
        #expect(Set(first).count == 8)
    }

    @Test func aStoredStateContinuesTheSequence() {
        var random = SeededRandom(seed: 9)
        _ = random.next()
        var continued = SeededRandom(seed: random.state)
        #expect(continued.next() == random.next())
    }

    @Test func normalsHaveMeanZeroAndDeviationOne() {
        var random = SeededRandom(seed: 1)
        let values = (0..<40_000).map { _ in Double(random.nextNormal()) }
        let mean = values.reduce(0, +) / 40_000
        let variance = values.reduce(0) { $0 + $1 * $1 } / 40_000
        #expect(abs(mean) < 0.02 && abs(variance - 1) < 0.03)
        #expect(values.allSatisfy { abs($0) <= 6 })
    }

    @Test func uniformsAndIndicesStayInRange() {
        var random = SeededRandom(seed: 2)
        for _ in 0..<1000 {
            #expect((0..<1).contains(random.nextUniform()))
            #expect((0..<7).contains(random.nextIndex(below: 7)))
        }
    }
}
