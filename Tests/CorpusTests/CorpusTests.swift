import Corpus
import Glibc
import Testing
import Tokenizing

@Suite struct CorpusTests {
    let folder = TextFolder()

    private func corpus(
        _ patterns: String..., context: Int = 16, byteCountMax: Int = 1 << 20, excluding: Set<[UInt8]> = []
    ) throws(CorpusError) -> Corpus {
        try Corpus(
            [DomainSource(name: "a", patterns: patterns.map { folder[$0] })], tokenizer: .bytes, contextLength: context,
            byteCountMax: byteCountMax, excluding: excluding)
    }

    private func files(_ patterns: String...) throws -> Int {
        let summary = try corpus(patterns[0]).domains[0]
        return summary.trainingDocumentCount + summary.heldOutDocumentCount
    }

    @Test func globsMatchAsUsersExpect() throws {
        folder.fill("x", count: 10)
        folder.fill("x/y/z", count: 20)
        folder.fill("x/.hidden", count: 5)
        folder.write("x/notes.md", String(repeating: "notes ", count: 50))
        #expect(try files("x/*.txt") == 10)
        #expect(try files("x/**/*.txt") == 30)
        #expect(try files("**/*.txt") == 30)
        #expect(try files("x/y/**") == 20)
        #expect(try files("x") == 31)
        #expect(try files("x/") == 31)
        #expect(try files("x/.hidden/*") == 5)
        #expect(try files("x/[0-4].txt") == 5)
        #expect(try files("x/*/z/1?.txt") == 10)
    }

    @Test func symbolicLinkLoopsEnd() throws {
        folder.fill("x", count: 10)
        symlink(folder["x"], folder["x/loop"])
        symlink(folder["x/1.txt"], folder["x/link.txt"])
        symlink("nowhere", folder["x/dangling"])
        let summary = try corpus("x/**").domains[0]
        #expect(summary.trainingDocumentCount + summary.heldOutDocumentCount == 10)
        #expect(summary.redundantFileCount == 1)
    }

    @Test func equalAndEmptyFilesCountOnce() throws {
        folder.fill("x", count: 8)
        folder.write("x/copy.txt", String(String(repeating: "x 3 ", count: 200).prefix(200)))
        folder.write("x/empty.txt", "")
        let summary = try corpus("x").domains[0]
        #expect(summary.trainingDocumentCount + summary.heldOutDocumentCount == 8)
        #expect(summary.redundantFileCount == 2)
    }

    @Test func theSplitFollowsContentAndNotPaths() throws {
        folder.fill("x", count: 200)
        for index in 0..<200 {
            rename(folder["x/\(index).txt"], folder["x/\(index)"])
        }
        let one = try corpus("x")
        for index in 0..<200 { rename(folder["x/\(index)"], folder["x/\(999 - index).moved"]) }
        let two = try corpus("x")
        #expect(one.domains == two.domains)
        #expect(one.domains[0].heldOutDocumentCount > 0)
        let windows = try [one, two].map { try $0.heldOutWindows(countMax: 1000)[0].windows }
        #expect(windows[0] == windows[1])
    }

    @Test func heldOutTextIsNeverTrainedOn() throws {
        folder.fill("x", count: 100)
        let corpus = try corpus("x", context: 32)
        var cursor = CorpusCursor(seed: 1)
        let training = try corpus.nextWindows(count: 3 * corpus.domains[0].windowCount, cursor: &cursor)
        let heldOut = try corpus.heldOutWindows(countMax: .max)[0].windows
        #expect(heldOut.count > 0)
        let trained = Set((0..<training.count).map { Array(training[$0].prefix(8)) })
        #expect(!trained.isEmpty)
        // Files are told apart by "x N " within eight bytes once a window starts at a file; look for whole windows.
        let windows = Set((0..<training.count).map { Array(training[$0]) })
        #expect((0..<heldOut.count).allSatisfy { !windows.contains(Array(heldOut[$0])) })
        #expect(corpus.domains[0].trainingTokenCount + corpus.domains[0].heldOutTokenCount == 100 * 200)
    }

