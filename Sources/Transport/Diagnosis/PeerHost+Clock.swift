import Glibc
package import PeerNet

/// Clocks of peers.
extension PeerHost {
    /// Tells peers what `clock` says, in nanoseconds since 1970. Call before `start()`.
    package func serveClock(_ clock: @escaping @Sendable () -> Int64 = PeerHost.wallClock) {
        serve(ClockProtocol.name, requestBytesMax: 0) { _, _ in .bytes(ClockProtocol.answer(nanoseconds: clock())) }
    }

    /// Compares a connected peer's clock with `clock`.
    package func readClock(
        of peer: PeerID, against clock: @Sendable () -> Int64 = PeerHost.wallClock
    ) async throws(RequestError) -> ClockReading {
        let (before, sentAt) = (clock(), Loop.now)
        let answer = try await request(
            [], to: peer, on: ClockProtocol.name, responseBytesMax: ClockProtocol.answerByteCount)
        guard let nanoseconds = ClockProtocol.nanoseconds(of: answer) else { throw .reset }
        return ClockReading(peer: nanoseconds, before: before, roundTrip: Loop.now - sentAt)
    }

    /// The system's clock, in nanoseconds since 1970.
    package static let wallClock: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
