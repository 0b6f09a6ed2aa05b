import Compression
import Testing

@Suite struct LayerAllotmentTests {
    @Test func theGoldenCaseOfTheReference() throws {
        let table = try goldenTable()
        #expect(table.byteCount(of: table.uniformChoice) == 240)
        let tight = try LayerAllotment.solve(table, buckets: 13)
        #expect(tight.choice == [2, 1, 0])
        #expect(tight.byteCount == 160)
        #expect(tight.error == 13)
        #expect(tight.origin == .programme)
        for buckets in [20, 10_000] {
            let found = try LayerAllotment.solve(table, buckets: buckets)
            #expect(found.choice == [2, 2, 0])
            #expect(found.byteCount == 180)
            #expect(found.error == 12)
            #expect(found.settings == [2, 2, 0].map(setting))
        }
    }

    @Test func wholeErrorsAndStepsOfOneGiveWhatBruteForceGives() throws {
        var random = SplitMix(6)
        for _ in 0..<600 {
            let table = try randomTable(&random, droppingSome: true)
            let budget = table.error(of: table.uniformChoice)
            let found = try LayerAllotment.solve(table, buckets: max(1, Int(budget)))
            let best = everyChoice(of: table).filter { table.error(of: $0) <= budget }.map(table.byteCount(of:)).min()
            #expect(found.byteCount == best)
            #expect(found.origin == .programme)
        }
    }

    @Test func neverAboveTheBudgetAndNeverLargerThanUniform() throws {
        var random = SplitMix(7)
        var fallBacks = 0
        for _ in 0..<4000 {
            let layers = Int.random(in: 1...9, using: &random), candidates = Int.random(in: 1...7, using: &random)
            let errors = (0..<layers).map { _ in (0..<candidates).map { _ in random.uniform() * 100 * random.uniform() }
            }
            let sizes = (0..<layers).map { _ in
                (0..<candidates).map { _ in Int.random(in: 0...1_000_000, using: &random) }
            }
            let uniform = Int.random(in: 0..<candidates, using: &random)
            let table = try table(
                errors, sizes, uniform: uniform, metric: Bool.random(using: &random) ? .norm : .squaredNorm)
            let factor = [1, 1, 1.3, 5][Int.random(in: 0..<4, using: &random)]
            let buckets = Int.random(in: 1...300, using: &random)
            let found = try LayerAllotment.solve(table, budgetFactor: factor, buckets: buckets)
            let budget = factor * table.error(of: table.uniformChoice)
            #expect(found.error <= budget)
            #expect(found.byteCount <= table.byteCount(of: table.uniformChoice))
            #expect(found.byteCount == table.byteCount(of: found.choice))
            if found.origin != .programme {
                #expect(found.choice == table.uniformChoice)
                fallBacks += 1
            }
            // No worse than the best that leaves one step per layer free.
            let slack = budget * (1 - Double(layers) / Double(buckets)) * 0.999_999
            if layers <= 4 {
                for choice in everyChoice(of: table) where table.error(of: choice) <= slack {
                    #expect(found.byteCount <= table.byteCount(of: choice))
                }
            }
        }
        #expect(fallBacks > 10 && fallBacks < 2000)
    }

    @Test func theSameTableGivesTheSameAllotmentAndTheOrderOfLayersDoesNotMatter() throws {
        var random = SplitMix(8)
        for _ in 0..<200 {
            let errors = (0..<5).map { _ in (0..<4).map { _ in Double(Int.random(in: 1...9, using: &random)) } }
            let sizes = (0..<5).map { _ in (0..<4).map { _ in Int.random(in: 0...60, using: &random) } }
            let table = try table(errors, sizes, uniform: 1)
            let buckets = Int(table.error(of: table.uniformChoice))
            let found = try LayerAllotment.solve(table, buckets: buckets)
            #expect(try LayerAllotment.solve(table, buckets: buckets) == found)
            let turned = try CompressionTests.table(errors.reversed(), sizes.reversed(), uniform: 1)
            #expect(try LayerAllotment.solve(turned, buckets: buckets).byteCount == found.byteCount)
        }
    }

