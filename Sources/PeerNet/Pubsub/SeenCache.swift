/// Ids of messages that were seen, for a time and up to a number; the oldest is forgotten. An id enters only after the
/// author's signature verified, or anyone could suppress a message by naming it first.
struct SeenCache: Sendable {
    /// What became of a message.
    enum Status: Hashable, Sendable {
        /// The application has not judged it.
        case pending
        case accepted(at: Moment)
        case rejected
        case ignored
    }

    private var statuses: [MessageID: Status] = [:]
    private var order = FIFO<(id: MessageID, seenAt: Moment)>()
    private let lifetime: Duration
    private let countMax: Int

    init(lifetime: Duration, countMax: Int) {
        self.lifetime = lifetime
        self.countMax = countMax
    }

    /// Ids remembered.
    var count: Int { statuses.count }

    /// What became of a message; nil if it is not remembered.
    func status(of id: MessageID) -> Status? { statuses[id] }

    /// Remembers an id that is not remembered yet.
    mutating func insert(_ id: MessageID, _ status: Status, at now: Moment) {
        guard statuses[id] == nil else { return }
        if order.count >= countMax, let oldest = order.popFirst() { statuses[oldest.id] = nil }
        statuses[id] = status
        order.append((id, now))
    }

    /// Changes what became of a remembered message.
    mutating func update(_ id: MessageID, _ status: Status) {
        guard let index = statuses.index(forKey: id) else { return }
        statuses.values[index] = status
    }

    /// Forgets what is too old.
    mutating func expire(at now: Moment) {
        while let oldest = order.first, now >= oldest.seenAt + lifetime {
            statuses[oldest.id] = nil
            _ = order.popFirst()
        }
    }
}
