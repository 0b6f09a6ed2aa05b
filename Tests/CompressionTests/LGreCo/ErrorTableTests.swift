import Compression
import Testing

@Suite struct ErrorTableTests {
    private static func candidate(
        _ family: UInt8, _ level: UInt16, _ byteCount: Int = 1, _ errorNorm: Double = 1
    ) -> LayerCandidate {
        LayerCandidate(setting: Codec(family: family, level: level)!, byteCount: byteCount, errorNorm: errorNorm)
    }

    private static let dense = BudgetGroup(
        uniform: .e3m0, otherFamilies: [quantizer, 4])
    private static let sparseGroup = BudgetGroup(uniform: Codec.topK(kept: 64))

    @Test func whatIsWrongWithACandidateIsSaid() {
        func refusal(_ candidates: [LayerCandidate]) -> AllotmentError? {
            do throws(AllotmentError) {
                _ = try ErrorTable(group: Self.dense, layers: [[Self.candidate(1, 0)], candidates])
                return nil
            } catch { return error }
        }
        let uniform = Self.candidate(1, 0)
        let setting = Codec.uniform(bits: 2)
        #expect(refusal([uniform]) == nil)
        #expect(refusal([]) == .uniformMissing(layerIndex: 1))
        #expect(refusal([Self.candidate(3, 2)]) == .uniformMissing(layerIndex: 1))
        #expect(refusal([uniform, Self.candidate(3, 2, -1)]) == .badByteCount(layerIndex: 1, setting))
        #expect(
            refusal([uniform, Self.candidate(3, 2, ErrorTable.byteCountMax + 1)])
                == .badByteCount(layerIndex: 1, setting))
        for error in [-1e-300, -.infinity] {
            #expect(refusal([uniform, Self.candidate(3, 2, 1, error)]) == .negativeError(layerIndex: 1, setting))
        }
        #expect(
            refusal([uniform, Self.candidate(3, 2), Self.candidate(3, 2)])
                == .repeatedSetting(layerIndex: 1, setting))
        for error in [Double.nan, .infinity] {
            #expect(refusal([Self.candidate(1, 0, 1, error)]) == .uniformNotFinite(layerIndex: 1))
        }
        #expect(
            refusal([LayerCandidate](repeating: uniform, count: 257)) == .tooManyCandidates(layerIndex: 1))
        #expect(throws: AllotmentError.tooManyLayers(4097)) {
            try ErrorTable(group: Self.dense, layers: [[LayerCandidate]](repeating: [uniform], count: 4097))
        }
        // A negative zero is no error.
        #expect(refusal([Self.candidate(1, 0, 1, -0.0)]) == nil)
    }

    @Test func sparseCandidatesDoNotFitIntoADenseTable() {
        let setting = Codec.topK(kept: 64)
        #expect(throws: AllotmentError.foreignFamily(layerIndex: 0, setting)) {
            try ErrorTable(group: Self.dense, layers: [[Self.candidate(1, 0), Self.candidate(sparse, 64)]])
        }
    }

    @Test func candidatesAreSortedIntoTheirGroupsAndEachHasItsOwnBudget() throws {
        // Sparse errors are nine tenths of the norm and would never fit into the budget of four bits.
        let layers = [
            [
                Self.candidate(1, 0, 528, 0.2), Self.candidate(sparse, 64, 28, 0.94), Self.candidate(3, 3, 416, 0.19),
                Self.candidate(sparse, 32, 14, 0.97),
            ],
            [
                Self.candidate(sparse, 64, 28, 0.5), Self.candidate(sparse, 32, 14, 0.52),
                Self.candidate(1, 0, 528, 0.2),
                Self.candidate(sparse, 128, 40, 0.4),
            ],
        ]
        let tables = try ErrorTable.grouped(layers, into: [Self.dense, Self.sparseGroup])
        #expect(tables.count == 2)
        #expect(tables[0].curves.map(\.candidates.count) == [2, 1])
        #expect(tables[1].curves.map(\.candidates.count) == [2, 3])
        #expect(tables[1].curves.map(\.uniformIndex) == [0, 0])
        for (table, group) in zip(tables, [Self.dense, Self.sparseGroup]) {
            #expect(table.group == group)
            let found = try LayerAllotment.solve(table)
            #expect(found.settings.allSatisfy(group.holds))
            #expect(found.origin == .programme)
        }
        #expect(try LayerAllotment.solve(tables[0]).byteCount == 416 + 528)
    }

    @Test func familiesBelongToExactlyOneGroup() {
        let other = BudgetGroup(uniform: .statistical(bits: 2))
        #expect(throws: AllotmentError.familyInTwoGroups(4)) { try ErrorTable.grouped([], into: [Self.dense, other]) }
        #expect(throws: AllotmentError.familyWithoutGroup(sparse)) {
            try ErrorTable.grouped([[Self.candidate(1, 0), Self.candidate(sparse, 64)]], into: [Self.dense])
        }
        #expect(Self.dense.families == [1, 3, 4])
    }
}

