import Compression
import Testing

@Suite struct ByteBudgetTests {
    @Test func theLeastErrorIsWhatBruteForceGives() throws {
        var random = SplitMix(16)
        var tooFew = 0
        for _ in 0..<600 {
            let table = try randomTable(&random, droppingSome: true)
            let choices = everyChoice(of: table)
            let smallest = choices.map(table.byteCount(of:)).min() ?? 0
            let budget = Int.random(in: -5...260, using: &random)
            let result = try LayerAllotment.leastError(within: budget, table)
            guard smallest <= budget else {
                #expect(result == .tooFewBytes(needed: smallest))
                tooFew += 1
                continue
            }
            let found = try fitting(result)
            let best = choices.filter { table.byteCount(of: $0) <= budget }.map(table.error(of:)).min()
            #expect(found.error == best)
            #expect(found.byteCount <= budget)
        }
        #expect(tooFew > 20)
    }

    @Test func neverAboveTheBudgetAndNeverWorseThanTheBestUniformSetting() throws {
        var random = SplitMix(17)
        var uniforms = 0
        for _ in 0..<4000 {
            let layers = Int.random(in: 1...9, using: &random), candidates = Int.random(in: 1...7, using: &random)
            let errors = (0..<layers).map { _ in (0..<candidates).map { _ in random.uniform() * 100 } }
            // Where all layers have the same sizes, a uniform setting often beats coarse buckets.
            let shared = (0..<candidates).map { _ in Int.random(in: 0...1_000_000, using: &random) }
            let sizes = (0..<layers).map { _ in
                Bool.random(using: &random)
                    ? shared : (0..<candidates).map { _ in Int.random(in: 0...1_000_000, using: &random) }
            }
            let table = try table(errors, sizes, uniform: 0)
            let budget = Int.random(in: 0...(600_000 * layers), using: &random)
            let buckets = Int.random(in: 1...(Bool.random(using: &random) ? 200 : layers), using: &random)
            switch try LayerAllotment.leastError(within: budget, table, buckets: buckets) {
            case .tooFewBytes(let needed):
                #expect(needed > budget)
                #expect(needed == sizes.reduce(0) { $0 + ($1.min() ?? 0) })
            case .fits(let found):
                #expect(found.byteCount <= budget)
                #expect(found.byteCount == table.byteCount(of: found.choice))
                if found.origin != .programme { uniforms += 1 }
                for candidate in 0..<candidates {
                    let uniform = [Int](repeating: candidate, count: layers)
                    if table.byteCount(of: uniform) <= budget { #expect(found.error <= table.error(of: uniform)) }
                }
            }
        }
        #expect(uniforms > 10)
    }

    @Test func whateverFitsAtAllIsFoundHoweverCoarseTheBuckets() throws {
        let table = try table([[9, 1], [9, 1], [9, 1]], [[101, 900], [101, 900], [101, 900]], uniform: 1)
        #expect(try LayerAllotment.leastError(within: 302, table, buckets: 1) == .tooFewBytes(needed: 303))
        #expect(try fitting(LayerAllotment.leastError(within: 303, table, buckets: 1)).choice == [0, 0, 0])
        let one = try fitting(LayerAllotment.leastError(within: 1102, table))
        #expect(one.byteCount == 1102)
        #expect(one.error == 19)
    }

    @Test func extremeBudgetsAreSurvived() throws {
        let table = try goldenTable()
        #expect(try LayerAllotment.leastError(within: .min, table) == .tooFewBytes(needed: 120))
        #expect(try LayerAllotment.mostError(with: .min, table) == .tooFewBytes(needed: 120))
        let rich = try fitting(LayerAllotment.leastError(within: .max, table))
        #expect(rich.choice == [2, 2, 2])
        #expect(rich.error == 6)
        let limit = ErrorTable.byteCountMax
        let large = try CompressionTests.table(
            [[Double]](repeating: [2, 1], count: 300), [[Int]](repeating: [0, limit], count: 300), uniform: 0)
        let half = try fitting(LayerAllotment.leastError(within: 150 * limit, large, buckets: 15_000))
        #expect(half.error == 450)
        #expect(half.byteCount == 150 * limit)
    }

    @Test func aCandidateWithoutFiniteErrorIsNotTheSmallest() throws {
        let table = try table([[5, .nan], [5, 2]], [[10, 1], [10, 20]], uniform: 0)
        #expect(try LayerAllotment.leastError(within: 19, table) == .tooFewBytes(needed: 20))
        #expect(try fitting(LayerAllotment.leastError(within: 30, table)).choice == [0, 1])
    }

    @Test func theReverseSpendsTheSameBytesAndIsMeasurablyWorse() throws {
        var random = SplitMix(18)
        for _ in 0..<20 {
            let scales = (0..<24).map { _ in 0.01 + random.uniform() * random.uniform() }
            let counts = (0..<24).map { _ in Int.random(in: 1...16, using: &random) * 4096 }
            let errors = zip(scales, counts).map { scale, count in
                (2...8).map { scale * Double(count).squareRoot() * Double(sign: .plus, exponent: -$0, significand: 1) }
            }
            let sizes = counts.map { count in (2...8).map { count * $0 / 8 } }
            let table = try table(errors, sizes, uniform: 2)
            let allotment = try LayerAllotment.solve(table)
            let reverse = try fitting(LayerAllotment.mostError(with: allotment.byteCount, table))
            #expect(reverse.byteCount <= allotment.byteCount)
            #expect(Double(reverse.byteCount) > 0.95 * Double(allotment.byteCount))
            #expect(reverse.error > 1.5 * allotment.error)
        }
    }

    @Test func theReverseIsWhatBruteForceGivesAmongThoseThatSpendTheBytes() throws {
        var random = SplitMix(19)
        for _ in 0..<300 {
            let table = try randomTable(&random)
            let choices = everyChoice(of: table)
            let sizes = choices.map(table.byteCount(of:))
            let smallest = sizes.min() ?? 0, largest = sizes.max() ?? 0
            let budget = Int.random(in: smallest...260, using: &random)
            let spare = min(budget, largest) - smallest
            let enough = smallest + (spare * 98 + 99) / 100
            let found = try fitting(LayerAllotment.mostError(with: budget, table))
            let fits = zip(choices, sizes).filter { $1 <= budget }
            let bound = min(enough, fits.map(\.1).max() ?? 0)
            let worst = fits.filter { $1 >= bound }.map { table.error(of: $0.0) }.max()
            #expect(found.error == worst)
            #expect(found.byteCount <= budget)
        }
    }
}