    @Test func aTableOfAWholeModelIsSolvedInOneGo() throws {
        var random = SplitMix(9)
        let layers = 300
        // Seven widths: every bit halves the error and costs an eighth of a byte per value.
        let scales = (0..<layers).map { _ in 0.01 + random.uniform() * random.uniform() }
        let counts = (0..<layers).map { _ in Int.random(in: 1...16, using: &random) * 65_536 }
        let errors = scales.map { scale in (2...8).map { scale * Double(sign: .plus, exponent: -$0, significand: 1) } }
        let sizes = counts.map { count in (2...8).map { count * $0 / 8 } }
        let table = try table(errors, sizes, uniform: 2)
        let found = try LayerAllotment.solve(table)
        #expect(found.origin == .programme)
        // Uneven layers are what it is for: a tenth fewer bytes at the same error (E8).
        #expect(Double(found.byteCount) < 0.9 * Double(table.byteCount(of: table.uniformChoice)))
    }

    // MARK: Pitfalls of the reference, by number

    @Test func pitfall1WhereCeilingsLeaveNothingTheUniformSettingIsTheResult() throws {
        // Three errors of one step and a half are three steps of two.
        let table = try table([[1, 9], [1, 9], [1, 9]], [[7, 1], [7, 1], [7, 1]], uniform: 0)
        let found = try LayerAllotment.solve(table, buckets: 2)
        #expect(found.origin == .uniform(setting(0)))
        #expect(found.choice == [0, 0, 0])
        #expect(found.byteCount == 21)
        #expect(try LayerAllotment.solve(table, buckets: 3).origin == .programme)
    }

    @Test func pitfall2AnErrorAboveTheBudgetIsNeverChosen() throws {
        let table = try table([[5, 1_000_000]], [[100, 1]], uniform: 0)
        for buckets in [1, 13, 10_000] {
            #expect(try LayerAllotment.solve(table, buckets: buckets).choice == [0])
        }
        // One that is above by the smallest step is dropped as well.
        let close = try CompressionTests.table([[5, 5.0.nextUp]], [[100, 1]], uniform: 0)
        #expect(try LayerAllotment.solve(close).choice == [0])
    }

    @Test func pitfall3AnErrorThatIsNoNumberIsNeverChosenAndDisturbsNothing() throws {
        for bad in [Double.nan, .signalingNaN, .infinity] {
            let table = try table(
                [[10, 6, 3, bad], [bad, 2, 1, 4], [8, 5, 2, bad]],
                [[10, 20, 40, 0], [0, 20, 40, 10], [100, 200, 400, 0]], uniform: 1)
            let found = try LayerAllotment.solve(table, buckets: 13)
            #expect(found.choice == [2, 1, 0])
            #expect(found.byteCount == 160)
        }
    }

    @Test func pitfall4FirstAndLaterLayersTreatTheExactBudgetAlike() throws {
        // Whichever layer comes first may use the very last step.
        let one = try table([[5, 5]], [[100, 1]], uniform: 0)
        #expect(try LayerAllotment.solve(one, buckets: 5).choice == [1])
        for errors in [[[1, 1], [4, 4.0]], [[4, 4], [1, 1]]] {
            let two = try table(errors, [[100, 1], [100, 1]], uniform: 0)
            #expect(try LayerAllotment.solve(two, buckets: 5).choice == [1, 1])
        }
    }

    @Test func pitfall5LayersMayHaveFewerCandidatesThanOthers() throws {
        let table = try table([[8, 4, 2, 1], [3, 2]], [[10, 20, 40, 80], [5, 6]], uniform: 1)
        let found = try LayerAllotment.solve(table, buckets: 6)
        let best = everyChoice(of: table).filter { table.error(of: $0) <= 6 }.map(table.byteCount(of:)).min()
        #expect(found.byteCount == best)
    }

