package import PeerNet

/// A part of a blob that came whole: from the request to the last byte.
package struct BlobTransferRecord: Hashable, Sendable {
    /// Its bytes.
    package var byteCount: Int
    /// When it was asked for.
    package var began: Moment
    /// When the last byte was here.
    package var ended: Moment

    /// Wraps the three.
    package init(byteCount: Int, began: Moment, ended: Moment) {
        self.byteCount = byteCount
        self.began = began
        self.ended = ended
    }
}

/// What a link delivers while something is on its way: bytes over time, of transfers that may run side by side.
///
/// A sample counts what of all transfers fell into the time of one. Waiting for an answer counts as time, so short
/// transfers give too little and never too much: the meter's value is the largest of the last samples.
struct GoodputMeter: Hashable, Sendable {
    /// Transfers remembered for what fell into a later one's time.
    private static let transfersKept = 32
    private static let samplesKept = 8
    /// Smaller transfers say nothing about a rate.
    static let byteCountMin = 256
    /// Shorter spans say more about the clock than about the link.
    private static let spanMin: Duration = .microseconds(200)

    private var transfers: [BlobTransferRecord] = []
    private var samples: [Double] = []

    /// Takes a transfer, in the order in which they end.
    mutating func add(_ transfer: BlobTransferRecord) {
        transfers.append(transfer)
        if transfers.count > Self.transfersKept { transfers.removeFirst() }
        let span = transfer.ended - transfer.began
        guard transfer.byteCount >= Self.byteCountMin, span >= Self.spanMin else { return }
        var byteCount = 0.0
        for other in transfers {
            let length = (other.ended - other.began).inSeconds
            let common = (min(other.ended, transfer.ended) - max(other.began, transfer.began)).inSeconds
            if length > 0, common > 0 { byteCount += Double(other.byteCount) * min(1, common / length) }
        }
        samples.append(byteCount / span.inSeconds)
        if samples.count > Self.samplesKept { samples.removeFirst() }
    }

    /// Nil before the first sample.
    var bytesPerSecond: Double? { samples.max() }

    /// The same in kbit/s, at least 1 once there is a sample; 0 before.
    var kilobits: UInt32 {
        guard let bytesPerSecond else { return 0 }
        return UInt32(min(max(bytesPerSecond * 8 / 1_000, 1), Double(Limits.kilobitsMax)))
    }
}
