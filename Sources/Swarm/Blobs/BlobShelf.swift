import Compression
import OuterSync
import PeerNet

/// Which blobs this node needs and why, which it holds, and from whom it gets the others.
///
/// A blob is dropped when nothing needs it any more. A fetch names every source that is known, and later ones as they
/// become known; when all have failed the blob rests until `wake`.
struct BlobShelf: Sendable {
    /// Why a blob is needed.
    enum Holder: Hashable, Sendable {
        case contribution(FragmentIndex, RoundIndex)
        case payload(FragmentIndex, RoundIndex)
        case snapshot(FragmentIndex, RoundIndex)
    }

    struct Fetch: Hashable, Sendable {
        let blob: BlobReference
        /// Whom to ask, the likeliest first; for a blob in flight, whom to ask too.
        let sources: [PeerID]
    }

    private enum State: Hashable, Sendable { case held, waiting, inFlight, resting }

    private struct Entry: Sendable {
        var byteCount: Int
        var holders: Set<Holder>
        var state: State
        var sources: [PeerID]
        /// How many of them were named since the blob was last asked for or woken.
        var named = 0
        var sweeps = 0

        mutating func rest() {
            state = .resting
            named = 0
            sweeps += 1
        }
    }

    private var entries: [Digest: Entry] = [:]
    private var byHolder: [Holder: Set<Digest>] = [:]
    private var queue: [Digest] = []
    /// Fetches whose blob nobody needs any more; dropped when they end.
    private var orphans: Set<Digest> = []
    private(set) var inFlight = 0
    /// Whether some blob rests.
    private(set) var hasResting = false

    /// Notes a need. `sources` are added to those known; the blob is fetched unless it is held.
    mutating func need(_ blob: BlobReference, for holder: Holder, from sources: [PeerID]) {
        byHolder[holder, default: []].insert(blob.digest)
        if orphans.remove(blob.digest) != nil {
            entries[blob.digest] = Entry(
                byteCount: blob.byteCount, holders: [holder], state: .inFlight, sources: sources)
            return
        }
        guard var entry = entries[blob.digest] else {
            entries[blob.digest] = Entry(
                byteCount: blob.byteCount, holders: [holder], state: .waiting, sources: sources)
            queue.append(blob.digest)
            return
        }
        entry.holders.insert(holder)
        if entry.state != .inFlight { entry.byteCount = blob.byteCount }
        let fresh = sources.filter { !entry.sources.contains($0) }
        entry.sources += fresh
        if !fresh.isEmpty, entry.state == .resting || entry.state == .inFlight {
            if entry.state == .resting { entry.named = entry.sources.count - fresh.count }
            if entry.state == .resting { entry.state = .waiting }
            if !queue.contains(blob.digest) { queue.append(blob.digest) }
        }
        entries[blob.digest] = entry
    }

    /// Notes a blob that this node has made itself.
    mutating func hold(_ blob: BlobReference, for holder: Holder) {
        byHolder[holder, default: []].insert(blob.digest)
        if var entry = entries[blob.digest] {
            entry.holders.insert(holder)
            if entry.state == .waiting || entry.state == .resting {
                entry.state = .held
                queue.removeAll { $0 == blob.digest }
            }
            entries[blob.digest] = entry
        } else {
            entries[blob.digest] = Entry(byteCount: blob.byteCount, holders: [holder], state: .held, sources: [])
        }
    }

    func isHeld(_ digest: Digest) -> Bool { entries[digest]?.state == .held }

    /// Whether every source was tried this often without success.
    func hasFailed(_ digest: Digest, sweeps: Int) -> Bool { entries[digest].map { $0.sweeps >= sweeps } ?? false }

    /// Ends a holder's needs except for some blobs; gives the held blobs that nothing needs any more, ascending.
    mutating func release(_ holder: Holder, except kept: Set<Digest>) -> [Digest] {
        let needed = byHolder[holder] ?? []
        byHolder[holder] = needed.subtracting(kept)
        let dropped = release(holder)
        let rest = needed.intersection(kept)
        if !rest.isEmpty { byHolder[holder] = rest }
        return dropped
    }

    /// Ends a need; gives the blobs, held or begun, that nothing needs any more, ascending.
    mutating func release(_ holder: Holder) -> [Digest] {
        var dropped: [Digest] = []
        for digest in (byHolder.removeValue(forKey: holder) ?? []).sorted() {
            guard var entry = entries[digest] else { continue }
            entry.holders.remove(holder)
            guard entry.holders.isEmpty else {
                entries[digest] = entry
                continue
            }
            entries[digest] = nil
            switch entry.state {
            case .held: dropped.append(digest)
            case .inFlight: orphans.insert(digest)
            case .waiting, .resting:
                queue.removeAll { $0 == digest }
                // A fetch that failed may have left a part of it.
                if entry.sweeps > 0 { dropped.append(digest) }
            }
        }
        return dropped
    }

    /// The holders with this property, in no order.
    func holders(where matches: (Holder) -> Bool) -> [Holder] { byHolder.keys.filter(matches) }

    /// Every blob needed, held or not, ascending.
    var all: [Digest] { entries.keys.sorted() }

    /// The next fetch, if one may start, or the next one under way that has got more sources.
    mutating func nextFetch() -> Fetch? {
        var position = 0
        while position < queue.count {
            let digest = queue[position]
            guard var entry = entries[digest], entry.state == .waiting || entry.state == .inFlight else {
                queue.remove(at: position)
                continue
            }
            guard entry.state == .inFlight || inFlight < Limits.fetchesInFlightMax else {
                position += 1
                continue
            }
            queue.remove(at: position)
            let sources = Array(entry.sources.dropFirst(entry.named))
            if entry.state == .waiting, sources.isEmpty {
                entry.rest()
                hasResting = true
                entries[digest] = entry
                continue
            }
            if entry.state == .waiting { inFlight += 1 }
            entry.state = .inFlight
            entry.named = entry.sources.count
            entries[digest] = entry
            if sources.isEmpty { continue }
            return Fetch(blob: BlobReference(digest: digest, byteCount: entry.byteCount), sources: sources)
        }
        return nil
    }

    /// Ends a fetch. Gives who needed the blob; none means that it must be dropped, nil that it was not fetched.
    mutating func fetched(_ digest: Digest) -> Set<Holder>? {
        if orphans.remove(digest) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[digest], entry.state != .held else { return nil }
        // It may come although a failure was told before: sources that were added late were still asked.
        if entry.state == .inFlight { inFlight -= 1 }
        queue.removeAll { $0 == digest }
        entry.state = .held
        entries[digest] = entry
        return entry.holders
    }

    /// Ends a fetch without the blob: it rests, unless more sources have become known. Gives who needs it.
    mutating func failed(_ digest: Digest) -> Set<Holder> {
        if orphans.remove(digest) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[digest], entry.state == .inFlight else { return [] }
        inFlight -= 1
        if entry.named < entry.sources.count {
            entry.state = .waiting
            if !queue.contains(digest) { queue.append(digest) }
        } else {
            entry.rest()
            hasResting = true
        }
        entries[digest] = entry
        return entry.holders
    }

    /// Lets resting blobs be tried again.
    mutating func wake() {
        hasResting = false
        for digest in entries.keys.sorted() where entries[digest]?.state == .resting {
            entries[digest]?.state = .waiting
            queue.append(digest)
        }
    }
}
