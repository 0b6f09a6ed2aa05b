import Corpus
import Glibc
import JSONText
import Numerics
import Synchronization
import Testing
import Tokenizing

/// Prepared folders: written, trained on, refused.
@Suite struct PreparedTests {
    let folder = TextFolder()

    private func source(_ name: String, _ pattern: String, weight: Double = 1) -> DomainSource {
        DomainSource(name: name, patterns: [folder[pattern]], weight: weight)
    }

    private func open(_ sources: DomainSource..., context: Int = 16) throws(CorpusError) -> Corpus {
        try Corpus(sources, tokenizer: .bytes, contextLength: context)
    }

    /// Text files, a compressed one and JSON lines.
    private func fillMixed(_ name: String) {
        folder.fill(name, count: 40)
        folder.write("\(name)/big", (0..<60_000).flatMap { Array("\(name) line \($0 &* 7919)\n".utf8) })
        folder.write("\(name)/packed", Compressed.zstd((0..<9000).flatMap { Array("\(name) packed \($0)\n".utf8) }))
        folder.write(
            "\(name)/lines.jsonl",
            (0..<500).map { "{\"id\":\($0),\"text\":\"\(name) document \($0)\\nwith two lines\"}\n" }.joined())
    }

    @Test(arguments: [1, 16, 333]) func preparedTextGivesTheWindowsOfTheTextItself(context: Int) throws {
        fillMixed("x")
        fillMixed("y")
        try folder.prepare([source("x", "x"), source("y", "y")], into: "out")
        let text = try open(source("x", "x", weight: 3), source("y", "y"), context: context)
        let prepared = try open(source("x", "out", weight: 3), source("y", "out"), context: context)
        #expect(folder.names("out").count > 100)
        #expect(text.domains.map(\.trainingTokenCount) == prepared.domains.map(\.trainingTokenCount))
        #expect(text.domains.map(\.heldOutDocumentCount) == prepared.domains.map(\.heldOutDocumentCount))
        #expect(text.domains.map(\.windowCount) == prepared.domains.map(\.windowCount))
        var cursors = [CorpusCursor(seed: 4), CorpusCursor(seed: 4)]
        #expect(
            try text.nextWindows(count: 500, cursor: &cursors[0])
                == prepared.nextWindows(count: 500, cursor: &cursors[1]))
        #expect(cursors[0] == cursors[1])
        let heldOut = try [text, prepared].map { try $0.heldOutWindows(countMax: 100).map(\.windows) }
        #expect(heldOut[0] == heldOut[1] && heldOut[0][0].count > 0)
    }

    @Test func theFolderDependsOnTheTextAlone() throws {
        fillMixed("x")
        try folder.prepare([source("x", "x")], into: "one", threads: 1)
        rename(folder["x/big"], folder["x/0"])
        rename(folder["x/packed"], folder["x/zz"])
        try folder.prepare([source("x", "x")], into: "two", threads: 3)
        #expect(folder.names("one") == folder.names("two"))
        for name in folder.names("one") { #expect(try folder.read("one/\(name)") == folder.read("two/\(name)")) }
        let observer = CountingObserver()
        let count = try PreparedFolder(folder["one"]).verify(observer: observer)
        #expect(count > 1 << 20 && observer.tokenized.load(ordering: .relaxed) == count)
    }

    @Test func aSmallSetExtendsItsHeldOutPartAsTextDoes() throws {
        // Of six short files hardly one is held out by its hash, and none has a window of 300.
        folder.fill("x", count: 6, length: 250)
        try folder.prepare([source("x", "x")], into: "out")
        for context in [10, 240, 249, 260, 400] {
            let text = try open(source("x", "x"), context: context).domains[0]
            let prepared = try open(source("x", "out"), context: context).domains[0]
            #expect(text.heldOutTokenCount == prepared.heldOutTokenCount)
            #expect(text.heldOutDocumentCount == prepared.heldOutDocumentCount)
            #expect(text.heldOutTokenCount > context)
        }
    }

    @Test func aStoredCursorContinuesAndNewWeightsHold() throws {
        folder.fill("x", count: 60)
        folder.fill("y", count: 60)
        try folder.prepare([source("x", "x"), source("y", "y")], into: "out")
        let corpus = try open(source("x", "out", weight: 1), source("y", "out", weight: 4))
        var whole = CorpusCursor(seed: 9)
        let all = try corpus.nextWindows(count: 2000, cursor: &whole)
        var cursor = CorpusCursor(seed: 9)
        var tokens = try corpus.nextWindows(count: 777, cursor: &cursor).tokens
        var restored = try #require(CorpusCursor(decoding: cursor.encoded))
        tokens += try corpus.nextWindows(count: 1223, cursor: &restored).tokens
        #expect(tokens == all.tokens)
        // A fifth of 2000, give or take four standard deviations; and no window holds both.
        let fromX = (0..<2000).count { all[$0].contains(Int32(UInt8(ascii: "x"))) }
        let fromY = (0..<2000).count { all[$0].contains(Int32(UInt8(ascii: "y"))) }
        #expect((328...472).contains(fromX) && fromX + fromY == 2000)
    }

    @Test func everyEpochHoldsEveryWindowOfAllShardsOnce() throws {
        folder.write("book.txt", (1000..<9000).map { "\($0)" }.joined())
        try folder.prepare([source("x", "book.txt")], into: "out", shardByteCountMax: 100)
        let corpus = try open(source("x", "out"))
        let count = corpus.domains[0].windowCount
        var cursor = CorpusCursor(seed: 5)
        let windows = try corpus.nextWindows(count: count, cursor: &cursor)
        #expect(Set((0..<count).map { Array(windows[$0]) }).count == count && count > 1700)
    }

    @Test func domainsOfAFolderAreChosenByNameAndAloneTakeAnyName() throws {
        folder.fill("x", count: 30)
        folder.fill("y", count: 30)
        try folder.prepare([source("x", "x"), source("y", "y")], into: "both")
        try folder.prepare([source("x", "x")], into: "x-alone")
        try folder.prepare([source("y", "y")], into: "y-alone")
        #expect(try PreparedFolder(folder["both"]).domainNames == ["x", "y"])
        #expect(try open(source("other", "x-alone")).domains[0].name == "other")
        #expect(throws: CorpusError.noSuchDomain("z", path: folder["both"], names: ["x", "y"])) {
            try open(source("z", "both"))
        }
        // Several folders make one domain, in the order of their paths.
        let two = try Corpus(
            [DomainSource(name: "all", patterns: [folder["y-alone"], folder["x-alone"]])], tokenizer: .bytes,
            contextLength: 16
        ).domains[0]
        #expect(two.trainingTokenCount + two.heldOutTokenCount == 60 * 200)
        #expect(try open(source("all", "?-alone")).domains[0].trainingTokenCount == two.trainingTokenCount)
        #expect(throws: CorpusError.preparedAndText(domain: "a")) {
            try Corpus(
                [DomainSource(name: "a", patterns: [folder["x"], folder["x-alone"]])], tokenizer: .bytes,
                contextLength: 16)
        }
        #expect(throws: CorpusError.alreadyPrepared(path: folder["both"])) {
            try folder.prepare([source("a", "both")], into: "again")
        }
        // Text beside prepared folders is found without them.
        #expect(try open(source("a", "**")).domains[0].fileCount == 60)
        #expect(try open(source("a", "**/*")).domains[0].fileCount == 60)
    }

    @Test func textThatIsHeldOutForEverybodyIsFound() throws {
        folder.fill("x", count: 30)
        try folder.prepare([source("x", "x")], into: "out")
        var refused = 0
        for index in 0..<30 {
            let common = try HeldOutFile(path: folder["x/\(index).txt"], tokenizer: .bytes)
            let opened = Result {
                try Corpus([source("x", "out")], tokenizer: .bytes, contextLength: 16, excluding: [common.digest])
            }
            if case .failure(let error) = opened {
                #expect(error as? CorpusError == .holdsExcluded(path: folder["out"]))
                refused += 1
            }
        }
        #expect((20...30).contains(refused))
        folder.write("lines.jsonl", "{\"text\":\"a line that everybody has\"}\n{\"text\":\"and one that nobody has\"}")
        folder.write("common", "a line that everybody has")
        let common = try HeldOutFile(path: folder["common"], tokenizer: .bytes)
        let summary = try Corpus(
            [source("x", "lines.jsonl")], tokenizer: .bytes, contextLength: 4, excluding: [common.digest]
        ).domains[0]
        #expect(summary.excludedDocumentCount == 1 && summary.trainingTokenCount + summary.heldOutTokenCount == 23)
    }

    @Test func stoppingAndTooLittleTextAreErrors() throws {
        folder.fill("x", count: 10)
        #expect(throws: CorpusError.cancelled) {
            try Preparation([source("x", "x")], tokenizer: .bytes).write(
                to: FolderOutput(folder["stopped"]), observer: CountingObserver(limit: 0))
        }
        folder.write("empty", "")
        #expect(throws: CorpusError.tooSmall(domain: "x", byteCount: 0, byteCountNeeded: 2)) {
            try folder.prepare([source("x", "empty")], into: "none")
        }
        #expect(throws: CorpusError.noDomains) { try folder.prepare([], into: "nothing") }
    }

    @Test func progressCountsEveryByte() throws {
        fillMixed("x")
        let observer = CountingObserver()
        let summary = try Preparation([source("x", "x")], tokenizer: .bytes, threadCount: 2).write(
            to: FolderOutput(folder["out"]), observer: observer)[0]
        #expect(observer.tokenized.load(ordering: .relaxed) == summary.byteCount)
        #expect(observer.total.load(ordering: .relaxed) == summary.byteCount)
        #expect(observer.scanned.load(ordering: .relaxed) < summary.byteCount)
        #expect(summary.fileCount == 43)
        #expect(summary.trainingDocumentCount + summary.heldOutDocumentCount == 542)
    }

    @Test func damageIsFoundWhenItIsReadAtTheLatest() throws {
        folder.fill("x", count: 40)
        try folder.prepare([source("x", "x")], into: "out")
        let shard = "out/0-training-1.tokens"
        let bytes = try folder.read(shard)
        folder.write(shard, Array(bytes.dropLast(2)))
        #expect(
            throws: CorpusError.damaged(
                path: folder[shard], reason: "it has \(bytes.count - 2) bytes, its index says \(bytes.count)")
        ) { try open(source("x", "out")) }
        // Ids outside the vocabulary never reach a model.
        folder.write(shard, [UInt8](repeating: 0xff, count: bytes.count))
        let corpus = try open(source("x", "out"))
        var cursor = CorpusCursor(seed: 1)
        #expect(
            throws: CorpusError.damaged(
                path: folder[shard], reason: "it holds ids outside the vocabulary of 256")
        ) { try corpus.nextWindows(count: 1000, cursor: &cursor) }
        #expect(throws: CorpusError.self) { try PreparedFolder(folder["out"]).verify(observer: CountingObserver()) }
        unlink(folder[shard])
        #expect(throws: CorpusError.unreadable(path: folder[shard], reason: "No such file or directory")) {
            try corpus.nextWindows(count: 1000, cursor: &cursor)
        }
    }
}
