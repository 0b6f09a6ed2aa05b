/// Decides how many connections to one peer its responses are spread over: one more as long as that brings more.
///
/// One TCP connection may not fill a long link: it halves its rate at each loss, and systems and providers bound what one may
/// have under way. Whether that is so cannot be seen from within, only tried. So a busy connection is measured for a
/// period, then one more is opened; if the rate rises by an eighth it stays and the next is tried, else it is
/// closed and nothing is tried for a while.
package struct ParallelTuner: Sendable {
    /// What to do now.
    package enum Step: Hashable, Sendable {
        case nothing
        /// Open one more connection; report it by `opened` or `failed`.
        case open
        /// Close the newest of the additional ones.
        case close
    }

    /// Bounds and times.
    package struct Limits: Hashable, Sendable {
        /// Additional connections.
        package var additionalMax = 3
        /// How long a rate is measured, if the round trip is not a good part of it.
        package var period: Duration = .seconds(3)
        /// Shorter round trips are those of links that one connection fills.
        package var roundTripMin: Duration = .milliseconds(10)
        /// After a trial that brought nothing.
        package var rest: Duration = .seconds(600)
        /// Additional connections are closed after so long without need.
        package var idleTime: Duration = .seconds(60)

        /// The defaults.
        package init() {}
    }

    enum Phase: Hashable, Sendable {
        /// Measuring what the present connections carry.
        case measuring
        /// A connection was asked for.
        case opening(before: Double)
        /// It is there; its first period is not judged.
        case settling(before: Double)
        /// Its second is.
        case judging(before: Double)
        /// Until this moment nothing is tried.
        case resting(until: Moment)
    }

    private let limits: Limits
    private(set) var phase = Phase.measuring
    private var periodStart: Moment?
    private var periodBytes = 0
    private var busyAt: Moment?
    /// Additional connections that are there.
    package private(set) var additional = 0

    /// Starts with one connection.
    package init(limits: Limits = Limits()) { self.limits = limits }

    /// Takes what happened since the last call, a few times a second: bytes of responses, and whether at least one large
    /// request per connection was under way all the time.
    package mutating func sample(bytes: Int, isBusy: Bool, roundTrip: Duration, at now: Moment) -> Step {
        guard isBusy, roundTrip >= limits.roundTripMin else {
            periodStart = nil
            if let busyAt, additional > 0, now - busyAt > limits.idleTime {
                additional -= 1
                phase = .measuring
                return .close
            }
            return .nothing
        }
        busyAt = now
        guard let start = periodStart else {
            periodStart = now
            periodBytes = 0
            return .nothing
        }
        periodBytes += bytes
        guard now - start >= max(limits.period, roundTrip * 10) else { return .nothing }
        let rate = Double(periodBytes) / (now - start).inSeconds
        periodStart = now
        periodBytes = 0
        return periodEnded(rate, at: now)
    }

    private mutating func periodEnded(_ rate: Double, at now: Moment) -> Step {
        switch phase {
        case .measuring:
            guard additional < limits.additionalMax else { return .nothing }
            phase = .opening(before: rate)
            return .open
        case .opening: return .nothing
        case .settling(let before):
            phase = .judging(before: before)
            return .nothing
        case .judging(let before):
            guard rate < before * 1.125 else {
                phase = .measuring
                return .nothing
            }
            phase = .resting(until: now + limits.rest)
            guard additional > 0 else { return .nothing }
            additional -= 1
            return .close
        case .resting(let until):
            if now >= until { phase = .measuring }
            return .nothing
        }
    }

    /// The connection that was asked for is there.
    package mutating func opened() {
        additional += 1
        if case .opening(let before) = phase { phase = .settling(before: before) }
        periodStart = nil
    }

    /// It could not be had.
    package mutating func failed(at now: Moment) {
        if case .opening = phase { phase = .resting(until: now + limits.rest) }
    }

    /// An additional connection ended by itself, or took the first one's place.
    package mutating func lost() {
        additional = max(0, additional - 1)
        phase = .measuring
        periodStart = nil
    }
}
