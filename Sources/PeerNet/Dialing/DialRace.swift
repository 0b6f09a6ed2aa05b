/// One dial of several addresses, the most promising first, each with a short head start before the next (as RFC 8305
/// asks), so that a dead first address costs a quarter of a second and not a timeout. A state machine: time is passed in,
/// and the driver performs what it is told.
package struct DialRace: Sendable {
    /// Head start of one attempt before the next; a failure ends it.
    package static let stagger: Duration = .milliseconds(250)
    /// Attempts of one race: more addresses, and more answers of a resolver, are ignored.
    package static let attemptsMax = 32

    /// What the driver does.
    package enum Action: Hashable, Sendable {
        /// Ask for the addresses behind a name, then call `resolved` or `failed`.
        case resolve(Int, Multiaddr)
        /// Connect and authenticate, then call `succeeded` or `failed`.
        case connect(Int, Multiaddr)
        /// Give up an attempt; nothing is to be said about it any more.
        case abandon(Int)
        /// An address that the race was given led nowhere.
        case exhausted(Multiaddr)
    }

    /// Where one attempt goes: the address that was given, and what it leads to.
    private struct Attempt: Sendable {
        let origin: Int
        let target: Multiaddr
        var isResolving = false
        /// By when the name must be resolved, or the socket connected.
        var deadline: Moment?
    }

    private let addresses: [Multiaddr]
    private let resolveTimeout: Duration
    private let connectTimeout: Duration
    private var waiting: [Attempt]
    private var running: [Int: Attempt] = [:]
    private var started = 0
    private var lastStart: Moment?
    private var isWon = false

    /// Prepares a race. A name whose addresses do not come within `resolveTimeout` leads nowhere, and neither does a
    /// socket that is not connected within `connectTimeout`; authentication has a limit of its own.
    package init(_ addresses: [Multiaddr], resolveTimeout: Duration, connectTimeout: Duration) {
        self.addresses = addresses
        self.resolveTimeout = resolveTimeout
        self.connectTimeout = connectTimeout
        waiting = addresses.indices.map { Attempt(origin: $0, target: addresses[$0]) }
    }

    /// Whether nothing is left to wait for.
    package var isOver: Bool { isWon || running.isEmpty && waiting.isEmpty }

    /// When `advance` must be called at the latest; nil if only an attempt's end can bring something new.
    package var nextDeadline: Moment? {
        guard !isOver else { return nil }
        let next = waiting.isEmpty ? nil : lastStart.map { $0 + Self.stagger } ?? .zero
        return running.values.compactMap(\.deadline).reduce(next) { sofar, deadline in
            sofar.map { min($0, deadline) } ?? deadline
        }
    }

    /// Starts what is due; also begins the race.
    package mutating func advance(to now: Moment) -> [Action] {
        var actions: [Action] = []
        for (id, attempt) in running.sorted(by: { $0.key < $1.key }) where attempt.deadline.map({ $0 <= now }) ?? false
        {
            actions.append(.abandon(id))
            actions += failed(id, at: now)
        }
        if isDue(at: now) { start(at: now, into: &actions) }
        return actions
    }

    private func isDue(at now: Moment) -> Bool {
        guard !isWon, !waiting.isEmpty else { return false }
        guard let lastStart, !running.isEmpty else { return true }
        return now >= lastStart + Self.stagger
    }

    private mutating func start(at now: Moment, into actions: inout [Action]) {
        while !waiting.isEmpty {
            var attempt = waiting.removeFirst()
            guard started < Self.attemptsMax else {
                exhaust(attempt.origin, into: &actions)
                continue
            }
            let id = started
            started += 1
            lastStart = now
            if case .dns? = attempt.target.tcpEndpoint?.host {
                attempt.isResolving = true
                attempt.deadline = now + resolveTimeout
                actions.append(.resolve(id, attempt.target))
            } else {
                attempt.deadline = now + connectTimeout
                actions.append(.connect(id, attempt.target))
            }
            running[id] = attempt
            return
        }
    }

    /// The address that a running attempt is for, as the race was given it.
    package func address(of id: Int) -> Multiaddr? { running[id].map { addresses[$0.origin] } }

    /// An attempt's socket is connected: what follows has its own time limit.
    package mutating func connected(_ id: Int) { running[id]?.deadline = nil }

    /// The addresses behind a name; they go next.
    package mutating func resolved(_ id: Int, to targets: [Multiaddr], at now: Moment) -> [Action] {
        guard !isWon, let attempt = running[id], attempt.isResolving else { return [] }
        guard !targets.isEmpty else { return failed(id, at: now) }
        running[id] = nil
        waiting.insert(contentsOf: targets.map { Attempt(origin: attempt.origin, target: $0) }, at: 0)
        var actions: [Action] = []
        start(at: now, into: &actions)
        return actions
    }

    /// An attempt came to nothing: the next one starts at once.
    package mutating func failed(_ id: Int, at now: Moment) -> [Action] {
        guard !isWon, let attempt = running.removeValue(forKey: id) else { return [] }
        var actions: [Action] = []
        exhaust(attempt.origin, into: &actions)
        start(at: now, into: &actions)
        return actions
    }

    /// An attempt reached the peer: the others are given up.
    package mutating func succeeded(_ id: Int) -> [Action] {
        guard !isWon, running.removeValue(forKey: id) != nil else { return [] }
        isWon = true
        let others = running.keys.sorted()
        running = [:]
        waiting = []
        return others.map { .abandon($0) }
    }

    /// Gives everything up.
    package mutating func cancel() -> [Action] {
        let all = running.keys.sorted()
        running = [:]
        waiting = []
        return all.map { .abandon($0) }
    }

    private func exhaust(_ origin: Int, into actions: inout [Action]) {
        let isLeft = running.values.contains { $0.origin == origin } || waiting.contains { $0.origin == origin }
        if !isLeft { actions.append(.exhausted(addresses[origin])) }
    }
}
