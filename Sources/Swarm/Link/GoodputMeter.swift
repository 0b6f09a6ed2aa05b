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
/// A sample is what of all transfers fell into the time of one. The rate is that of the last samples together, so a burst that
/// a buffer let through weighs as little as a short transfer that mostly waited for its answer.
struct GoodputMeter: Hashable, Sendable {
    /// Transfers remembered; the samples are of the newest of them.
    private static let transfersKept = 32
    private static let samplesKept = 8
    /// Smaller transfers say nothing about a rate.
    static let byteCountMin = 256
    /// Shorter spans say more about the clock than about the link.
    private static let spanMin: Duration = .microseconds(200)

    private var transfers: [BlobTransferRecord] = []

    /// Takes a transfer, in the order in which they end.
    mutating func add(_ transfer: BlobTransferRecord) {
        guard transfer.byteCount >= Self.byteCountMin, transfer.ended - transfer.began >= Self.spanMin else { return }
        transfers.append(transfer)
        if transfers.count > Self.transfersKept { transfers.removeFirst() }
    }

    /// Nil before the first sample.
    var bytesPerSecond: Double? {
        guard !transfers.isEmpty else { return nil }
        var (byteCount, seconds) = (0.0, 0.0)
        for sample in transfers.suffix(Self.samplesKept) {
            seconds += (sample.ended - sample.began).inSeconds
            for other in transfers {
                let common = (min(other.ended, sample.ended) - max(other.began, sample.began)).inSeconds
                if common > 0 { byteCount += Double(other.byteCount) * common / (other.ended - other.began).inSeconds }
            }
        }
        return byteCount / seconds
    }

    /// The same in kbit/s, at least 1 once there is a sample; 0 before.
    var kilobits: UInt32 {
        guard let bytesPerSecond else { return 0 }
        return UInt32(min(max((bytesPerSecond * 8 / 1_000).rounded(), 1), Double(Limits.kilobitsMax)))
    }
}
