/// Accepted messages of the last heartbeats, to answer IWANT and to advertise by IHAVE; the oldest give way.
struct MessageCache: Sendable {
    private struct Cached: Sendable {
        let topic: Topic
        let publishField: [UInt8]
        /// How often each peer asked for it.
        var requests: [PeerID: Int] = [:]
    }

    /// An answer to IWANT.
    struct Answer: Equatable {
        let publishField: [UInt8]
        /// How often this peer has asked, this time included.
        let requests: Int
    }

    private var messages: [MessageID: Cached] = [:]
    private var order = FIFO<(id: MessageID, window: UInt64)>()
    private var window: UInt64 = 0
    /// Bytes of all messages.
    private(set) var bytes = 0
    private let windowsKept: Int

    init(windowsKept: Int) { self.windowsKept = windowsKept }

    /// Messages kept.
    var count: Int { messages.count }

    /// Keeps a message in the newest window.
    mutating func insert(_ id: MessageID, topic: Topic, publishField: [UInt8]) {
        guard messages[id] == nil, publishField.count <= PubsubLimits.cachedBytesMax else { return }
        while messages.count >= PubsubLimits.cachedMax || bytes + publishField.count > PubsubLimits.cachedBytesMax {
            dropOldest()
        }
        messages[id] = Cached(topic: topic, publishField: publishField)
        order.append((id, window))
        bytes += publishField.count
    }

    /// The message that a peer asks for; the request is counted.
    mutating func request(_ id: MessageID, by peer: PeerID) -> Answer? {
        guard let index = messages.index(forKey: id) else { return nil }
        let requests = messages.values[index].requests[peer, default: 0] + 1
        messages.values[index].requests[peer] = requests
        return Answer(publishField: messages.values[index].publishField, requests: requests)
    }

    /// Ids of a topic in the newest `windows` windows, newest first.
    func ids(of topic: Topic, windows: Int) -> [MessageID] {
        var ids: [MessageID] = []
        for (id, entered) in order.newestFirst {
            if entered + UInt64(windows) <= window { break }
            if messages[id]?.topic == topic { ids.append(id) }
        }
        return ids
    }

    /// Opens a new window and forgets the one that is too old.
    mutating func shift() {
        window += 1
        while let oldest = order.first, oldest.window + UInt64(windowsKept) <= window { dropOldest() }
    }

    private mutating func dropOldest() {
        guard let oldest = order.popFirst(), let message = messages.removeValue(forKey: oldest.id) else { return }
        bytes -= message.publishField.count
    }
}
