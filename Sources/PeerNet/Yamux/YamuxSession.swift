/// yamux 1.0 as a state machine: many streams with flow control over one ordered byte stream.
///
/// Bytes from the peer go into `receive`, bytes for it are pulled by `produce`; what happened is in `events`. Control
/// frames wait as state of bounded size, never as a queue that a peer can lengthen.
struct YamuxSession: Sendable {
    /// What the layer above must know, in order.
    enum Event: Equatable, Sendable {
        case opened(StreamID)
        case data(StreamID, [UInt8])
        case finished(StreamID)
        case reset(StreamID, code: UInt32)
        case writable(StreamID)
        /// Both directions ended in order; the id is forgotten.
        case closed(StreamID)
        case goneAway(code: UInt32)
    }

    let limits: YamuxLimits
    private let isDialer: Bool
    var streams: [StreamID: YamuxStream] = [:]
    private var nextLocalID: UInt32
    private var lastRemoteID: UInt32 = 0
    private var inboundCount = 0
    private var outboundCount = 0
    private var refusedCount = 0
    private var refusedSince = Moment.zero
    private var grantedBytes = 0
    /// What happened since the caller last emptied it.
    var events: [Event] = []

    // What waits for the socket.
    private var goAwayCode: UInt32?
    private var goAwaySent = false
    private var waitingPongs: [UInt32] = []
    private var waitingResets: [StreamID] = []
    private var waitingUpdates: [StreamID] = []
    private var controlSenders: [StreamID] = []
    private var bulkSenders: [StreamID] = []

    // Round-trip measurement.
    private var pingWaits = false
    private var pingNumber: UInt32 = 0
    private var pingSentAt: Moment?
    /// Smoothed round-trip time of yamux pings.
    private(set) var roundTrip: Duration?

    // Parsing.
    private var header: [UInt8] = []
    private var bodyStream: StreamID?
    private var bodyBytesLeft = 0
    private var finishesAfterBody = false

    /// Starts a session; the dialer of the connection is the yamux client.
    init(isDialer: Bool, limits: YamuxLimits) {
        self.isDialer = isDialer
        self.limits = limits
        nextLocalID = isDialer ? 1 : 2
    }

    /// After so long an unanswered ping is given up and another may be sent.
    private static let pingPatience: Duration = .seconds(30)
    /// A frame is not cut shorter than this however little room there is: headers would eat the rate.
    private static let frameBodyBytesMin = 1 << 10

    // MARK: Commands

    /// Opens a stream whose receive window starts with `windowBytes` (as far as the session's grants allow); nil if
    /// too many streams are open.
    mutating func open(priority: StreamPriority, windowBytes: Int, at now: Moment) -> StreamID? {
        guard outboundCount < limits.outboundStreamsMax, goAwayCode == nil, nextLocalID <= .max - 2 else { return nil }
        let id = StreamID(nextLocalID)
        nextLocalID += 2
        var stream = YamuxStream(priority: priority, isInbound: false, at: now)
        let growthMax = min(windowBytes, limits.streamWindowBytesMax) - YamuxLimits.initialWindowBytes
        let growth = max(0, min(growthMax, limits.grantedBytesMax - grantedBytes))
        grantedBytes += growth
        stream.windowBytes += growth
        stream.pendingCredit = growth
        stream.isUpdateScheduled = true
        streams[id] = stream
        outboundCount += 1
        waitingUpdates.append(id)
        return id
    }

    /// Queues bytes. Nothing happens if the stream is gone or finished by this side.
    mutating func write(_ bytes: [UInt8], to id: StreamID) {
        guard let index = streams.index(forKey: id), !streams.values[index].finishQueued else { return }
        streams.values[index].queue.append(bytes)
        if streams.values[index].queue.count > limits.writableBelowBytes {
            streams.values[index].reportsWritable = true
        }
        scheduleSend(id)
    }

    /// Ends this side of a stream after what is queued.
    mutating func finish(_ id: StreamID) {
        guard streams[id] != nil else { return }
        streams[id]?.finishQueued = true
        scheduleSend(id)
    }

    /// Drops a stream at once, both directions.
    mutating func reset(_ id: StreamID) {
        guard streams[id] != nil else { return }
        forget(id)
        waitingResets.append(id)
    }

