import Checkpoint
import Compression
import OuterSync
import PeerNet
import Swarm

/// The durable records of one node in one swarm, or of its rounds in one branch: a journal file, on a thread of its own
/// because fsync blocks.
actor SwarmJournal {
    /// What a journal held when it was opened.
    struct Contents: Sendable {
        /// Slot records that are not pruned, oldest first.
        var slots: [Slot] = []
        /// Per fragment the final commits, in order.
        var finals: [FragmentIndex: [[UInt8]]] = [:]
        /// The last known addresses of peers.
        var peers: [PeerID: [Multiaddr]] = [:]
        /// Records of who may take part, by their keys.
        var admissions: [Digest: [UInt8]] = [:]
        /// Records of branches and experts, by their keys.
        var records: [Digest: [UInt8]] = [:]
        /// Starts counted so far.
        var incarnation: UInt64 = 0
    }

    /// A signed message of this node, as sent.
    struct Slot: Sendable {
        var fragment: FragmentIndex
        var round: RoundIndex
        var message: [UInt8]
    }

    private enum Kind: UInt8 {
        case slot = 1
        case final = 2
        case peer = 3
        case prune = 4
        case incarnation = 5
        case admission = 6
        case forgottenAdmission = 7
        case record = 8
    }

    private let executor: ThreadExecutor
    private let journal: Journal

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens a journal, cuts what is pruned, and counts one more start.
    init(path: String, executor: ThreadExecutor) throws {
        self.executor = executor
        var contents = Contents()
        for record in try Journal.open(path).records {
            guard Self.replay(record, into: &contents) else {
                throw CheckpointError.damaged(path: path, reason: "it holds records of another version")
            }
        }
        contents.incarnation += 1
        journal = try Journal.create(path, records: Self.records(of: contents))
        opened = contents
    }

    /// What the journal held; the incarnation is this start's.
    nonisolated let opened: Contents

    /// Appends records; returns once they are on the device.
    func append(_ records: [DurableRecord]) throws(FileError) {
        try journal.append(records.map(Self.encode))
    }

    /// Forgets slots of a fragment up to a round, at the next opening.
    func pruneSlots(_ fragment: FragmentIndex, through round: RoundIndex) throws(FileError) {
        try journal.append([[Kind.prune.rawValue] + Self.bytes(fragment) + Self.bytes(round)])
    }

    /// Forgets an admission record, at the next opening.
    func forgetAdmission(_ key: Digest) throws(FileError) {
        try journal.append([[Kind.forgottenAdmission.rawValue] + key.bytes])
    }

    // MARK: Records: one kind byte, then fixed-width fields, then the opaque rest.

    private static func bytes(_ fragment: FragmentIndex) -> [UInt8] {
        withUnsafeBytes(of: UInt32(fragment.value).littleEndian) { Array($0) }
    }

    private static func bytes(_ round: RoundIndex) -> [UInt8] {
        withUnsafeBytes(of: round.value.littleEndian) { Array($0) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func encode(_ record: DurableRecord) -> [UInt8] {
        switch record {
        case .slot(let fragment, let round, let message):
            [Kind.slot.rawValue] + bytes(fragment) + bytes(round) + message
        case .final(let fragment, let round, let message):
            [Kind.final.rawValue] + bytes(fragment) + bytes(round) + message
        case .peer(let peer, let addresses):
            addresses.reduce([Kind.peer.rawValue] + peer.publicKey) { record, address in
                record + withUnsafeBytes(of: UInt16(clamping: address.bytes.count).littleEndian) { Array($0) }
                    + address.bytes
            }
        case .admission(let key, let bytes): [Kind.admission.rawValue] + key.bytes + bytes
        case .record(let key, let bytes): [Kind.record.rawValue] + key.bytes + bytes
        }
    }

    private static func records(of contents: Contents) -> [[UInt8]] {
        var records = contents.slots.map { encode(.slot($0.fragment, $0.round, $0.message)) }
        for (fragment, finals) in contents.finals.sorted(by: { $0.key < $1.key }) {
            for (index, message) in finals.enumerated() {
                records.append(encode(.final(fragment, RoundIndex(UInt64(index + 1)), message)))
            }
        }
        for (peer, addresses) in contents.peers.sorted(by: { $0.key < $1.key }) {
            records.append(encode(.peer(peer, addresses)))
        }
        for (key, bytes) in contents.admissions.sorted(by: { $0.key < $1.key }) {
            records.append(encode(.admission(key, bytes)))
        }
        for (key, bytes) in contents.records.sorted(by: { $0.key < $1.key }) {
            records.append(encode(.record(key, bytes)))
        }
        records.append(
            [Kind.incarnation.rawValue] + withUnsafeBytes(of: contents.incarnation.littleEndian) { Array($0) })
        return records
    }

    /// Takes up one record; false if it is not one of this version.
    private static func replay(_ record: [UInt8], into contents: inout Contents) -> Bool {
        guard let first = record.first, let kind = Kind(rawValue: first) else { return false }
        switch kind {
        case .slot:
            guard record.count > 13 else { return false }
            contents.slots.append(
                Slot(
                    fragment: FragmentIndex(Int(number(record[1..<5]))), round: RoundIndex(number(record[5..<13])),
                    message: Array(record[13...])))
        case .final:
            guard record.count > 13 else { return false }
            let fragment = FragmentIndex(Int(number(record[1..<5])))
            let round = number(record[5..<13])
            var finals = contents.finals[fragment, default: []]
            // A final that was written twice, around a crash, counts once.
            guard round >= 1, round <= UInt64(finals.count) + 1 else { return false }
            if round == UInt64(finals.count) + 1 { finals.append(Array(record[13...])) }
            contents.finals[fragment] = finals
        case .peer:
            guard record.count >= 33, let peer = PeerID(publicKey: record[1..<33]) else { return false }
            var addresses: [Multiaddr] = []
            var rest = record[33...]
            while rest.count >= 2 {
                let count = Int(number(rest.prefix(2)))
                rest = rest.dropFirst(2)
                guard rest.count >= count else { return false }
                if let address = try? Multiaddr(bytes: Array(rest.prefix(count))) { addresses.append(address) }
                rest = rest.dropFirst(count)
            }
            contents.peers[peer] = addresses
        case .prune:
            guard record.count == 13 else { return false }
            let fragment = FragmentIndex(Int(number(record[1..<5])))
            let round = RoundIndex(number(record[5..<13]))
            contents.slots.removeAll { $0.fragment == fragment && $0.round <= round }
        case .incarnation:
            guard record.count == 9 else { return false }
            contents.incarnation = number(record[1..<9])
        case .admission:
            guard record.count > 33, let key = Digest(bytes: record[1..<33]) else { return false }
            contents.admissions[key] = Array(record[33...])
        case .forgottenAdmission:
            guard let key = Digest(bytes: record[1...]) else { return false }
            contents.admissions[key] = nil
        case .record:
            guard record.count > 33, let key = Digest(bytes: record[1..<33]) else { return false }
            contents.records[key] = Array(record[33...])
        }
        return true
    }
}
