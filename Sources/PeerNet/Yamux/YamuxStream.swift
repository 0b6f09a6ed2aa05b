/// Bytes that wait to be sent on one stream: whole arrays, not copied until they are framed.
struct SendQueue: Sendable {
    private var pieces: [[UInt8]] = []
    private var head = 0
    private var offset = 0
    /// Bytes that wait.
    private(set) var count = 0

    /// Adds bytes at the end.
    mutating func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        pieces.append(bytes)
        count += bytes.count
    }

    /// Moves at most `countMax` bytes from the front to the end of `output`; gives their number.
    mutating func move(atMost countMax: Int, into output: inout [UInt8]) -> Int {
        var moved = 0
        while moved < countMax, head < pieces.count {
            let taken = min(countMax - moved, pieces[head].count - offset)
            pieces[head].withUnsafeBytes {
                output.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + taken]))
            }
            moved += taken
            offset += taken
            if offset == pieces[head].count {
                pieces[head] = []
                head += 1
                offset = 0
            }
        }
        if head == pieces.count {
            pieces.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 64, head * 2 > pieces.count {
            pieces.removeSubrange(..<head)
            head = 0
        }
        count -= moved
        return moved
    }
}

/// One stream of a yamux session: both directions' credit and what waits to be sent.
struct YamuxStream: Sendable {
    var priority: StreamPriority
    let isInbound: Bool

    // Sending.
    var queue = SendQueue()
    var sendCredit: UInt32 = UInt32(YamuxLimits.initialWindowBytes)
    var finishQueued = false
    var finishSent = false
    var reportsWritable = false
    /// SYN or ACK that the next window update carries.
    var openingFlags: YamuxHeader.Flags
    /// Whether the stream waits in the session's queue of window updates, or in its queue of senders.
    var isUpdateScheduled = false
    var isSendScheduled = false

    // Receiving.
    /// Bytes the peer may still send.
    var receiveCredit = YamuxLimits.initialWindowBytes
    /// The window that updates restore.
    var windowBytes = YamuxLimits.initialWindowBytes
    /// Bytes delivered and not yet consumed.
    var unconsumedBytes = 0
    /// Credit to announce with the next window update.
    var pendingCredit = 0
    var remoteFinished = false
    /// Bytes consumed since `epochStart`, from which the window is tuned.
    var epochBytes = 0
    var epochStart: Moment

    init(priority: StreamPriority, isInbound: Bool, at now: Moment) {
        self.priority = priority
        self.isInbound = isInbound
        openingFlags = isInbound ? .ack : .syn
        epochStart = now
    }

    /// Whether a data frame or the FIN can be sent now.
    var canSend: Bool { queue.count > 0 && sendCredit > 0 || finishQueued && !finishSent && queue.count == 0 }

    /// Whether both directions are done.
    var isFinished: Bool { finishSent && remoteFinished }

    /// Counts consumed bytes and decides on credit: nil while less than half of the window is free. A window that the
    /// peer fills about once per round trip limits the rate, so it is doubled as far as `growthMax` allows.
    mutating func consume(
        _ count: Int, at now: Moment, roundTrip: Duration?, growthMax: Int, windowMax: Int
    ) -> (credit: Int, growth: Int)? {
        precondition(count >= 0 && count <= unconsumedBytes, "only delivered bytes can be consumed")
        unconsumedBytes -= count
        epochBytes += count
        guard !remoteFinished else { return nil }
        let free = windowBytes - receiveCredit - unconsumedBytes - pendingCredit
        guard free >= windowBytes / 2 else { return nil }
        var growth = 0
        if let roundTrip {
            let elapsed = now - epochStart
            if elapsed >= roundTrip {
                // Bytes per round trip at least half a window: compare without division.
                let share = Double(epochBytes) * roundTrip.inSeconds
                if share >= Double(windowBytes / 2) * elapsed.inSeconds {
                    growth = max(0, min(windowBytes, windowMax - windowBytes, growthMax))
                }
                epochBytes = 0
                epochStart = now
            }
        }
        windowBytes += growth
        return (free + growth, growth)
    }
}