    /// Tells the peer that `count` delivered bytes were consumed, so that it may send more.
    mutating func consume(_ count: Int, of id: StreamID, at now: Moment) {
        let growthMax = limits.grantedBytesMax - grantedBytes
        guard
            let (credit, growth) = streams[id]?.consume(
                count, at: now, roundTrip: roundTrip, growthMax: growthMax, windowMax: limits.streamWindowBytesMax)
        else { return }
        grantedBytes += growth
        streams[id]?.pendingCredit += credit
        scheduleUpdate(id)
    }

    /// Asks for a round trip, unless one is under way.
    mutating func ping(at now: Moment) {
        if let pingSentAt, now - pingSentAt < Self.pingPatience { return }
        pingNumber &+= 1
        pingSentAt = now
        pingWaits = true
    }

    /// Says go away after what control streams still send; bulk and everything later is dropped.
    mutating func goAway(code: UInt32) {
        if goAwayCode == nil { goAwayCode = code }
    }

    /// Says which class an accepted stream sends in, once its protocol is known.
    mutating func setPriority(_ priority: StreamPriority, of id: StreamID) {
        guard let present = streams[id]?.priority, present != priority else { return }
        streams[id]?.priority = priority
        // What waits already changes its place too: a stream is seldom empty again that has much to send.
        switch priority {
        case .control: move(id, from: \.bulkSenders, to: \.controlSenders)
        case .bulk: move(id, from: \.controlSenders, to: \.bulkSenders)
        }
    }

    private mutating func move(
        _ id: StreamID, from old: WritableKeyPath<Self, [StreamID]>, to new: WritableKeyPath<Self, [StreamID]>
    ) {
        guard let position = self[keyPath: old].firstIndex(of: id) else { return }
        self[keyPath: old].remove(at: position)
        self[keyPath: new].append(id)
    }

    /// Bytes that wait to be sent on a stream; nil if the stream is gone.
    func queuedBytes(of id: StreamID) -> Int? { streams[id]?.queue.count }

    // MARK: Producing

    /// Whether `produce` would give bytes.
    func hasOutput(includingBulk: Bool = true) -> Bool {
        guard !goAwaySent else { return false }
        return goAwayCode != nil || pingWaits || !waitingPongs.isEmpty || !waitingResets.isEmpty
            || !waitingUpdates.isEmpty || !controlSenders.isEmpty || includingBulk && !bulkSenders.isEmpty
    }

    /// Appends frames to `output` until about `bytesMax` bytes are in it or nothing waits: session frames, window
    /// updates, control streams, and bulk streams unless they must wait. No frame is much longer than `bytesMax`.
    mutating func produce(into output: inout [UInt8], bytesMax: Int, includingBulk: Bool = true) {
        guard !goAwaySent else { return }
        for value in waitingPongs { YamuxHeader(.ping, .ack, streamID: 0, length: value).append(to: &output) }
        waitingPongs.removeAll(keepingCapacity: true)
        if pingWaits {
            YamuxHeader(.ping, .syn, streamID: 0, length: pingNumber).append(to: &output)
            pingWaits = false
        }
        for id in waitingResets { YamuxHeader(.windowUpdate, .rst, streamID: id.raw, length: 0).append(to: &output) }
        waitingResets.removeAll(keepingCapacity: true)
        for id in waitingUpdates { produceUpdate(id, into: &output) }
        waitingUpdates.removeAll(keepingCapacity: true)
        produceData(of: \.controlSenders, into: &output, bytesMax: bytesMax)
        guard let goAwayCode else {
            if includingBulk { produceData(of: \.bulkSenders, into: &output, bytesMax: bytesMax) }
            return
        }
        if output.count < bytesMax {
            YamuxHeader(.goAway, streamID: 0, length: goAwayCode).append(to: &output)
            goAwaySent = true
        }
    }

    private mutating func produceUpdate(_ id: StreamID, into output: inout [UInt8]) {
        guard let index = streams.index(forKey: id) else { return }
        let credit = streams.values[index].pendingCredit
        let flags = streams.values[index].openingFlags
        streams.values[index].isUpdateScheduled = false
        streams.values[index].pendingCredit = 0
        streams.values[index].openingFlags = []
        streams.values[index].receiveCredit += credit
        guard credit > 0 || !flags.isEmpty else { return }
        YamuxHeader(.windowUpdate, flags, streamID: id.raw, length: UInt32(credit)).append(to: &output)
    }

