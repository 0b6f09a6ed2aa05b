/// Values that this node keeps for others.
struct ValueStore: Sendable {
    private struct Entry: Sendable {
        var value: [UInt8]
        var distance: KademliaKey
        var receivedAt: Moment
    }

    private let own: KademliaKey
    private var entries: [[UInt8]: Entry] = [:]
    /// Bytes of all keys and values.
    private(set) var byteCount = 0

    init(own: KademliaKey) { self.own = own }

    /// Values held.
    var count: Int { entries.count }

    /// The value under `key`, unless it is too old.
    func value(of key: [UInt8], at now: Moment) -> [UInt8]? {
        guard let entry = entries[key], now - entry.receivedAt < KademliaLimits.recordLifetime else { return nil }
        return entry.value
    }

    /// Keeps a value that the caller has validated; false if there is no room for a key so far from this node.
    mutating func put(_ value: [UInt8], for key: [UInt8], at now: Moment) -> Bool {
        let distance = KademliaKey(hashing: key).distance(to: own)
        let former = entries[key]
        remove(key)
        while entries.count >= KademliaLimits.valuesMax
            || byteCount + key.count + value.count > KademliaLimits.valuesBytesMax
        {
            guard let farthest = entries.max(by: { $0.value.distance < $1.value.distance }),
                distance < farthest.value.distance
            else {
                // Only a longer successor can fail where its predecessor had room.
                if let former { insert(former, key) }
                return false
            }
            remove(farthest.key)
        }
        insert(Entry(value: value, distance: distance, receivedAt: now), key)
        return true
    }

    /// Forgets what is too old.
    mutating func expire(at now: Moment) {
        for (key, entry) in entries where now - entry.receivedAt >= KademliaLimits.recordLifetime { remove(key) }
    }

    private mutating func insert(_ entry: Entry, _ key: [UInt8]) {
        entries[key] = entry
        byteCount += key.count + entry.value.count
    }

    private mutating func remove(_ key: [UInt8]) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        byteCount -= key.count + entry.value.count
    }
}