@Suite struct ErrorStatisticsTests {
    private static let settings = [
        [Codec.uniform(bits: 4), Codec.uniform(bits: 2)],
        [Codec.uniform(bits: 4)],
    ]

    private static func cycle(_ numbers: [[(Int, Double)]]) -> [[ErrorStatistics.Measurement]] {
        numbers.map { $0.map { .init(byteCount: $0.0, errorNorm: $0.1) } }
    }

    @Test func theTableHoldsTheMeanOfTheCycles() throws {
        var statistics = try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 4)), settings: Self.settings)
        try statistics.add(Self.cycle([[(40, 1), (20, 4)], [(7, 0.5)]]))
        #expect(throws: AllotmentError.tooFewCycles(got: 1, needed: 10)) { try statistics.table() }
        try statistics.add(Self.cycle([[(41, 2), (20, 8)], [(7, 0.25)]]))
        let table = try statistics.table(cyclesMin: 2)
        // Bytes are rounded up.
        #expect(table.curves[0].candidates.map(\.byteCount) == [41, 20])
        #expect(table.curves[0].errors == [1.5, 6])
        #expect(table.curves[1].errors == [0.375])
        #expect(table.curves.map(\.uniformIndex) == [0, 0])
    }

    @Test func squaredNormsAreAveragedAsSquares() throws {
        var statistics = try ErrorStatistics(
            group: BudgetGroup(uniform: .uniform(bits: 4)), metric: .squaredNorm, settings: [[Self.settings[0][0]]])
        try statistics.add(Self.cycle([[(1, 3)]]))
        try statistics.add(Self.cycle([[(1, 5)]]))
        let error = try statistics.table(cyclesMin: 1).curves[0].errors[0]
        #expect((error - 17).magnitude < 1e-12)
    }

    @Test func tenCyclesAreEnoughAndFiftyAreAll() throws {
        var statistics = try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 4)), settings: Self.settings)
        let cycle = Self.cycle([[(40, 1), (20, 4)], [(7, 0.5)]])
        for _ in 0..<10 { try statistics.add(cycle) }
        #expect(try statistics.table().curves[0].errors == [1, 4])
        for _ in 10..<50 { try statistics.add(cycle) }
        #expect(throws: AllotmentError.tooManyCycles(50)) { try statistics.add(cycle) }
        #expect(statistics.cycleCount == 50)
        #expect(throws: AllotmentError.tooFewCycles(got: 0, needed: 1)) {
            try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 4)), settings: Self.settings).table(
                cyclesMin: .min)
        }
    }

    @Test func aCycleIsTakenWholeOrNotAtAll() throws {
        var statistics = try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 4)), settings: Self.settings)
        let before = statistics
        for bad in [[[(40, 1), (20, 4)]], [[(40, 1)], [(7, 0.5)]], [[(40, 1), (20, 4)], [(7, 1), (7, 1)]]] {
            #expect(throws: AllotmentError.wrongShape) { try statistics.add(Self.cycle(bad)) }
        }
        #expect(throws: AllotmentError.negativeError(layerIndex: 1, Self.settings[1][0])) {
            try statistics.add(Self.cycle([[(40, 1), (20, 4)], [(7, -1)]]))
        }
        #expect(throws: AllotmentError.badByteCount(layerIndex: 1, Self.settings[1][0])) {
            try statistics.add(Self.cycle([[(40, 1), (20, 4)], [(-7, 1)]]))
        }
        #expect(statistics == before)
    }

    @Test func oneErrorThatIsNoNumberDropsItsCandidateForGood() throws {
        var statistics = try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 4)), settings: Self.settings)
        try statistics.add(Self.cycle([[(40, 1), (20, .nan)], [(7, 0.5)]]))
        for _ in 1..<10 { try statistics.add(Self.cycle([[(40, 1), (20, 0.5)], [(7, 0.5)]])) }
        let table = try statistics.table()
        #expect(!table.curves[0].isUsable(1))
        #expect(try LayerAllotment.solve(table).choice == [0, 0])
        try statistics.add(Self.cycle([[(40, .infinity), (20, 0.5)], [(7, 0.5)]]))
        #expect(throws: AllotmentError.uniformNotFinite(layerIndex: 0)) { try statistics.table() }
    }

    @Test func settingsAreCheckedAtTheStart() {
        #expect(throws: AllotmentError.uniformMissing(layerIndex: 1)) {
            try ErrorStatistics(group: BudgetGroup(uniform: .uniform(bits: 2)), settings: Self.settings)
        }
    }
}
