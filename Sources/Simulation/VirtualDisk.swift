package import Compression
package import OuterSync
package import Swarm

/// A node's disk: what is written is not yet there, what is synced stays, and a crash decides about the rest.
///
/// One journal in the order given, with group commit; content-addressed blobs; the current heads; one slot for the local
/// snapshot. The torn last record of a crash fails its checksum and is not there: recovery sees only whole records.
package final class VirtualDisk: BlobStore, HeadStore {
    /// A record that has been written.
    package struct Entry: Sendable {
        /// The record.
        package let record: DurableRecord
        /// The core's request.
        package let token: Token
    }

    /// What survives any crash, in order.
    package private(set) var journal: [DurableRecord] = []
    /// What is written and not synced, in order.
    private var pending: [Entry] = []
    /// The number of pending entries that the running sync covers; nil: none runs.
    private var syncing: Int?
    /// Blobs that survive any crash.
    package private(set) var blobs: [Digest: [UInt8]] = [:]
    /// The current heads, by fragment.
    package private(set) var heads: [FragmentIndex: FragmentHead] = [:]
    /// What the owner's results have left over, by fragment.
    private var feedback: [FragmentIndex: [UInt8]] = [:]
    /// The local snapshot that survives any crash.
    package private(set) var snapshot: LocalSnapshot?
    /// While full, nothing new becomes durable.
    package var isFull = false

    /// An empty disk.
    package init() {}

    /// Appends a record; true if the caller must start a sync now.
    package func append(_ record: DurableRecord, token: Token) -> Bool {
        pending.append(Entry(record: record, token: token))
        guard syncing == nil else { return false }
        syncing = pending.count
        return true
    }

    /// Ends the running sync: gives its entries, whether they are durable or lost, and whether another sync must start.
    package func syncEnded() -> (entries: [Entry], areDurable: Bool, syncAgain: Bool) {
        let count = syncing ?? 0
        let entries = Array(pending.prefix(count))
        pending.removeFirst(count)
        if !isFull { journal += entries.map(\.record) }
        syncing = pending.isEmpty ? nil : pending.count
        return (entries, !isFull, syncing != nil)
    }

    /// The power goes: of what was not synced a random prefix is there, whole; the record after it is torn, thus gone.
    package func crash(using generator: inout SeededGenerator) {
        let survivors = isFull ? 0 : generator.draw(0...pending.count)
        journal += pending.prefix(survivors).map(\.record)
        pending = []
        syncing = nil
    }

    /// Removes records of the journal.
    package func removeRecords(where isGone: (DurableRecord) -> Bool) { journal.removeAll(where: isGone) }

    /// The bytes of a blob that is here.
    package func read(_ digest: Digest) -> [UInt8]? { blobs[digest] }

    /// Stores a blob durably.
    package func write(_ bytes: [UInt8]) throws(StorageFailure) -> Digest {
        guard !isFull else { throw StorageFailure(reason: "the virtual disk is full") }
        let digest = Digest(ofBlob: bytes)
        blobs[digest] = bytes
        return digest
    }

    /// Deletes a blob.
    package func drop(_ digest: Digest) { blobs[digest] = nil }

    /// Replaces a head, atomically.
    package func persist(_ head: FragmentHead, of fragment: FragmentIndex) throws(StorageFailure) {
        guard !isFull else { throw StorageFailure(reason: "the virtual disk is full") }
        heads[fragment] = head
    }

    /// Replaces the feedback of a fragment, atomically.
    package func persist(feedback: [UInt8], of fragment: FragmentIndex) throws(StorageFailure) {
        guard !isFull else { throw StorageFailure(reason: "the virtual disk is full") }
        self.feedback[fragment] = feedback
    }

    /// The feedback of a fragment.
    package func feedback(of fragment: FragmentIndex, byteCountMax: Int) -> [UInt8]? {
        feedback[fragment].flatMap { $0.count <= byteCountMax ? $0 : nil }
    }

    /// Replaces the local snapshot, atomically; a full disk keeps the old one.
    package func save(_ snapshot: LocalSnapshot) {
        if !isFull { self.snapshot = snapshot }
    }
}
