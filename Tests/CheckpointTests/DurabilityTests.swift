import Checkpoint
import Glibc
import Testing

private func read(_ path: String) throws -> [UInt8] { try DurableFile.read(path, byteCountMax: 1 << 20) }

@Suite struct DurableFileTests {
    let scratch = ScratchFolder()

    @Test func replacesAFileAndLeavesNothingElse() throws {
        try DurableFile.write([1], to: scratch["a"])
        try DurableFile.write([2, 3], to: scratch["a"], isPrivate: true)
        #expect(try read(scratch["a"]) == [2, 3])
        #expect(scratch.names == ["a"])
        var status = stat()
        #expect(stat(scratch["a"], &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func aKillAtAnyOperationLeavesTheOldOrTheNewFile() throws {
        let healthy = FaultyFiles(failing: nil)
        try DurableFile.write([1], to: scratch["a"])
        try DurableFile.write([9, 9, 9, 9], to: scratch["a"], layer: healthy)
        for index in 0..<healthy.operationCount {
            try DurableFile.write([1], to: scratch["a"])
            #expect(throws: FileError.self) {
                try DurableFile.write([2, 3, 4, 5], to: scratch["a"], layer: FaultyFiles(failing: index))
            }
            #expect([[1], [2, 3, 4, 5]].contains(try read(scratch["a"])))
        }
    }

    @Test func aFailureAtAnyOperationLeavesNothingBehind() throws {
        for number in [ENOSPC, EROFS, EIO] {
            for index in 0..<5 {
                try DurableFile.write([1], to: scratch["a"])
                #expect(throws: FileError.self) {
                    try DurableFile.write(
                        [2, 3, 4, 5], to: scratch["a"], layer: FaultyFiles(failing: index, with: .error(number)))
                }
                #expect(scratch.names == ["a"])
            }
        }
    }

    @Test func whatAKilledProcessLeftIsRemoved() throws {
        // No process has this id: it is above the kernel's largest.
        try DurableFile.write([7], to: scratch[".a.1.5.99999999.partial"])
        try DurableFile.write([7], to: scratch[".a.b.1.5.99999999.partial"])
        // Of an earlier process that had this one's id, as in a container.
        try DurableFile.write([7], to: scratch[".a.1.5.\(getpid()).partial"])
        try DurableFile.write([1], to: scratch["a"])
        #expect(scratch.names == [".a.b.1.5.99999999.partial", "a"])
    }

    @Test func twoWritersOfOneFileDoNotDisturbEachOther() throws {
        var first = try DurableWriter(path: scratch["a"])
        var second = try DurableWriter(path: scratch["a"])
        try first.append([1])
        try second.append([2, 2])
        try first.commit()
        #expect(try read(scratch["a"]) == [1])
        try second.commit()
        #expect(try read(scratch["a"]) == [2, 2])
        #expect(scratch.names == ["a"])
    }

    @Test func errorsNameThePathTheReasonAndTheCure() throws {
        do {
            try DurableFile.write([1], to: scratch["missing/a"])
            Issue.record("it was written")
        } catch {
            #expect(error.description.contains("no such file or folder (ENOENT)"))
            #expect(error.cure == "Check the path")
        }
        #expect(throws: FileError.self) { try DurableFile.read(scratch.path, byteCountMax: 10) }
        try DurableFile.write([1, 2, 3], to: scratch["a"])
        #expect(throws: FileError.self) { try DurableFile.read(scratch["a"], byteCountMax: 2) }
        #expect(throws: FileError.self) { try DurableFile.read("/dev/zero", byteCountMax: 10) }
    }
}

@Suite struct DurableFolderTests {
    let scratch = ScratchFolder()

    private func publish(_ path: String, layer: any FileLayer = SystemFiles()) throws(FileError) {
        let folder = try DurableFolder(path: path, layer: layer)
        try folder.write([1], as: "x")
        try folder.write([2], as: "y")
        try folder.commit()
    }

