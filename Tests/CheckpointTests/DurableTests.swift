import Checkpoint
import Glibc
import Testing

/// A folder of its own for one test, removed at the end.
final class ScratchFolder {
    let path: String

    init() {
        var template = Array("/tmp/atoll-test-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template))
    }

    deinit { system("rm -rf '\(path)'") }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    var names: [String] {
        var names: [String] = []
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

@Suite struct DurableTests {
    let folder = ScratchFolder()

    @Test func `a journal gives back every record in order`() throws {
        let path = folder.file("journal")
        let records = (0..<20).map { index in [UInt8](repeating: UInt8(index), count: index * 7) }
        do {
            var journal = try Journal(path: path) { _ in Issue.record("a new journal is empty") }
            try journal.append(Array(records[..<5]))
            for record in records[5...] { try journal.append([record]) }
        }
        var read: [[UInt8]] = []
        _ = try Journal(path: path) { read.append($0) }
        #expect(read == records)
    }

    @Test func `a journal cut at any byte keeps every whole record and goes on after them`() throws {
        let path = folder.file("journal")
        let records: [[UInt8]] = [[1, 2, 3], [], [4], Array(repeating: 5, count: 40)]
        var ends: [Int] = []
        do {
            var journal = try Journal(path: path) { _ in }
            for record in records {
                try journal.append([record])
                ends.append(journal.byteCount)
            }
        }
        let whole = try #require(try DurableFile.read(path, byteCountMax: 1 << 20))
        for cut in 0...whole.count {
            try DurableFile.write(Array(whole[..<cut]), to: path)
            var read: [[UInt8]] = []
            var journal = try Journal(path: path) { read.append($0) }
            let expected = Array(records.prefix(ends.count { $0 <= cut }))
            #expect(read == expected, "cut at \(cut)")
            try journal.append([[9, 9]])
            var again: [[UInt8]] = []
            _ = try Journal(path: path) { again.append($0) }
            #expect(again == expected + [[9, 9]], "cut at \(cut)")
        }
    }

    @Test func `a changed byte ends the journal before its record`() throws {
        let path = folder.file("journal")
        do {
            var journal = try Journal(path: path) { _ in }
            try journal.append([[1, 2, 3], [4, 5, 6]])
        }
        let whole = try #require(try DurableFile.read(path, byteCountMax: 1 << 20))
        for index in Journal.magic.count..<whole.count {
            var changed = whole
            changed[index] ^= 0x40
            try DurableFile.write(changed, to: path)
            var read: [[UInt8]] = []
            _ = try Journal(path: path) { read.append($0) }
            #expect(read == (index < Journal.magic.count + 23 ? [] : [[1, 2, 3]]), "byte \(index)")
        }
    }

    @Test func `a foreign file is not taken for a journal`() throws {
        let path = folder.file("journal")
        try DurableFile.write(Array("something else entirely".utf8), to: path)
        #expect(throws: FileError.self) { _ = try Journal(path: path) { _ in } }
        #expect(try DurableFile.read(path, byteCountMax: 100) == Array("something else entirely".utf8))
    }

    @Test func `sections come back by name and any damage is seen`() throws {
        let path = folder.file("state")
        let sections: [(name: String, bytes: [UInt8])] = [("parameters", [1, 2, 3, 4]), ("", []), ("cursor", [9])]
        try SectionFile.write(sections, to: path)
        let read = try #require(try SectionFile.read(path, byteCountMax: 1 << 20))
        #expect(read.map(\.name) == sections.map(\.name))
        #expect(read.map(\.bytes) == sections.map(\.bytes))
        let whole = try #require(try DurableFile.read(path, byteCountMax: 1 << 20))
        for index in whole.indices {
            var changed = whole
            changed[index] ^= 1
            try DurableFile.write(changed, to: path)
            #expect(throws: FileError.self) { try SectionFile.read(path, byteCountMax: 1 << 20) }
            try DurableFile.write(Array(whole[..<index]), to: path)
            #expect(throws: FileError.self) { try SectionFile.read(path, byteCountMax: 1 << 20) }
        }
        #expect(try SectionFile.read(folder.file("none"), byteCountMax: 1) == nil)
    }

    @Test func `a write that fails leaves the old file and no temporary one`() throws {
        let path = folder.file("value")
        try DurableFile.write([1], to: path)
        #expect(throws: FileError.self) { try DurableFile.write([2], to: folder.file("missing/value")) }
        #expect(throws: FileError.self) { try DurableFile.write([2], to: folder.path) }
        #expect(try DurableFile.read(path, byteCountMax: 1) == [1])
        #expect(throws: FileError.self) { try DurableFile.read(path, byteCountMax: 0) }
        #expect(folder.names == ["value"])
    }
}
