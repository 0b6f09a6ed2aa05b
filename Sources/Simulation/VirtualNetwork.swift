package import PeerNet

/// A node's place in a scenario, from 0; the founder is 0.
package struct NodeNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The raw number.
    package let value: Int
    /// Wraps a raw number.
    package init(_ value: Int) { self.value = value }
    /// Orders by number.
    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }
    /// `n` and the number.
    package var description: String { "n\(value)" }
}

/// One direction between two nodes.
package struct Path: Hashable, Sendable {
    /// The sender.
    package var from: NodeNumber
    /// The receiver.
    package var to: NodeNumber

    /// Wraps the two ends.
    package init(from: NodeNumber, to: NodeNumber) {
        self.from = from
        self.to = to
    }

    /// The same two ends, the other way.
    package var reversed: Path { Path(from: to, to: from) }
}

/// How a node hangs on the network.
package struct NetworkAccess: Hashable, Sendable {
    /// Time from the node to the core of the network; a path takes both ends' time.
    package var delay: Duration
    /// The most that is added to a message's delay, evenly distributed.
    package var jitter: Duration
    /// Upload rate; bulk transfers queue for it.
    package var uplinkBytesPerSecond: Double
    /// Download rate; bulk transfers queue for it too.
    package var downlinkBytesPerSecond: Double
    /// The share of control messages that vanish (a full gossip queue, say).
    package var lossProbability: Double

    /// Wraps the fields.
    package init(
        delay: Duration, jitter: Duration, uplinkBytesPerSecond: Double, lossProbability: Double,
        downlinkBytesPerSecond: Double = .infinity
    ) {
        self.downlinkBytesPerSecond = downlinkBytesPerSecond
        self.delay = delay
        self.jitter = jitter
        self.uplinkBytesPerSecond = uplinkBytesPerSecond
        self.lossProbability = lossProbability
    }
}

/// Names one connection; a pair that connects again gets a new one.
package struct ConnectionID: Hashable, Sendable {
    /// The raw number.
    package let value: UInt64
}

/// Delay, jitter, bandwidth, loss, connections and partitions; it says when and whether, the simulator does.
///
/// Within a connection messages keep their order, as in a TCP stream. A cut path swallows what is sent into it; the
/// simulator resets a connection that stays cut.
package struct VirtualNetwork {
    private let access: [NetworkAccess]
    private var generator: SeededGenerator
    private var connections: [Path: ConnectionID] = [:]
    private var connectionCount: UInt64 = 0
    private var cutPaths: Set<Path> = []
    /// One of the two streams of messages in a direction.
    private struct Lane: Hashable {
        var path: Path
        var isGossip: Bool
        var isOfLinks = false
    }

    /// Per stream of a live connection the arrival of the message sent last.
    private var lastArrival: [Lane: Moment] = [:]
    /// Per node the moment at which its uplink is free again.
    private var uplinkFree: [Moment]
    /// The same of its downlink.
    private var downlinkFree: [Moment]
    /// Multiplies every node's loss; zero once faults stop.
    package var lossFactor = 1.0

    /// A network of some nodes, all apart.
    package init(access: [NetworkAccess], generator: SeededGenerator) {
        self.access = access
        self.generator = generator
        uplinkFree = Array(repeating: .zero, count: access.count)
        downlinkFree = uplinkFree
    }

    /// Adds to the paths that swallow everything.
    package mutating func cut(_ paths: some Sequence<Path>) { cutPaths.formUnion(paths) }

    /// Mends every path.
    package mutating func heal() { cutPaths = [] }

    /// Whether nothing cuts the path.
    package func isOpen(_ path: Path) -> Bool { !cutPaths.contains(path) }

    /// The live connection over a path, the same in both directions.
    package func connection(over path: Path) -> ConnectionID? { connections[path] }

    /// The nodes that a node is connected to, ascending.
    package func peers(of node: NodeNumber) -> [NodeNumber] {
        (0..<access.count).map(NodeNumber.init).filter { connections[Path(from: node, to: $0)] != nil }
    }

    /// Connects the two ends of a path, in place of any connection that they had.
    package mutating func connect(_ path: Path) -> ConnectionID {
        connectionCount += 1
        for direction in [path, path.reversed] {
            connections[direction] = ConnectionID(value: connectionCount)
            for isGossip in [false, true] { lastArrival[Lane(path: direction, isGossip: isGossip)] = nil }
            lastArrival[Lane(path: direction, isGossip: false, isOfLinks: true)] = nil
        }
        return ConnectionID(value: connectionCount)
    }

    /// Forgets the connection between the two ends of a path.
    package mutating func disconnect(_ path: Path) {
        for direction in [path, path.reversed] { connections[direction] = nil }
    }

    /// The one-way time of a small packet over a path now, jitter drawn anew.
    package mutating func latency(over path: Path) -> Duration {
        let from = access[path.from.value], to = access[path.to.value]
        return from.delay + to.delay + generator.draw(.zero...max(from.jitter, to.jitter))
    }

    /// When a control message that is sent now arrives; nil if it is lost. Gossip has a stream of its own, and may come by
    /// way of a third node: it overtakes direct messages and is overtaken by them.
    package mutating func arrival(
        ofMessage byteCount: Int, over path: Path, byGossip: Bool = false, at now: Moment
    ) -> Moment? {
        let sender = access[path.from.value]
        let loss = max(sender.lossProbability, access[path.to.value].lossProbability) * lossFactor
        let isLost = generator.chance(loss)
        var duration = latency(over: path) + .seconds(Double(byteCount) / sender.uplinkBytesPerSecond)
        if byGossip, generator.chance(0.3) { duration += latency(over: path) }
        guard !isLost, isOpen(path) else { return nil }
        let lane = Lane(path: path, isGossip: byGossip)
        let arrival = max(now + duration, lastArrival[lane] ?? .zero)
        lastArrival[lane] = arrival
        return arrival
    }

    /// When a message about the link itself arrives; they keep their order among themselves. Nil: the path is cut.
    package mutating func arrival(ofLinkMessage byteCount: Int, over path: Path, at now: Moment) -> Moment? {
        guard isOpen(path) else { return nil }
        let lane = Lane(path: path, isGossip: false, isOfLinks: true)
        let seconds = Double(byteCount) / access[path.from.value].uplinkBytesPerSecond
        let arrival = max(now + roundTrip(over: path) / 2 + .seconds(seconds), lastArrival[lane] ?? .zero)
        lastArrival[lane] = arrival
        return arrival
    }

    /// A ping and its answer, without jitter.
    package func roundTrip(over path: Path) -> Duration {
        (access[path.from.value].delay + access[path.to.value].delay) * 2
    }

    /// When the last byte of a bulk transfer that starts now arrives: it queues for the sender's uplink, and for the
    /// receiver's downlink.
    package mutating func arrival(ofBulk byteCount: Int, over path: Path, at now: Moment) -> Moment {
        let start = max(now, uplinkFree[path.from.value])
        var end = start + .seconds(Double(byteCount) / access[path.from.value].uplinkBytesPerSecond)
        uplinkFree[path.from.value] = end
        let rate = access[path.to.value].downlinkBytesPerSecond
        if rate.isFinite {
            end = max(end, max(start, downlinkFree[path.to.value]) + .seconds(Double(byteCount) / rate))
            downlinkFree[path.to.value] = end
        }
        return end + latency(over: path)
    }

    /// A crash empties the node's send queue.
    package mutating func clearUplink(of node: NodeNumber) {
        uplinkFree[node.value] = .zero
        downlinkFree[node.value] = .zero
    }
}