    @Test func aSingleFileHoldsItsEndOut() throws {
        folder.write("book.txt", String((0..<1000).map { "\($0) " }.joined()))
        let corpus = try corpus("book.txt")
        #expect(corpus.domains[0].heldOutDocumentCount == 0)
        let total = corpus.domains[0].trainingTokenCount + corpus.domains[0].heldOutTokenCount
        #expect(corpus.domains[0].heldOutTokenCount == total / 10)
    }

    @Test func everyEpochHoldsEveryWindowOnce() throws {
        // 4000 different byte pairs, so that windows can be told apart.
        folder.write("book.txt", String((1000..<3000).map { "\($0)" }.joined()))
        let corpus = try corpus("book.txt")
        let count = corpus.domains[0].windowCount
        var cursor = CorpusCursor(seed: 5)
        var orders: [[[Int32]]] = []
        for _ in 0..<3 {
            let windows = try corpus.nextWindows(count: count, cursor: &cursor)
            let order = (0..<count).map { Array(windows[$0]) }
            #expect(Set(order).count == count)
            orders.append(order)
        }
        #expect(orders[0] != orders[1] && orders[1] != orders[2])
    }

    @Test func differentSeedsGiveDifferentSequencesAndEqualOnesTheSame() throws {
        folder.fill("x", count: 100)
        let corpus = try corpus("x")
        func draw(_ cursor: CorpusCursor) throws -> TokenWindows {
            var cursor = cursor
            return try corpus.nextWindows(count: 50, cursor: &cursor)
        }
        let one = try draw(CorpusCursor(seedBytes: [1, 2]))
        let two = try draw(CorpusCursor(seedBytes: [1, 3]))
        #expect(try one == draw(CorpusCursor(seedBytes: [1, 2])))
        let same = (0..<50).count { one[$0] == two[$0] }
        #expect(same < 3)
    }

    @Test func aStoredCursorContinuesTheSequence() throws {
        folder.fill("x", count: 30)
        folder.fill("y", count: 30)
        let corpus = try Corpus(
            ["x", "y"].map { DomainSource(name: $0, patterns: [folder[$0]]) }, tokenizer: .bytes, contextLength: 16)
        var whole = CorpusCursor(seed: 9)
        let all = try corpus.nextWindows(count: 100, cursor: &whole)
        var cursor = CorpusCursor(seed: 9)
        var tokens = try corpus.nextWindows(count: 37, cursor: &cursor).tokens
        var restored = try #require(CorpusCursor(decoding: cursor.encoded))
        #expect(restored == cursor)
        tokens += try corpus.nextWindows(count: 63, cursor: &restored).tokens
        #expect(tokens == all.tokens)
        #expect(restored.drawnCount == 100)
    }