    @Test func pitfall6SquaredNormsWeighLargeLayersMore() throws {
        let errors = [[100.0, 96, 104], [4, 8, 8]], sizes = [[100, 130, 80], [50, 10, 10]]
        let plain = try LayerAllotment.solve(table(errors, sizes, uniform: 0), buckets: 104)
        // Four less here buys four more there…
        #expect(plain.error == 104)
        #expect(plain.choice != [2, 0])
        // …but as a sum of squares a hundred weighs so much that 96 leaves room for everything small.
        let squared = try LayerAllotment.solve(table(errors, sizes, uniform: 0, metric: .squaredNorm))
        #expect(squared.error <= 10_016)
        #expect(squared.byteCount <= 150)
        #expect(ErrorMetric.squaredNorm.value(ofNorm: 3) == 9)
        #expect(ErrorMetric.norm.value(ofNorm: 3) == 3)
    }

    // MARK: Edges

    @Test func withoutErrorTheFewestBytesWithoutErrorWin() throws {
        let table = try table([[0, 0, 1], [0, 0, 0]], [[9, 5, 1], [4, 3, 8]], uniform: 0)
        #expect(try LayerAllotment.solve(table).choice == [1, 1])
        // However many they are, layers without error leave the budget to the others.
        let raw = [[Double]](repeating: [0, 0], count: 50)
        let many = try CompressionTests.table(raw + [[3, 3]], [[Int]](repeating: [2, 1], count: 51), uniform: 0)
        #expect(try LayerAllotment.solve(many, buckets: 3).byteCount == 51)
    }

    @Test func noLayersGiveAnEmptyAllotment() throws {
        let table = try table([], [], uniform: 0)
        let found = try LayerAllotment.solve(table)
        #expect(found.choice.isEmpty)
        #expect(found.byteCount == 0)
        #expect(try fitting(LayerAllotment.leastError(within: 0, table)).choice.isEmpty)
    }

    @Test func theSmallestAndLargestErrorsAreSurvived() throws {
        for error in [Double.leastNonzeroMagnitude, .leastNormalMagnitude, 1e-300, 1e250] {
            let table = try table([[error, error], [error, error]], [[9, 5], [4, 3]], uniform: 0)
            let found = try LayerAllotment.solve(table)
            #expect(found.error <= 2 * error)
            #expect(found.byteCount <= 13)
        }
        // What does not leave room for sums counts as infinite.
        #expect(throws: AllotmentError.uniformNotFinite(layerIndex: 0)) {
            try table([[1e300, 1]], [[9, 5]], uniform: 0)
        }
    }

    @Test func aFactorBelowOneFallsBackToUniformAndSaysSo() throws {
        let found = try LayerAllotment.solve(goldenTable(), budgetFactor: 0.1)
        #expect(found.origin == .uniform(setting(1)))
        #expect(try LayerAllotment.solve(goldenTable(), budgetFactor: 1.7).byteCount == 120)
    }

    @Test(arguments: [0, -1, .nan, .infinity, 0x1p21]) func badFactorsAreRefused(factor: Double) {
        #expect(throws: AllotmentError.badBudgetFactor) {
            try LayerAllotment.solve(goldenTable(), budgetFactor: factor)
        }
    }

    @Test(arguments: [0, -1, Int.min, 100_001, Int.max]) func badBucketCountsAreRefused(buckets: Int) {
        #expect(throws: AllotmentError.badBucketCount(buckets)) {
            try LayerAllotment.solve(goldenTable(), buckets: buckets)
        }
        #expect(throws: AllotmentError.badBucketCount(buckets)) {
            try LayerAllotment.leastError(within: 200, goldenTable(), buckets: buckets)
        }
        #expect(throws: AllotmentError.badBucketCount(buckets)) {
            try LayerAllotment.mostError(with: 200, goldenTable(), buckets: buckets)
        }
    }

    @Test func moreCellsThanMemoryAreRefused() throws {
        let table = try table(
            [[Double]](repeating: [1], count: 400), [[Int]](repeating: [1], count: 400), uniform: 0)
        #expect(throws: AllotmentError.tooManyCells(40_000_000)) {
            try LayerAllotment.solve(table, buckets: 100_000)
        }
    }
}
