import Checkpoint
import Glibc
import Testing

@Suite struct JournalTests {
    let scratch = ScratchFolder()
    let groups: [[[UInt8]]] = [[[1, 2, 3]], [[], [4]], [Array(repeating: 5, count: 100)]]

    /// A journal with the three groups; gives the file's bytes and its length after each group.
    private func sample() throws -> (bytes: [UInt8], lengths: [Int]) {
        let opened = try Journal.open(scratch["j"])
        var lengths = [opened.journal.byteCount]
        for group in groups {
            try opened.journal.append(group)
            lengths.append(opened.journal.byteCount)
        }
        return (try DurableFile.read(scratch["j"], byteCountMax: 1 << 20), lengths)
    }

    @Test func keepsRecordsInOrderAcrossOpenings() throws {
        _ = try sample()
        let opened = try Journal.open(scratch["j"])
        #expect(opened.records == groups.flatMap { $0 })
        #expect(opened.tornBytes == 0)
        try opened.journal.append([[6]])
        #expect(try Journal.open(scratch["j"]).records == groups.flatMap { $0 } + [[6]])
    }

    @Test func aTruncationAtAnyByteKeepsEveryWholeGroup() throws {
        let (bytes, lengths) = try sample()
        for count in lengths[0]...bytes.count {
            try DurableFile.write(Array(bytes.prefix(count)), to: scratch["t"])
            let whole = lengths.lastIndex { $0 <= count } ?? 0
            let opened = try Journal.open(scratch["t"])
            #expect(opened.records == groups.prefix(whole).flatMap { $0 })
            #expect(opened.tornBytes == count - lengths[whole])
            try opened.journal.append([[7]])
            #expect(try Journal.open(scratch["t"]).records == groups.prefix(whole).flatMap { $0 } + [[7]])
        }
        for count in 0..<lengths[0] {
            try DurableFile.write(Array(bytes.prefix(count)), to: scratch["t"])
            #expect(throws: CheckpointError.self) { try Journal.open(scratch["t"]) }
        }
    }

    @Test func aChangedByteInTheMiddleIsRefusedAndAtTheEndIsATornTail() throws {
        let (bytes, lengths) = try sample()
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x10
            try DurableFile.write(changed, to: scratch["t"])
            if index >= lengths[2] {
                #expect(try Journal.open(scratch["t"]).records == groups.prefix(2).flatMap { $0 })
            } else {
                #expect(throws: CheckpointError.self) { try Journal.open(scratch["t"]) }
            }
        }
    }

    @Test func aRecordThatLooksLikeAFrameIsNotOne() throws {
        let (bytes, lengths) = try sample()
        // The last frame as a record of a torn append: it must not pass for a durable one.
        let journal = try Journal.open(scratch["j"]).journal
        try journal.append([Array(bytes[lengths[2]...])])
        let whole = try DurableFile.read(scratch["j"], byteCountMax: 1 << 20)
        try DurableFile.write(Array(whole.dropLast()), to: scratch["t"])
        #expect(try Journal.open(scratch["t"]).records == groups.flatMap { $0 })
    }

    @Test func aKillAtAnyOperationLosesNothingThatWasAppended() throws {
        let healthy = FaultyFiles(failing: nil)
        _ = try append(groups, layer: healthy, to: scratch["h"])
        for index in 0..<healthy.operationCount {
            unlink(scratch["j"])
            let done = (try? append(groups, layer: FaultyFiles(failing: index), to: scratch["j"])) ?? 0
            let records = try Journal.open(scratch["j"]).records
            #expect([done, done + 1].contains { records == groups.prefix($0).flatMap { $0 } })
        }
    }

    /// Appends until something fails; gives the number of groups that were reported as done.
    private func append(_ groups: [[[UInt8]]], layer: any FileLayer, to path: String) throws -> Int {
        let journal = try Journal.open(path, layer: layer).journal
        var count = 0
        for group in groups {
            do { try journal.append(group) } catch { return count }
            count += 1
        }
        return count
    }

    @Test func aFullDiskLeavesTheJournalUsable() throws {
        // Operations of a new journal before the first append: list, create, write, sync, rename, open folder, sync, open.
        let layer = FaultyFiles(failing: 8, with: .error(ENOSPC))
        let journal = try Journal.open(scratch["j"], layer: layer).journal
        #expect(throws: FileError.self) { try journal.append([[1, 2, 3]]) }
        try journal.append([[4]])
        #expect(try Journal.open(scratch["j"]).records == [[4]])
    }

    @Test func afterAFailedSyncNothingMoreIsAppended() throws {
        let layer = FaultyFiles(failing: 9, with: .error(EIO))
        let journal = try Journal.open(scratch["j"], layer: layer).journal
        #expect(throws: FileError.self) { try journal.append([[1]]) }
        #expect(throws: FileError.self) { try journal.append([[2]]) }
    }

    @Test func compactionReplacesTheRecords() throws {
        _ = try sample()
        let journal = try Journal.create(scratch["j"], records: [[1], [2]])
        try journal.append([[3]])
        #expect(try Journal.open(scratch["j"]).records == [[1], [2], [3]])
    }

    @Test func otherFilesAreRefused() throws {
        try DurableFile.write(Array("not a journal, but long enough to be one".utf8), to: scratch["j"])
        #expect(throws: CheckpointError.self) { try Journal.open(scratch["j"]) }
    }
}
