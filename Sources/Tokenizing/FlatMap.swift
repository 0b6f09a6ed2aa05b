/// A hash map from 64-bit keys to 64-bit values in one array: open addressing, linear probing, at most half full.
struct FlatMap: Hashable, Sendable {
    /// Alternately keys and values.
    private var slots: [UInt64]
    private var mask: Int
    private(set) var count = 0

    /// Marks a free slot; no key has this value.
    private static let free = UInt64.max

    /// Room for `capacity` keys before it grows.
    init(capacity: Int = 4) {
        var size = 8
        while size < 2 * capacity { size *= 2 }
        slots = [UInt64](repeating: Self.free, count: 2 * size)
        mask = size - 1
    }

    /// Spreads a key over all bits.
    @inline(__always)
    static func hash(_ key: UInt64) -> Int {
        let mixed = key &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed ^ mixed >> 32)
    }

    subscript(key: UInt64) -> UInt64? {
        @inline(__always) get { slots.withUnsafeBufferPointer { FlatMapView(slots: $0, mask: mask)[key] } }
        set {
            guard let newValue else { preconditionFailure("keys are never removed") }
            if 2 * (count + 1) > mask + 1 { grow() }
            var index = Self.hash(key) & mask
            while slots[2 * index] != Self.free {
                if slots[2 * index] == key {
                    slots[2 * index + 1] = newValue
                    return
                }
                index = (index + 1) & mask
            }
            slots[2 * index] = key
            slots[2 * index + 1] = newValue
            count += 1
        }
    }

    /// Adds to the signed value of a key, which is 0 where the key is new; gives the sum.
    @inline(__always)
    mutating func add(_ change: Int64, to key: UInt64) -> Int64 {
        if 2 * (count + 1) > mask + 1 { grow() }
        let mask = mask
        let (sum, isNew) = slots.withUnsafeMutableBufferPointer { slots in
            var index = Self.hash(key) & mask
            while slots[2 * index] != Self.free {
                if slots[2 * index] == key {
                    let sum = Int64(bitPattern: slots[2 * index + 1]) &+ change
                    slots[2 * index + 1] = UInt64(bitPattern: sum)
                    return (sum, false)
                }
                index = (index + 1) & mask
            }
            slots[2 * index] = key
            slots[2 * index + 1] = UInt64(bitPattern: change)
            return (change, true)
        }
        if isNew { count += 1 }
        return sum
    }

    private mutating func grow() {
        let old = slots
        mask = 2 * (mask + 1) - 1
        slots = [UInt64](repeating: Self.free, count: 2 * (mask + 1))
        for slot in stride(from: 0, to: old.count, by: 2) where old[slot] != Self.free {
            var index = Self.hash(old[slot]) & mask
            while slots[2 * index] != Self.free { index = (index + 1) & mask }
            slots[2 * index] = old[slot]
            slots[2 * index + 1] = old[slot + 1]
        }
    }

    /// Runs `body` with a view that is valid until it returns.
    @inline(__always)
    func withView<Result>(_ body: (FlatMapView) -> Result) -> Result {
        slots.withUnsafeBufferPointer { body(FlatMapView(slots: $0, mask: mask)) }
    }
}

/// Lookups in a `FlatMap` without reference counting.
struct FlatMapView {
    fileprivate let slots: UnsafeBufferPointer<UInt64>
    fileprivate let mask: Int

    @inline(__always)
    subscript(key: UInt64) -> UInt64? {
        guard let slots = slots.baseAddress else { return nil }
        var index = FlatMap.hash(key) & mask
        while true {
            // `mask` keeps both reads inside the array, which always has a free slot.
            let found = slots[2 * index]
            if found == key { return slots[2 * index + 1] }
            if found == UInt64.max { return nil }
            index = (index + 1) & mask
        }
    }
}
