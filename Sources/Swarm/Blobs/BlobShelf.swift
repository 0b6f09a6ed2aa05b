import Compression
import OuterSync
import PeerNet

/// Which blobs this node needs and why, which it holds, and from whom it gets the others.
///
/// A blob is dropped when nothing needs it any more. Fetches go to one source after the other; when all have failed the
/// blob rests until `wake`.
struct BlobShelf: Sendable {
    /// Why a blob is needed.
    enum Holder: Hashable, Sendable {
        case contribution(FragmentIndex, RoundIndex)
        case payload(FragmentIndex, RoundIndex)
        case snapshot(FragmentIndex, RoundIndex)
    }

    struct Fetch: Hashable, Sendable {
        let blob: BlobReference
        let source: PeerID
    }

    private enum State: Hashable, Sendable { case held, waiting, inFlight, resting }

    private struct Entry: Sendable {
        var byteCount: Int
        var holders: Set<Holder>
        var state: State
        var sources: [PeerID]
        var tried = 0
        var sweeps = 0
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
        if entry.state == .resting, !fresh.isEmpty {
            entry.state = .waiting
            entry.tried = entry.sources.count - fresh.count
            queue.append(blob.digest)
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

    /// Ends a need; gives the held blobs that nothing needs any more, ascending.
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
            case .waiting, .resting: queue.removeAll { $0 == digest }
            }
        }
        return dropped
    }

    /// The holders with this property, in no order.
    func holders(where matches: (Holder) -> Bool) -> [Holder] { byHolder.keys.filter(matches) }

    /// Every blob needed, held or not, ascending.
    var all: [Digest] { entries.keys.sorted() }

    /// The next fetch, if one may start.
    mutating func nextFetch() -> Fetch? {
        while inFlight < Limits.fetchesInFlightMax, !queue.isEmpty {
            let digest = queue.removeFirst()
            guard var entry = entries[digest], entry.state == .waiting else { continue }
            guard entry.tried < entry.sources.count else {
                entry.state = .resting
                entry.tried = 0
                entry.sweeps += 1
                hasResting = true
                entries[digest] = entry
                continue
            }
            let source = entry.sources[entry.tried]
            entry.tried += 1
            entry.state = .inFlight
            entries[digest] = entry
            inFlight += 1
            return Fetch(blob: BlobReference(digest: digest, byteCount: entry.byteCount), source: source)
        }
        return nil
    }

    /// Ends a fetch. Gives who needed the blob; none means that it must be dropped, nil that it was not fetched.
    mutating func fetched(_ digest: Digest) -> Set<Holder>? {
        if orphans.remove(digest) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[digest], entry.state == .inFlight else { return nil }
        inFlight -= 1
        entry.state = .held
        entries[digest] = entry
        return entry.holders
    }

    /// Ends a fetch without the blob; the next source is tried. Gives who needs it.
    mutating func failed(_ digest: Digest) -> Set<Holder> {
        if orphans.remove(digest) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[digest], entry.state == .inFlight else { return [] }
        inFlight -= 1
        entry.state = .waiting
        entries[digest] = entry
        queue.append(digest)
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
