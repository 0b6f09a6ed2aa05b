/// `/atoll/clock/1.0.0`: an empty message, answered by one with the server's clock: nanoseconds since 1970, big-endian.
package enum ClockProtocol {
    /// The protocol's name.
    package static let name = "/atoll/clock/1.0.0"
    /// Bytes of an answer.
    package static let answerByteCount = 8

    /// The answer.
    package static func answer(nanoseconds: Int64) -> [UInt8] {
        withUnsafeBytes(of: nanoseconds.bigEndian) { Array($0) }
    }

    /// The clock in an answer; nil if it is of another length.
    package static func nanoseconds(of answer: [UInt8]) -> Int64? {
        guard answer.count == answerByteCount else { return nil }
        return Int64(bitPattern: answer.reduce(0) { $0 << 8 | UInt64($1) })
    }
}

/// How far a peer's clock is from this node's, as far as one question can tell (Cristian, 1989).
package struct ClockReading: Hashable, Sendable {
    /// The peer's clock minus this node's.
    package var offset: Duration
    /// The offset is known up to this much, either way: half of the round trip.
    package var uncertainty: Duration

    /// Wraps the two, of a reading that another process took.
    package init(offset: Duration, uncertainty: Duration) {
        self.offset = offset
        self.uncertainty = uncertainty
    }

    /// Takes the peer's clock and this node's before the question and after the answer, in nanoseconds since 1970;
    /// `roundTrip` is what a clock that nobody sets says between the two.
    package init(peer: Int64, before: Int64, roundTrip: Duration) {
        let half = roundTrip / 2
        // 128 bits: a peer may claim any clock.
        let difference = Int128(peer) - Int128(before)
        offset = .nanoseconds(Int64(clamping: difference)) - half
        uncertainty = half
    }

    /// By how much the clocks differ at least; zero if they may agree.
    package var differenceMin: Duration {
        max(.zero, (offset < .zero ? .zero - offset : offset) - uncertainty)
    }
}