    @Test func cursorsDecodeTotally() {
        folder.fill("x", count: 30)
        var cursor = CorpusCursor(seed: 3)
        _ = try? corpus("x").nextWindows(count: 3, cursor: &cursor)
        let bytes = cursor.encoded
        for count in 0..<bytes.count { #expect(CorpusCursor(decoding: Array(bytes.prefix(count))) == nil) }
        #expect(CorpusCursor(decoding: bytes + [0]) == nil)
        for index in bytes.indices {
            for value in UInt8.min...UInt8.max {
                var changed = bytes
                changed[index] = value
                if let decoded = CorpusCursor(decoding: changed) { #expect(decoded.encoded == changed) }
            }
        }
    }

    @Test func weightsDecideHowOftenADomainIsDrawn() throws {
        folder.fill("x", count: 30)
        folder.fill("y", count: 30)
        folder.fill("z", count: 30)
        let corpus = try Corpus(
            [
                DomainSource(name: "x", patterns: [folder["x"]], weight: 3),
                DomainSource(name: "y", patterns: [folder["y"]], weight: 1),
                DomainSource(name: "z", patterns: [folder["z"]], weight: 0),
            ], tokenizer: .bytes, contextLength: 16)
        var cursor = CorpusCursor(seed: 2)
        let windows = try corpus.nextWindows(count: 1000, cursor: &cursor)
        let fromX = (0..<1000).count { windows[$0].contains(Int32(UInt8(ascii: "x"))) }
        let fromZ = (0..<1000).count { windows[$0].contains(Int32(UInt8(ascii: "z"))) }
        #expect((700...800).contains(fromX))
        #expect(fromZ == 0)
    }

    @Test func inputsAndTargetsAreShiftedByOne() throws {
        folder.fill("x", count: 30)
        var cursor = CorpusCursor(seed: 2)
        let windows = try corpus("x").nextWindows(count: 2, cursor: &cursor)
        #expect(windows.inputs.count == 32 && windows.targets.count == 32)
        #expect(windows.inputs[1..<16] == windows.targets[0..<15])
        #expect(windows.inputs[17..<32] == windows.targets[16..<31])
    }

    @Test func theSizeLimitIsKeptAndReported() throws {
        folder.fill("x", count: 50, length: 200)
        let summary = try corpus("x", byteCountMax: 2100).domains[0]
        #expect(summary.trainingTokenCount + summary.heldOutTokenCount == 2100)
        #expect(summary.filesBeyondLimitCount == 40)
    }

    @Test func errorsNameCauseAndCure() throws {
        folder.write("short.txt", "too short")
        folder.write("empty.txt", "")
        #expect(throws: CorpusError.noFileMatched(domain: "a", patterns: [folder["*.none"]])) { try corpus("*.none") }
        #expect(throws: CorpusError.tooSmall(domain: "a", byteCount: 9, byteCountNeeded: 34)) {
            try corpus("short.txt")
        }
        #expect(throws: CorpusError.tooSmall(domain: "a", byteCount: 0, byteCountNeeded: 34)) {
            try corpus("empty.txt")
        }
        #expect(throws: CorpusError.noDomains) { try Corpus([], tokenizer: .bytes, contextLength: 4) }
        let x = DomainSource(name: "x", patterns: ["/x"])
        #expect(throws: CorpusError.duplicateDomain("x")) {
            try Corpus([x, x], tokenizer: .bytes, contextLength: 4)
        }
        for weight in [-1, Double.nan, .infinity, 0] {
            #expect(throws: CorpusError.invalidWeight(domain: "x")) {
                try Corpus(
                    [DomainSource(name: "x", patterns: [], weight: weight)], tokenizer: .bytes, contextLength: 4)
            }
        }
    }

    @Test func unreadableFilesAreCounted() throws {
        folder.fill("x", count: 20)
        // A file whose reading fails even for root: /proc/self/mem cannot be read at 0.
        symlink("/proc/self/mem", folder["x/bad"])
        #expect(try corpus("x").domains[0].unreadableFileCount <= 1)
    }

    @Test func aCommonHeldOutFileIsExcludedFromTraining() throws {
        folder.fill("x", count: 20)
        let common = try HeldOutFile(path: folder["x/7.txt"], tokenizer: .bytes)
        #expect(common.digest.count == 32)
        #expect(common.tokens.count == 200)
        let summary = try corpus("x", excluding: [common.digest]).domains[0]
        #expect(summary.trainingTokenCount + summary.heldOutTokenCount == 19 * 200)
        #expect(summary.redundantFileCount == 1)
        #expect(common.windows(contextLength: 16).count == 12)
        #expect(common.windows(contextLength: 16, countMax: 5).count == 5)
        #expect(common.windows(contextLength: 200).count == 0)
        #expect(throws: CorpusError.self) { try HeldOutFile(path: folder["none"], tokenizer: .bytes) }
    }

    @Test func binaryFilesAreTaken() throws {
        folder.write("x/a", String(repeating: "\0\u{1}\u{7f}\n", count: 100))
        #expect(try corpus("x").domains[0].trainingTokenCount > 0)
    }
}
