/// A set of peers as a sorted array: small sets that are walked often, always in the same order, with no hashing.
struct SortedPeers: Hashable, Sendable, RandomAccessCollection {
    private var storage: [PeerID] = []

    var startIndex: Int { 0 }
    var endIndex: Int { storage.count }
    subscript(position: Int) -> PeerID { storage[position] }

    func contains(_ peer: PeerID) -> Bool {
        let index = position(of: peer)
        return index < storage.count && storage[index] == peer
    }

    /// Adds a peer; false if it was there.
    @discardableResult mutating func insert(_ peer: PeerID) -> Bool {
        let index = position(of: peer)
        guard index == storage.count || storage[index] != peer else { return false }
        storage.insert(peer, at: index)
        return true
    }

    /// Takes a peer out; false if it was not there.
    @discardableResult mutating func remove(_ peer: PeerID) -> Bool {
        let index = position(of: peer)
        guard index < storage.count, storage[index] == peer else { return false }
        storage.remove(at: index)
        return true
    }

    /// The first place whose peer is not below `peer`.
    private func position(of peer: PeerID) -> Int {
        var low = 0
        var high = storage.count
        while low < high {
            let middle = (low + high) / 2
            if storage[middle] < peer { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
