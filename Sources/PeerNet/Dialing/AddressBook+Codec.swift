/// Why some bytes are not an address book.
package enum AddressBookError: Error, Hashable, Sendable, CustomStringConvertible {
    /// They do not begin as one of this version does.
    case unknownFormat
    /// They end early, or hold what an address book does not.
    case damaged

    /// One line for people.
    package var description: String {
        switch self {
        case .unknownFormat: "not a list of peers of this version"
        case .damaged: "the list of peers is damaged"
        }
    }
}

/// The peer store: what a node keeps of its address book between two runs.
///
/// A line that names the format, then protobuf: `1` per peer, of `1` id, `2` last seen and `3` per address, of
/// `1` address, `2` last success, `3` failures in a row, `4` latency in microseconds; times are Unix seconds.
extension AddressBook {
    /// Longest encoding, and most that a reader should load.
    package static let byteCountMax = 1 << 20
    /// Peers that are kept.
    private static let keptPeersMax = 512
    /// Longer addresses are not kept.
    private static let keptAddressBytesMax = 256
    private static let header = Array("atoll peers 1\n".utf8)

    /// Peers that were seen, the most promising ones, with their addresses.
    package var encoded: [UInt8] {
        var bytes = Self.header
        for contact in contacts(countMax: Self.keptPeersMax, near: []) {
            guard let record = peers[contact.peer] else { continue }
            var writer = ProtobufWriter()
            writer.append(contact.peer.bytes, field: 1)
            writer.append(varint: record.lastSeen, field: 2)
            for entry in record.entries where entry.address.bytes.count <= Self.keptAddressBytesMax {
                var inner = ProtobufWriter()
                inner.append(entry.address.bytes, field: 1)
                inner.append(varint: entry.lastSuccess, field: 2)
                inner.append(varint: UInt64(entry.failures), field: 3)
                if let latency = entry.latency {
                    inner.append(varint: UInt64(max(0, latency.nanosecondsClamped / 1000)), field: 4)
                }
                writer.append(inner.bytes, field: 3)
            }
            var outer = ProtobufWriter()
            outer.append(writer.bytes, field: 1)
            guard bytes.count + outer.bytes.count <= Self.byteCountMax else { break }
            bytes += outer.bytes
        }
        return bytes
    }

    /// Reads what `encoded` gave. Total: hostile bytes throw, and never make more than the limits name.
    package init(bytes: [UInt8]) throws(AddressBookError) {
        self.init()
        guard bytes.starts(with: Self.header) else { throw .unknownFormat }
        guard bytes.count <= Self.byteCountMax else { throw .damaged }
        var reader = ProtobufReader(bytes.dropFirst(Self.header.count))
        do throws(ProtobufReader.Malformed) {
            while let (field, content) = try reader.next() {
                guard field == 1, peers.count < Self.keptPeersMax, try add(content) else { throw .init() }
            }
        } catch { throw .damaged }
    }

    /// Adds one peer; false if its id is none.
    private mutating func add(_ content: ArraySlice<UInt8>) throws(ProtobufReader.Malformed) -> Bool {
        var reader = ProtobufReader(content)
        var peer: PeerID?
        var record = Peer()
        while let (field, value) = try reader.nextField() {
            switch (field, value) {
            case (1, .content(let bytes)): peer = try? PeerID(bytes: Array(bytes))
            case (2, .varint(let time)): record.lastSeen = time
            case (3, .content(let bytes)):
                guard record.entries.count < Self.addressesPerPeerMax, let entry = try Self.entry(bytes)
                else { return false }
                record.entries.append(entry)
            default: break
            }
        }
        guard let peer, peers[peer] == nil else { return false }
        peers[peer] = record
        return true
    }

    private static func entry(_ content: ArraySlice<UInt8>) throws(ProtobufReader.Malformed) -> Entry? {
        var reader = ProtobufReader(content)
        var address: Multiaddr?
        var (success, failures): (UInt64, UInt64) = (0, 0)
        var latency: Duration?
        while let (field, value) = try reader.nextField() {
            switch (field, value) {
            case (1, .content(let bytes)): address = try? Multiaddr(bytes: Array(bytes))
            case (2, .varint(let time)): success = time
            case (3, .varint(let count)): failures = count
            case (4, .varint(let time)): latency = .microseconds(Int64(clamping: min(time, 3_600_000_000)))
            default: break
            }
        }
        guard let address, address.isDialable, !address.endsInPeerID else { return nil }
        return Entry(
            address: address, lastSuccess: success, failures: Int(min(failures, 1000)), latency: latency)
    }
}
