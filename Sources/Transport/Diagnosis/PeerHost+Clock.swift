package import PeerNet

/// Clocks of peers.
extension PeerHost {
    /// Tells peers what `clock` says, in nanoseconds since 1970. Call before `start()`.
    package func serveClock(_ clock: @escaping @Sendable () -> Int64 = PeerHost.wallClock) {
        serveSessions(ClockProtocol.name, messageBytesMax: 0) { session in
            do throws(RequestError) {
                guard try await session.receive() != nil else { return }
                try await session.send(ClockProtocol.answer(nanoseconds: clock()))
            } catch {
                // The peer is gone.
            }
        }
    }

    /// Compares a connected peer's clock with `clock`, if it answers within `timeout`.
    package func readClock(
        of peer: PeerID, against clock: @escaping @Sendable () -> Int64 = PeerHost.wallClock,
        within timeout: Duration = .seconds(2)
    ) async throws(RequestError) -> ClockReading {
        try await withSession(
            ClockProtocol.name, to: peer, messageBytesMax: ClockProtocol.answerByteCount, within: timeout
        ) { (session) throws(RequestError) in
            let (before, sentAt) = (clock(), Loop.now)
            try await session.send([])
            guard let answer = try await session.receive(), let nanoseconds = ClockProtocol.nanoseconds(of: answer)
            else { throw .reset }
            return ClockReading(peer: nanoseconds, before: before, roundTrip: Loop.now - sentAt)
        }
    }

    /// The system's clock, in nanoseconds since 1970.
    package static let wallClock: @Sendable () -> Int64 = { WallClock.nanoseconds }
}
