import OuterSync
import Testing

@Suite struct FragmentLayoutTests {
    private static func blocks(_ count: Int) -> [TensorDescription] {
        [TensorDescription(name: "embedding", shape: [4, 8], block: nil)]
            + (0..<count).map { TensorDescription(name: "block.\($0)", shape: [8, 8], block: $0) }
            + [TensorDescription(name: "norm", shape: [8], block: nil)]
    }

    @Test(arguments: [(1, 2), (4, 5), (5, 6), (6, 3), (7, 4), (9, 4), (12, 5), (24, 9)])
    func blocksGroupInStridedThreesFromSixOn(blockCount: Int, fragmentCount: Int) throws {
        let layout = try FragmentLayout(tensors: Self.blocks(blockCount))
        #expect(layout.fragments.count == fragmentCount)
        #expect(layout.parameterCount == 40 + 64 * blockCount)
        let stride = fragmentCount - 1
        for fragment in layout.fragments.dropLast() {
            let expected = Swift.stride(from: fragment.index.value, to: blockCount, by: stride).map { "block.\($0)" }
            #expect(fragment.tensors.map(\.name) == expected && expected.count <= 3)
        }
        #expect(layout.fragments.last?.tensors.map(\.name) == ["embedding", "norm"])
    }

    @Test func theWholeModelCanBeOneFragment() throws {
        let layout = try FragmentLayout(tensors: Self.blocks(7), rule: .whole)
        #expect(layout.fragments.map(\.parameterCount) == [layout.parameterCount])
    }

    @Test(arguments: [
        (1, [1]), (256, [256]), (65_536, [65_536]), (98_303, [98_303]), (98_304, [65_536, 32_768]),
        (131_072, [65_536, 65_536]), (163_839, [65_536, 98_303]), (200_000, [65_536, 65_536, 68_928]),
    ])
    func tilesAreWholeCodecBlocksOfOneTensor(count: Int, tiles: [Int]) throws {
        let layout = try FragmentLayout(tensors: [
            TensorDescription(name: "first", shape: [3], block: nil),
            TensorDescription(name: "second", shape: [count], block: nil),
        ])
        let fragment = layout.fragments[0]
        #expect(fragment.tiles.map(\.count) == [3] + tiles)
        #expect(fragment.tiles.dropFirst().allSatisfy { ($0.offset - 3) % 256 == 0 })
        #expect(fragment.tiles.last?.range.upperBound == fragment.parameterCount)
    }

    @Test func badTensorsAreRefused() {
        func layout(_ tensors: [TensorDescription]) throws -> FragmentLayout { try FragmentLayout(tensors: tensors) }
        let good = TensorDescription(name: "a", shape: [4], block: nil)
        #expect(throws: LayoutError.empty) { try layout([]) }
        for shape in [[0], [-1], [4, 0], [Int.max, 2]] {
            #expect(throws: LayoutError.badShape(tensor: "b")) {
                try layout([good, TensorDescription(name: "b", shape: shape, block: nil)])
            }
        }
        for (block, missing) in [(1, 0), (-1, 0)] {
            #expect(throws: LayoutError.missingBlock(missing)) {
                try layout([good, TensorDescription(name: "b", shape: [4], block: block)])
            }
        }
        #expect(throws: LayoutError.overlap(tensor: "b")) {
            try layout([good, TensorDescription(name: "b", shape: [4], block: nil, modelOffset: 3)])
        }
        #expect(throws: LayoutError.badShape(tensor: "b")) {
            try layout([good, TensorDescription(name: "b", shape: [4], block: nil, modelOffset: Int.max - 1)])
        }
    }

    @Test func fragmentsReadAndWriteTheirOwnPlacesOfAPaddedModel() throws {
        let layout = try FragmentLayout(tensors: [
            TensorDescription(name: "embedding", shape: [5], block: nil, modelOffset: 0),
            TensorDescription(name: "block.0", shape: [3], block: 0, modelOffset: 16),
            TensorDescription(name: "norm", shape: [2], block: nil, modelOffset: 32),
        ])
        var model = (0..<48).map(Float.init)
        let shared = layout.fragments[1]
        #expect(model.withUnsafeBufferPointer { shared.gather(from: $0) } == [0, 1, 2, 3, 4, 32, 33])
        let theta: [Float] = [10, 20, 30, 40, 50, 60, 70]
        model.withUnsafeMutableBufferPointer { shared.blend([TileIndex(1)], of: theta, into: $0, alpha: 0.25) }
        var expected = (0..<48).map(Float.init)
        expected[32] = 0.25 * 32 + 0.75 * 60
        expected[33] = 0.25 * 33 + 0.75 * 70
        #expect(model == expected)
        model.withUnsafeMutableBufferPointer { shared.overwrite($0, with: theta) }
        expected.replaceSubrange(0..<5, with: theta[..<5])
        expected.replaceSubrange(32..<34, with: theta[5...])
        #expect(model == expected)
    }

    @Test func onlyAscendingTilesOfTheFragmentAreFound() throws {
        let fragment = try smallLayout().fragments[0]
        #expect(fragment.tiles(at: [TileIndex(0), TileIndex(1)])?.map(\.count) == [100, 600])
        for bad in [[1, 0], [0, 0], [2], [-1]] { #expect(fragment.tiles(at: bad.map(TileIndex.init)) == nil) }
    }
}

@Suite struct SyncScheduleTests {
    @Test(arguments: [(100, 5, [20, 40, 60, 80, 100]), (30, 4, [7, 15, 22, 30]), (2, 5, [1, 1, 1, 1, 2])])
    func firstRoundsAreSpreadOverOneInterval(steps: Int, fragments: Int, expected: [UInt64]) {
        let schedule = SyncSchedule(innerStepsPerRound: UInt64(steps), fragmentCount: fragments)
        #expect((0..<fragments).map { schedule.firstDue(FragmentIndex($0)) } == expected)
        for fragment in (0..<fragments).map(FragmentIndex.init) {
            #expect(schedule.due(fragment, nextRound: RoundIndex(1), closing: false) == schedule.firstDue(fragment))
            #expect(schedule.due(fragment, nextRound: RoundIndex(2), closing: false) == UInt64(steps))
            #expect(schedule.due(fragment, nextRound: RoundIndex(2), closing: true) == 0)
        }
    }
}