    @Test(arguments: ["out", "out/"]) func publishesAllFilesAtOnce(_ name: String) throws {
        try publish(scratch[name])
        #expect(scratch.names == ["out"])
        #expect(try SystemFiles().list(scratch["out"]) == ["x", "y"])
    }

    @Test func takesAnEmptyFolderAndRefusesAUsedOne() throws {
        try SystemFiles().createFolder(scratch["out"])
        try publish(scratch["out"])
        #expect(throws: FileError.self) { try publish(scratch["out"]) }
        #expect(scratch.names == ["out"])
        try DurableFile.write([1], to: scratch["file"])
        #expect(throws: FileError.self) { try publish(scratch["file"]) }
    }

    @Test func aFailureAtAnyOperationLeavesNothingBehind() throws {
        let healthy = FaultyFiles(failing: nil)
        try publish(scratch["other"], layer: healthy)
        for index in 0..<(healthy.operationCount - 2) {
            // Listing the output folder, and the clean-up before the start, may fail without harm.
            let layer = FaultyFiles(failing: index, with: .error(ENOSPC))
            do {
                try publish(scratch["out"], layer: layer)
                _ = try SystemFiles().list(scratch["out"])
                for name in ["x", "y"] { try SystemFiles().removeFile(scratch["out/\(name)"]) }
                try SystemFiles().removeFolder(scratch["out"])
            } catch {}
            #expect(scratch.names == ["other"], "operation \(index)")
        }
    }

    @Test func aKillAtAnyOperationPublishesNothingOrEverything() throws {
        let healthy = FaultyFiles(failing: nil)
        try publish(scratch["other"], layer: healthy)
        for index in 0..<healthy.operationCount {
            try? publish(scratch["out"], layer: FaultyFiles(failing: index))
            try scratch.killWriters()
            let names = try? SystemFiles().list(scratch["out"])
            #expect(names == nil || names == ["x", "y"])
            if names == nil {
                // The next run clears the partial folder away.
                try publish(scratch["out"])
            }
            #expect(scratch.names == ["other", "out"])
            for name in ["x", "y"] { try SystemFiles().removeFile(scratch["out/\(name)"]) }
            try SystemFiles().removeFolder(scratch["out"])
        }
    }
}

@Suite struct SnapshotTests {
    let scratch = ScratchFolder()
    let snapshot = Snapshot(sections: [
        .init(name: "live", bytes: [1, 2, 3]), .init(name: "empty", bytes: []), .init(name: "cursor", bytes: [9]),
    ])

    @Test func readsBackWhatWasWritten() throws {
        try snapshot.write(to: scratch["s"])
        #expect(try Snapshot(readingFrom: scratch["s"]) == snapshot)
        #expect(snapshot["cursor"] == [9])
        #expect(snapshot["other"] == nil)
        let nothing = Snapshot(sections: [])
        try nothing.write(to: scratch["s"])
        #expect(try Snapshot(readingFrom: scratch["s"]) == nothing)
    }

    @Test func refusesEveryTruncationAndEveryChangedByte() throws {
        try snapshot.write(to: scratch["s"])
        let bytes = try read(scratch["s"])
        for count in 0..<bytes.count {
            try DurableFile.write(Array(bytes.prefix(count)), to: scratch["t"])
            #expect(throws: CheckpointError.self) { try Snapshot(readingFrom: scratch["t"]) }
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x41
            try DurableFile.write(changed, to: scratch["t"])
            #expect(throws: CheckpointError.self) { try Snapshot(readingFrom: scratch["t"]) }
        }
    }

    @Test func aKillAtAnyOperationLeavesTheOldOrTheNewSnapshot() throws {
        let old = Snapshot(sections: [.init(name: "live", bytes: [0])])
        let healthy = FaultyFiles(failing: nil)
        try snapshot.write(to: scratch["s"], layer: healthy)
        for index in 0..<healthy.operationCount {
            try old.write(to: scratch["s"])
            #expect(throws: FileError.self) { try snapshot.write(to: scratch["s"], layer: FaultyFiles(failing: index)) }
            #expect([old, snapshot].contains(try Snapshot(readingFrom: scratch["s"])))
        }
    }
}