    /// Gives each waiting stream one frame in turn.
    private mutating func produceData(
        of senders: WritableKeyPath<Self, [StreamID]>, into output: inout [UInt8], bytesMax: Int
    ) {
        var position = 0
        var waiting = self[keyPath: senders]
        self[keyPath: senders] = []
        let bodyBytesMax = min(limits.frameBodyBytesMax, max(Self.frameBodyBytesMin, bytesMax))
        while position < waiting.count, output.count < bytesMax {
            let id = waiting[position]
            position += 1
            if produceFrame(id, into: &output, bodyBytesMax: bodyBytesMax) { waiting.append(id) }
        }
        self[keyPath: senders] = Array(waiting[position...]) + self[keyPath: senders]
    }

    /// Sends one frame of a stream; true if it has more to send now.
    private mutating func produceFrame(_ id: StreamID, into output: inout [UInt8], bodyBytesMax: Int) -> Bool {
        guard let index = streams.index(forKey: id) else { return false }
        let count = min(streams.values[index].queue.count, Int(streams.values[index].sendCredit), bodyBytesMax)
        if count > 0 {
            YamuxHeader(.data, streamID: id.raw, length: UInt32(count)).append(to: &output)
            _ = streams.values[index].queue.move(atMost: count, into: &output)
            streams.values[index].sendCredit -= UInt32(count)
            if streams.values[index].reportsWritable, streams.values[index].queue.count <= limits.writableBelowBytes {
                streams.values[index].reportsWritable = false
                events.append(.writable(id))
            }
        }
        // FIN rides on a window update of its own: a reader that handles a data frame's flags before its body would
        // otherwise see the end before the last bytes.
        if streams.values[index].queue.count == 0, streams.values[index].finishQueued {
            if !streams.values[index].finishSent {
                streams.values[index].finishSent = true
                YamuxHeader(.windowUpdate, .fin, streamID: id.raw, length: 0).append(to: &output)
            }
            streams.values[index].isSendScheduled = false
            if streams.values[index].isFinished { close(id) }
            return false
        }
        let more = streams.values[index].canSend
        streams.values[index].isSendScheduled = more
        return more
    }

    private mutating func scheduleSend(_ id: StreamID) {
        guard let index = streams.index(forKey: id), !streams.values[index].isSendScheduled,
            streams.values[index].canSend
        else { return }
        streams.values[index].isSendScheduled = true
        switch streams.values[index].priority {
        case .control: controlSenders.append(id)
        case .bulk: bulkSenders.append(id)
        }
    }

    private mutating func scheduleUpdate(_ id: StreamID) {
        guard let index = streams.index(forKey: id), !streams.values[index].isUpdateScheduled else { return }
        streams.values[index].isUpdateScheduled = true
        waitingUpdates.append(id)
    }

