/// Who provides what, as providers themselves said.
struct ProviderStore: Sendable {
    private struct Record: Sendable {
        var contact: PeerContact
        var groups: [IPGroup]
        var heardAt: Moment
    }

    private let own: KademliaKey
    private var records: [[UInt8]: [Record]] = [:]
    /// How far each key is from this node, so that a full store need not hash them all again.
    private var distances: [[UInt8]: KademliaKey] = [:]
    /// Keys of each provider, the oldest first.
    private var keys: [PeerID: [[UInt8]]] = [:]

    init(own: KademliaKey) { self.own = own }

    /// Keys with providers.
    var keyCount: Int { records.count }

    /// Records of all keys.
    var recordCount: Int { records.values.reduce(0) { $0 + $1.count } }

    /// Notes that a peer provides `key`; what it said before is replaced.
    mutating func add(_ contact: PeerContact, groups: [IPGroup], for key: [UInt8], at now: Moment) {
        remove(contact.peer, from: key)
        if let mine = keys[contact.peer], mine.count >= KademliaLimits.keysPerProviderMax, let oldest = mine.first {
            remove(contact.peer, from: oldest)
        }
        if records[key] == nil {
            let distance = KademliaKey(hashing: key).distance(to: own)
            if records.count >= KademliaLimits.providerKeysMax {
                guard let farthest = distances.max(by: { $0.value < $1.value }), distance < farthest.value
                else { return }
                for record in records[farthest.key] ?? [] { remove(record.contact.peer, from: farthest.key) }
            }
            distances[key] = distance
        }
        for group in groups {
            let rivals = (records[key] ?? []).filter { $0.groups.contains(group) }
            if rivals.count >= KademliaLimits.providersPerGroupMax, let oldest = rivals.first {
                remove(oldest.contact.peer, from: key)
            }
        }
        if let listed = records[key], listed.count >= KademliaLimits.providersPerKeyMax, let oldest = listed.first {
            remove(oldest.contact.peer, from: key)
        }
        records[key, default: []].append(Record(contact: contact, groups: groups, heardAt: now))
        keys[contact.peer, default: []].append(key)
    }

    /// Providers of `key`, the one heard last first; of those heard long ago, the id alone.
    func providers(of key: [UInt8], at now: Moment) -> [PeerContact] {
        (records[key] ?? []).reversed().compactMap { record in
            let age = now - record.heardAt
            guard age < KademliaLimits.recordLifetime else { return nil }
            return age < KademliaLimits.providerAddressLifetime
                ? record.contact : PeerContact(peer: record.contact.peer, addresses: [])
        }
    }

    /// Forgets what is too old.
    mutating func expire(at now: Moment) {
        for (key, listed) in records {
            for record in listed where now - record.heardAt >= KademliaLimits.recordLifetime {
                remove(record.contact.peer, from: key)
            }
        }
    }

    private mutating func remove(_ peer: PeerID, from key: [UInt8]) {
        guard let index = records[key]?.firstIndex(where: { $0.contact.peer == peer }) else { return }
        records[key]?.remove(at: index)
        if records[key]?.isEmpty == true {
            records[key] = nil
            distances[key] = nil
        }
        keys[peer]?.removeAll { $0 == key }
        if keys[peer]?.isEmpty == true { keys[peer] = nil }
    }
}
