/// The index of a fragment within the charter's fragment layout, from 0.
package struct FragmentIndex: Hashable, Comparable, Sendable {
    /// The raw index.
    package let value: Int
    /// Wraps a raw index, 0 or more.
    package init(_ value: Int) { self.value = value }
    /// Orders by index.
    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// The index of a tile within its fragment, from 0.
package struct TileIndex: Hashable, Comparable, Sendable {
    /// The raw index.
    package let value: Int
    /// Wraps a raw index, 0 or more.
    package init(_ value: Int) { self.value = value }
    /// Orders by index.
    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// The number of final commits behind a fragment's head; the genesis head has 0, the first outer step makes 1.
package struct RoundIndex: Hashable, Comparable, Sendable {
    /// The raw number.
    package let value: UInt64
    /// Wraps a raw number.
    package init(_ value: UInt64) { self.value = value }
    /// The round that follows.
    package var next: RoundIndex { RoundIndex(value &+ 1) }
    /// Orders by number.
    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}