    private mutating func forget(_ id: StreamID) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        if stream.isInbound {
            inboundCount -= 1
        } else {
            outboundCount -= 1
        }
        grantedBytes -= stream.windowBytes - YamuxLimits.initialWindowBytes
    }

    // MARK: Receiving

    /// Takes bytes from the peer, cut anywhere.
    mutating func receive(_ bytes: UnsafeRawBufferPointer, at now: Moment) throws(Violation) {
        var offset = 0
        while offset < bytes.count {
            if bodyBytesLeft > 0 {
                let count = min(bodyBytesLeft, bytes.count - offset)
                deliver(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
                bodyBytesLeft -= count
                offset += count
                if bodyBytesLeft == 0, finishesAfterBody, let bodyStream {
                    finishesAfterBody = false
                    finishRemote(bodyStream)
                }
            } else if header.isEmpty, bytes.count - offset >= YamuxHeader.byteCount {
                let frame = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + YamuxHeader.byteCount])
                offset += YamuxHeader.byteCount
                try handle(YamuxHeader(bytes: frame), at: now)
            } else {
                header.append(bytes[offset])
                offset += 1
                guard header.count == YamuxHeader.byteCount else { continue }
                let frame = try header.withUnsafeBufferPointer { (buffer) throws(Violation) in
                    try YamuxHeader(bytes: UnsafeRawBufferPointer(buffer))
                }
                header.removeAll(keepingCapacity: true)
                try handle(frame, at: now)
            }
        }
    }

    /// Hands a piece of a body on, or drops it if its stream is gone.
    private mutating func deliver(_ bytes: UnsafeRawBufferPointer) {
        guard let bodyStream, let index = streams.index(forKey: bodyStream) else { return }
        streams.values[index].unconsumedBytes += bytes.count
        events.append(.data(bodyStream, Array(bytes)))
    }

    private mutating func handle(_ header: YamuxHeader, at now: Moment) throws(Violation) {
        switch header.kind {
        case .ping, .goAway:
            guard header.streamID == 0 else { throw .yamuxStreamIDInvalid(header.streamID) }
            if header.kind == .goAway {
                events.append(.goneAway(code: header.length))
            } else {
                handlePing(header, at: now)
            }
        case .data, .windowUpdate:
            guard header.streamID != 0 else { throw .yamuxStreamIDInvalid(0) }
            try handleStream(header, at: now)
        }
    }

    private mutating func handlePing(_ header: YamuxHeader, at now: Moment) {
        if header.flags.contains(.ack) {
            guard let sent = pingSentAt, header.length == pingNumber, !pingWaits else { return }
            pingSentAt = nil
            let sample = now - sent
            roundTrip = roundTrip.map { ($0 + sample) / 2 } ?? sample
        } else if header.flags.contains(.syn), waitingPongs.count < limits.waitingPongsMax {
            waitingPongs.append(header.length)
        }
    }

    private mutating func handleStream(_ header: YamuxHeader, at now: Moment) throws(Violation) {
        let id = StreamID(header.streamID)
        if header.kind == .data {
            // Checked before anything is built or read: the body must fit the credit that the peer was given.
            let credit = streams[id]?.receiveCredit ?? YamuxLimits.initialWindowBytes
            let isDiscarded = streams[id] == nil && !header.flags.contains(.syn)
            guard isDiscarded || Int(header.length) <= credit else {
                throw .yamuxWindowExceeded(stream: id.raw, bytes: header.length, credit: UInt32(credit))
            }
        }
        if header.flags.contains(.syn) { try accept(id, at: now) }
        if header.kind == .data {
            bodyStream = id
            bodyBytesLeft = Int(header.length)
        }
        guard let index = streams.index(forKey: id) else { return }
        if header.flags.contains(.rst) {
            // A newer go puts an error code where the credit would be.
            forget(id)
            events.append(.reset(id, code: header.kind == .windowUpdate ? header.length : 0))
            return
        }
        switch header.kind {
        case .data:
            guard !streams.values[index].remoteFinished || header.length == 0 else {
                throw .yamuxDataAfterFinish(stream: id.raw)
            }
            streams.values[index].receiveCredit -= Int(header.length)
        case .windowUpdate:
            let (credit, overflow) = streams.values[index].sendCredit.addingReportingOverflow(header.length)
            guard !overflow else { throw .yamuxCreditOverflow(stream: id.raw) }
            streams.values[index].sendCredit = credit
            scheduleSend(id)
        case .ping, .goAway: break
        }
        if header.flags.contains(.fin) {
            if bodyBytesLeft > 0 { finishesAfterBody = true } else { finishRemote(id) }
        }
    }

    /// Counts a stream that was one too many. A peer whose streams are reset slows down; one that goes on is hostile.
    mutating func countRefusal(at now: Moment) throws(Violation) {
        if now - refusedSince >= YamuxLimits.refusalPeriod { (refusedCount, refusedSince) = (0, now) }
        refusedCount += 1
        guard refusedCount <= limits.refusedStreamsMax else {
            throw .yamuxStreamsTooMany(refusedMax: limits.refusedStreamsMax)
        }
    }

    private mutating func finishRemote(_ id: StreamID) {
        guard let index = streams.index(forKey: id), !streams.values[index].remoteFinished else { return }
        streams.values[index].remoteFinished = true
        events.append(.finished(id))
        if streams.values[index].isFinished { close(id) }
    }

    private mutating func close(_ id: StreamID) {
        forget(id)
        events.append(.closed(id))
    }

    private mutating func accept(_ id: StreamID, at now: Moment) throws(Violation) {
        let isRemoteParity = (id.raw % 2 == 1) != isDialer
        guard isRemoteParity, id.raw > lastRemoteID else { throw .yamuxStreamIDReused(id.raw) }
        lastRemoteID = id.raw
        // Streams that came and went leave entries in these lists until the socket takes the frames.
        let waitingCount = waitingUpdates.count + waitingResets.count + controlSenders.count + bulkSenders.count
        guard waitingCount < limits.waitingFramesMax else {
            throw .yamuxWaitingFramesTooMany(max: limits.waitingFramesMax)
        }
        guard inboundCount < limits.inboundStreamsMax else {
            waitingResets.append(id)
            return try countRefusal(at: now)
        }
        inboundCount += 1
        streams[id] = YamuxStream(priority: .control, isInbound: true, at: now)
        scheduleUpdate(id)
        events.append(.opened(id))
    }
}
