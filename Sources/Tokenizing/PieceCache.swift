/// Buffers and the word cache of one encoding thread.
struct EncodingScratch: Sendable {
    var symbols: [Int32] = []
    var ranks: [UInt64] = []
    var cache = PieceCache()
}

/// A hash of a piece's bytes: multiply and fold, eight bytes at a time.
enum PieceHash {
    @inline(__always)
    static func hash(_ piece: UnsafeBufferPointer<UInt8>) -> UInt32 {
        let raw = UnsafeRawBufferPointer(piece)
        let count = raw.count
        var hash: UInt64 = 0x9e37_79b9_7f4a_7c15 ^ UInt64(truncatingIfNeeded: count)
        var offset = 0
        while offset + 8 <= count {
            hash = mix(hash, raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var tail: UInt64 = 0
        if offset + 4 <= count {
            tail = UInt64(raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset += 4
        }
        while offset < count {
            tail = tail << 8 | UInt64(raw[offset])
            offset += 1
        }
        hash = mix(hash, tail)
        return UInt32(truncatingIfNeeded: hash ^ hash >> 32)
    }

    @inline(__always)
    private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let (high, low) = (hash ^ word).multipliedFullWidth(by: 0xa076_1d64_78bd_642f)
        return high ^ low ^ 0xe703_7ed1_a0b4_28db
    }

    @inline(__always)
    static func areEqual(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, _ count: Int) -> Bool {
        var offset = 0
        while offset + 8 <= count {
            if left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset += 8
        }
        while offset < count {
            if left.load(fromByteOffset: offset, as: UInt8.self) != right.load(fromByteOffset: offset, as: UInt8.self) {
                return false
            }
            offset += 1
        }
        return true
    }
}

/// The ids of pieces that have been merged before; emptied when it is full.
struct PieceCache: Sendable {
    /// Longer pieces seldom come twice.
    static let pieceBytesMax = 48

    /// `hash << 32 | (1 + place in records)`; 0 is free. Linear probing, at most half full.
    private var slots = [UInt64](repeating: 0, count: 1 << 9)
    /// Per piece: `count of ids << 8 | count of bytes`, the ids, the bytes padded to whole words.
    private var records: [UInt32] = []
    private var count = 0

    /// The slots take 1 MiB then, and the records about 2: what a core's own cache holds.
    private static let slotsMax = 1 << 17

    /// Appends the ids of a piece, if they are known.
    @inline(__always)
    func append(_ piece: UnsafeBufferPointer<UInt8>, _ hash: UInt32, to ids: inout [Int32]) -> Bool {
        guard let bytes = piece.baseAddress else { return false }
        return slots.withUnsafeBufferPointer { slots in
            records.withUnsafeBufferPointer { records in
                guard let records = records.baseAddress else { return false }
                let mask = slots.count - 1
                var index = Int(hash) & mask
                while slots[index] != 0 {
                    let slot = slots[index]
                    if UInt32(truncatingIfNeeded: slot >> 32) == hash {
                        let record = records + Int(slot & 0xffff_ffff) - 1
                        let (byteCount, idCount) = (Int(record[0] & 0xff), Int(record[0] >> 8))
                        if byteCount == piece.count,
                            PieceHash.areEqual(UnsafeRawPointer(record + 1 + idCount), bytes, byteCount)
                        {
                            for offset in 1...max(1, idCount) where offset <= idCount {
                                ids.append(Int32(bitPattern: record[offset]))
                            }
                            return true
                        }
                    }
                    index = (index + 1) & mask
                }
                return false
            }
        }
    }

    /// Remembers the ids of a piece, which stand in `ids` from `start` on.
    mutating func insert(_ piece: UnsafeBufferPointer<UInt8>, _ hash: UInt32, _ ids: [Int32], from start: Int) {
        if 2 * (count + 1) > slots.count {
            if slots.count >= Self.slotsMax {
                records.removeAll(keepingCapacity: true)
                slots = [UInt64](repeating: 0, count: slots.count)
                count = 0
            } else {
                grow()
            }
        }
        let place = records.count
        records.append(UInt32(ids.count - start) << 8 | UInt32(piece.count))
        for index in start..<ids.count { records.append(UInt32(bitPattern: ids[index])) }
        let words = records.count
        records.append(contentsOf: repeatElement(0, count: (piece.count + 3) / 4))
        records.withUnsafeMutableBytes { records in
            UnsafeMutableRawBufferPointer(rebasing: records[(4 * words)...]).copyMemory(
                from: UnsafeRawBufferPointer(piece))
        }
        Self.place(UInt64(hash) << 32 | UInt64(place + 1), in: &slots)
        count += 1
    }

    private mutating func grow() {
        var larger = [UInt64](repeating: 0, count: 4 * slots.count)
        for slot in slots where slot != 0 { Self.place(slot, in: &larger) }
        slots = larger
    }

    private static func place(_ slot: UInt64, in slots: inout [UInt64]) {
        let mask = slots.count - 1
        var index = Int(slot >> 32) & mask
        while slots[index] != 0 { index = (index + 1) & mask }
        slots[index] = slot
    }
}

/// A hash map from pieces of any length to numbers, bytes in one array.
struct PieceTable: Sendable {
    /// `hash << 32 | (1 + index)`; 0 is free. Linear probing, at most half full.
    private var slots = [UInt64](repeating: 0, count: 1 << 9)
    /// Where each piece starts in `bytes`; one more for the end.
    private(set) var starts: [Int] = [0]
    private(set) var bytes: [UInt8] = []
    private(set) var values: [Int64] = []

    /// The number of pieces.
    var count: Int { values.count }

    /// The value of a piece, as an id.
    subscript(piece: UnsafeBufferPointer<UInt8>) -> Int32? {
        let index = index(of: piece, PieceHash.hash(piece))
        return index < 0 ? nil : Int32(truncatingIfNeeded: values[index])
    }

    /// Sets the value of a piece that is not there yet.
    mutating func insert(_ piece: [UInt8], _ value: Int32) {
        piece.withUnsafeBufferPointer { add(Int64(value), to: $0) }
    }

    /// Adds to the value of a piece, which is 0 where it is new.
    @inline(__always)
    mutating func add(_ change: Int64, to piece: UnsafeBufferPointer<UInt8>) {
        let hash = PieceHash.hash(piece)
        let found = index(of: piece, hash)
        if found >= 0 {
            values.withUnsafeMutableBufferPointer { $0[found] &+= change }
        } else {
            append(piece, hash, change)
        }
    }

    @inline(__always)
    private func index(of piece: UnsafeBufferPointer<UInt8>, _ hash: UInt32) -> Int {
        guard let wanted = piece.baseAddress else { return -1 }
        return slots.withUnsafeBufferPointer { slots in
            starts.withUnsafeBufferPointer { starts in
                bytes.withUnsafeBufferPointer { bytes in
                    let mask = slots.count - 1
                    var index = Int(hash) & mask
                    while slots[index] != 0 {
                        let slot = slots[index]
                        if UInt32(truncatingIfNeeded: slot >> 32) == hash, let base = bytes.baseAddress {
                            let number = Int(slot & 0xffff_ffff) - 1
                            if starts[number + 1] - starts[number] == piece.count,
                                PieceHash.areEqual(base + starts[number], wanted, piece.count)
                            {
                                return number
                            }
                        }
                        index = (index + 1) & mask
                    }
                    return -1
                }
            }
        }
    }

    private mutating func append(_ piece: UnsafeBufferPointer<UInt8>, _ hash: UInt32, _ value: Int64) {
        if 2 * (count + 1) > slots.count {
            var larger = [UInt64](repeating: 0, count: 2 * slots.count)
            for slot in slots where slot != 0 { Self.place(slot, in: &larger) }
            slots = larger
        }
        bytes.append(contentsOf: piece)
        starts.append(bytes.count)
        values.append(value)
        Self.place(UInt64(hash) << 32 | UInt64(count), in: &slots)
    }

    private static func place(_ slot: UInt64, in slots: inout [UInt64]) {
        let mask = slots.count - 1
        var index = Int(slot >> 32) & mask
        while slots[index] != 0 { index = (index + 1) & mask }
        slots[index] = slot
    }
}
