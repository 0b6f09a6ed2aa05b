/// What waits to be sent to one peer, by importance. When it is full the least important goes first: advertisements,
/// then requests, then the oldest forwarded messages, then the oldest of our own; control is never dropped here.
struct OutgoingQueue: Sendable {
    /// Classes of entries, in the order in which they are sent.
    enum Lane: Int, CaseIterable, Sendable {
        /// Subscriptions, GRAFT and PRUNE: losing one leaves the two sides with different views.
        case control
        /// IDONTWANT and IWANT: small, and useless when late.
        case request
        /// Messages that this node published.
        case own
        /// Messages of others.
        case forwarded
        /// IHAVE: repeated at the next heartbeat anyway.
        case advertisement
    }

    /// Where an entry stands in an RPC.
    enum Part: Sendable { case subscription, message, control }

    struct Entry: Sendable {
        let part: Part
        /// The encoded field; messages share one array among all peers.
        let bytes: [UInt8]
        /// The id of a message, by which it can be withdrawn.
        var id: MessageID?

        /// Bytes with what the entry's bookkeeping takes, or millions of tiny entries would pass for little.
        var cost: Int { bytes.count + 96 }
    }

    /// Order in which lanes give way.
    private static let victims: [Lane] = [.advertisement, .request, .forwarded, .own]

    private var lanes = [FIFO<Entry>](repeating: FIFO(), count: Lane.allCases.count)
    /// Cost of everything that waits.
    private(set) var cost = 0

    /// Whether nothing waits.
    var isEmpty: Bool { cost == 0 }

    /// Entries that wait in one lane.
    func count(in lane: Lane) -> Int { lanes[lane.rawValue].count }

    /// Adds an entry, at the price of less important and older ones if need be. False: there is no room for it.
    mutating func push(_ entry: Entry, in lane: Lane, costMax: Int) -> Bool {
        for victim in Self.victims where cost + entry.cost > costMax {
            while cost + entry.cost > costMax, let dropped = lanes[victim.rawValue].popFirst() { cost -= dropped.cost }
            if victim == lane { break }
        }
        guard cost + entry.cost <= costMax else { return false }
        lanes[lane.rawValue].append(entry)
        cost += entry.cost
        return true
    }

    /// Withdraws forwarded messages that the peer does not want.
    mutating func withdraw(_ ids: some Collection<MessageID>) {
        guard !lanes[Lane.forwarded.rawValue].isEmpty else { return }
        let unwanted = Set(ids)
        for entry in lanes[Lane.forwarded.rawValue].remove(where: { $0.id.map(unwanted.contains) ?? false }) {
            cost -= entry.cost
        }
    }

    /// Forgets everything.
    mutating func removeAll() { self = OutgoingQueue() }

    /// Takes entries for one RPC in order of importance and packs them; nil if nothing waits. An entry that alone is
    /// larger than a packed RPC goes by itself.
    mutating func nextRPC() -> [UInt8]? {
        var subscriptions: [UInt8] = []
        var messages: [UInt8] = []
        var control: [UInt8] = []
        packing: for lane in Lane.allCases {
            while let entry = lanes[lane.rawValue].first {
                let total = subscriptions.count + messages.count + control.count
                if total > 0 {
                    guard total + entry.bytes.count <= PubsubLimits.packedBytesMax,
                        entry.part != .control
                            || control.count + entry.bytes.count <= PubsubLimits.packedControlBytesMax
                    else { break packing }
                }
                switch entry.part {
                case .subscription: subscriptions += entry.bytes
                case .message: if messages.isEmpty { messages = entry.bytes } else { messages += entry.bytes }
                case .control: control += entry.bytes
                }
                cost -= entry.cost
                _ = lanes[lane.rawValue].popFirst()
            }
        }
        guard !subscriptions.isEmpty || !messages.isEmpty || !control.isEmpty else { return nil }
        var wrapped = ProtobufWriter()
        if !control.isEmpty { wrapped.append(control, field: 3) }
        return subscriptions + messages + wrapped.bytes
    }
}
