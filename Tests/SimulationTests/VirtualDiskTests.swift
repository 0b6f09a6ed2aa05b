import Compression
import OuterSync
import Simulation
import Swarm
import Testing

@Suite struct VirtualDiskTests {
    private func record(_ number: UInt8) -> DurableRecord { .slot(FragmentIndex(0), RoundIndex(1), [number]) }

    @Test func `A record is durable when the sync that covers it ends, not before`() {
        let disk = VirtualDisk()
        #expect(disk.append(record(1), token: Token(1)))
        #expect(!disk.append(record(2), token: Token(2)))
        #expect(disk.journal.isEmpty)
        let first = disk.syncEnded()
        #expect(first.entries.map(\.token) == [Token(1)])
        #expect(first.areDurable && first.syncAgain)
        #expect(disk.journal == [record(1)])
        let second = disk.syncEnded()
        #expect(second.entries.map(\.token) == [Token(2)])
        #expect(!second.syncAgain)
        #expect(disk.journal == [record(1), record(2)])
    }

    @Test func `A crash leaves a prefix of what was not synced, and all lengths happen`() {
        var lengths: Set<Int> = []
        for seed in 0..<60 {
            var generator = SeededGenerator(seed: UInt64(seed))
            let disk = VirtualDisk()
            _ = disk.append(record(0), token: Token(0))
            _ = disk.syncEnded()
            for number in 1...3 { _ = disk.append(record(UInt8(number)), token: Token(UInt64(number))) }
            disk.crash(using: &generator)
            #expect(disk.journal == (0..<disk.journal.count).map { record(UInt8($0)) })
            lengths.insert(disk.journal.count)
            #expect(disk.append(record(9), token: Token(9)), "a crash ends the running sync")
        }
        #expect(lengths == [1, 2, 3, 4])
    }

    @Test func `A full disk loses records, refuses blobs and heads and keeps what it has`() throws {
        let disk = VirtualDisk()
        let kept = try disk.write([1, 2, 3])
        #expect(kept == Digest(hashing: [1, 2, 3]))
        disk.isFull = true
        _ = disk.append(record(1), token: Token(1))
        #expect(!disk.syncEnded().areDurable)
        #expect(disk.journal.isEmpty)
        #expect(throws: StorageFailure.self) { try disk.write([4]) }
        #expect(disk.read(kept) == [1, 2, 3])
        disk.drop(kept)
        #expect(disk.read(kept) == nil)
    }
}
