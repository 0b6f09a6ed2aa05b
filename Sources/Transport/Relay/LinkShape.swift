import PeerNet

/// What a shaped link does to each direction.
package struct LinkShape: Hashable, Sendable {
    /// Rate of the link in bytes per second, headers of packets included.
    package var bytesPerSecond: Double
    /// From the end of the bottleneck to the other side.
    package var oneWayDelay: Duration
    /// What waits at the bottleneck at most, as time; beyond it the sender is held back.
    package var queue: Duration

    /// Wraps the fields.
    package init(bytesPerSecond: Double, oneWayDelay: Duration, queue: Duration) {
        self.bytesPerSecond = bytesPerSecond
        self.oneWayDelay = oneWayDelay
        self.queue = queue
    }

    /// Bytes of a TCP segment on Ethernet (1500 less headers and time stamps), and what travels with them.
    static let segmentBytes = 1448
    static let segmentHeaderBytes = 66

    /// Share of the link's rate that bytes in full segments can have.
    package static let payloadShare = Double(segmentBytes) / Double(segmentBytes + segmentHeaderBytes)
}

/// One direction of a shaped link: bytes wait at the bottleneck, leave it at the link's rate, and arrive after the delay.
struct ShapedQueue {
    private let shape: LinkShape
    private var pieces: [(due: Moment, bytes: [UInt8])] = []
    private var head = 0
    /// When the bottleneck has sent everything taken so far.
    private var departure: Moment = .zero
    /// Bytes at the bottleneck, on the way, and arrived but not taken.
    private(set) var count = 0
    /// Bytes that are cut off together: whole segments, about a millisecond of the link.
    private let pieceBytes: Int

    init(_ shape: LinkShape) {
        self.shape = shape
        pieceBytes = max(1, Int(shape.bytesPerSecond / 1000) / LinkShape.segmentBytes) * LinkShape.segmentBytes
    }

    /// Bytes to take at once, so that the bottleneck's queue does not overshoot by much.
    var readBytes: Int { 2 * pieceBytes }

    /// Whether the bottleneck takes more, and the receiver keeps up.
    func hasRoom(at now: Moment) -> Bool {
        let pathBytes = shape.bytesPerSecond * (shape.oneWayDelay + shape.queue).inSeconds
        return departure - now < shape.queue && Double(count) < pathBytes + 256 * 1024
    }

    /// When the bottleneck takes more, if it is the bottleneck that is full.
    var roomAt: Moment { departure + (.zero - shape.queue) }

    mutating func take(_ bytes: UnsafeRawBufferPointer, at now: Moment) {
        var offset = 0
        while offset < bytes.count {
            let piece = bytes[offset..<min(offset + pieceBytes, bytes.count)]
            let segments = (piece.count + LinkShape.segmentBytes - 1) / LinkShape.segmentBytes
            let wireBytes = piece.count + segments * LinkShape.segmentHeaderBytes
            departure = max(departure, now) + .seconds(Double(wireBytes) / shape.bytesPerSecond)
            pieces.append((departure + shape.oneWayDelay, Array(piece)))
            count += piece.count
            offset += piece.count
        }
    }

    /// When the next bytes arrive.
    var nextDue: Moment? { head < pieces.count ? pieces[head].due : nil }

    /// Takes what has arrived.
    mutating func arrived(at now: Moment) -> [UInt8] {
        var bytes: [UInt8] = []
        while head < pieces.count, pieces[head].due <= now {
            bytes += pieces[head].bytes
            pieces[head].bytes = []
            head += 1
        }
        if head == pieces.count || head > 1024 {
            pieces.removeFirst(head)
            head = 0
        }
        count -= bytes.count
        return bytes
    }
}
