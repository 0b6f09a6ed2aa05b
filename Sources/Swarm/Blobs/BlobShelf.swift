import Compression
import OuterSync
import PeerNet

/// Which blobs this node needs and why, which it holds, and from whom it gets the others.
///
/// A blob is dropped when nothing needs it any more. A fetch names every source that is known, and later ones as they
/// become known; when all have failed the blob rests until `wake`. The same digest with another size is another blob, of
/// which at most one exists: whoever tells a false size must not spoil the fetch of the true one.
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

    private enum State: Hashable, Sendable { case held, waiting, inFlight, resting, refuted }

    private struct Entry: Sendable {
        var holders: Set<Holder>
        var state: State
        var sources: [PeerID]
        /// Those who vouch for digest and size.
        var signers: Set<PeerID>
        /// How many of them were named since the blob was last asked for or woken.
        var named = 0
        var sweeps = 0

        mutating func rest() {
            state = .resting
            named = 0
            sweeps += 1
        }
    }

    private var entries: [BlobReference: Entry] = [:]
    /// How many entries name a digest: one, unless somebody tells a false size.
    private var sizes: [Digest: Int] = [:]
    private var byHolder: [Holder: Set<BlobReference>] = [:]
    private var queue: [BlobReference] = []
    /// Fetches whose blob nobody needs any more; dropped when they end.
    private var orphans: Set<BlobReference> = []
    private(set) var inFlight = 0
    /// Whether some blob rests.
    private(set) var hasResting = false

    /// Notes a need. `sources` are added to those known; the blob is fetched unless it is held.
    ///
    /// - Parameter signer: who vouches for digest and size, and answers for them; nil: nobody in particular.
    mutating func need(
        _ blob: BlobReference, for holder: Holder, from sources: [PeerID], namedBy signer: PeerID? = nil
    ) {
        byHolder[holder, default: []].insert(blob)
        guard var entry = entries[blob] else {
            let isOnItsWay = orphans.remove(blob) != nil
            add(
                Entry(
                    holders: [holder], state: isOnItsWay ? .inFlight : .waiting, sources: sources,
                    signers: signer.map { [$0] } ?? []), of: blob)
            if !isOnItsWay { queue.append(blob) }
            return
        }
        entry.holders.insert(holder)
        if let signer { entry.signers.insert(signer) }
        let fresh = sources.filter { !entry.sources.contains($0) }
        entry.sources += fresh
        if !fresh.isEmpty, entry.state == .resting || entry.state == .inFlight {
            if entry.state == .resting { entry.named = entry.sources.count - fresh.count }
            if entry.state == .resting { entry.state = .waiting }
            if !queue.contains(blob) { queue.append(blob) }
        }
        entries[blob] = entry
    }

    /// Notes a blob that this node has made itself.
    mutating func hold(_ blob: BlobReference, for holder: Holder) {
        byHolder[holder, default: []].insert(blob)
        guard var entry = entries[blob] else {
            return add(Entry(holders: [holder], state: .held, sources: [], signers: []), of: blob)
        }
        entry.holders.insert(holder)
        if entry.state == .waiting || entry.state == .resting {
            entry.state = .held
            queue.removeAll { $0 == blob }
        }
        entries[blob] = entry
    }

    private mutating func add(_ entry: Entry, of blob: BlobReference) {
        entries[blob] = entry
        sizes[blob.digest, default: 0] += 1
    }

    func isHeld(_ blob: BlobReference) -> Bool { entries[blob]?.state == .held }

    /// Whether every source was tried this often without success, or there is no such blob.
    func hasFailed(_ blob: BlobReference, sweeps: Int) -> Bool {
        entries[blob].map { $0.sweeps >= sweeps || $0.state == .refuted } ?? false
    }

    /// Ends a holder's needs except for some blobs; gives the held blobs that nothing needs any more, ascending.
    mutating func release(_ holder: Holder, except kept: Set<BlobReference>) -> [Digest] {
        let needed = byHolder[holder] ?? []
        byHolder[holder] = needed.subtracting(kept)
        let dropped = release(holder)
        let rest = needed.intersection(kept)
        if !rest.isEmpty { byHolder[holder] = rest }
        return dropped
    }

    /// Ends a need; gives the blobs, held or begun, that nothing needs any more, ascending.
    mutating func release(_ holder: Holder) -> [Digest] {
        var dropped: Set<Digest> = []
        for blob in byHolder.removeValue(forKey: holder) ?? [] {
            guard var entry = entries[blob] else { continue }
            entry.holders.remove(holder)
            guard entry.holders.isEmpty else {
                entries[blob] = entry
                continue
            }
            entries[blob] = nil
            let rest = (sizes[blob.digest] ?? 1) - 1
            sizes[blob.digest] = rest > 0 ? rest : nil
            switch entry.state {
            case .held: dropped.insert(blob.digest)
            case .inFlight: orphans.insert(blob)
            case .waiting, .resting, .refuted:
                queue.removeAll { $0 == blob }
                // A fetch that failed may have left a part of it, or an empty file.
                if entry.sweeps > 0 || entry.state == .refuted { dropped.insert(blob.digest) }
            }
        }
        // The disk knows digests only.
        return dropped.filter { sizes[$0] == nil }.sorted()
    }

    /// The holders with this property, in no order.
    func holders(where matches: (Holder) -> Bool) -> [Holder] { byHolder.keys.filter(matches) }

    /// Every blob needed, held or not, ascending.
    var all: [Digest] { sizes.keys.sorted() }

    /// Whether some blob of this digest is needed, of whatever size.
    func isNeeded(_ digest: Digest) -> Bool { sizes[digest] != nil }

    /// The next fetch, if one may start, or the next one under way that has got more sources.
    mutating func nextFetch() -> Fetch? {
        var position = 0
        while position < queue.count {
            let blob = queue[position]
            guard var entry = entries[blob], entry.state == .waiting || entry.state == .inFlight else {
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
                entries[blob] = entry
                continue
            }
            if entry.state == .waiting { inFlight += 1 }
            entry.state = .inFlight
            entry.named = entry.sources.count
            entries[blob] = entry
            if sources.isEmpty { continue }
            return Fetch(blob: blob, sources: sources)
        }
        return nil
    }

    /// Ends a fetch. Gives who needed the blob; none means that it must be dropped, nil that it was not fetched.
    mutating func fetched(_ blob: BlobReference) -> Set<Holder>? {
        if orphans.remove(blob) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[blob], entry.state != .held else { return nil }
        // It may come although a failure was told before: sources that were added late were still asked.
        if entry.state == .inFlight { inFlight -= 1 }
        queue.removeAll { $0 == blob }
        entry.state = .held
        entries[blob] = entry
        return entry.holders
    }

    /// Ends a fetch without the blob: it rests, unless more sources have become known. Gives who needs it.
    mutating func failed(_ blob: BlobReference) -> Set<Holder> {
        if orphans.remove(blob) != nil {
            inFlight -= 1
            return []
        }
        guard var entry = entries[blob], entry.state == .inFlight else { return [] }
        inFlight -= 1
        if entry.named < entry.sources.count {
            entry.state = .waiting
            if !queue.contains(blob) { queue.append(blob) }
        } else {
            entry.rest()
            hasResting = true
        }
        entries[blob] = entry
        return entry.holders
    }

    /// Ends a fetch for good: the digest is that of a blob of another size. Gives who needs it, and who vouched for it,
    /// ascending.
    mutating func refuted(_ blob: BlobReference) -> (holders: Set<Holder>, signers: [PeerID]) {
        if orphans.remove(blob) != nil {
            inFlight -= 1
            return ([], [])
        }
        guard var entry = entries[blob], entry.state != .held, entry.state != .refuted else { return ([], []) }
        if entry.state == .inFlight { inFlight -= 1 }
        queue.removeAll { $0 == blob }
        entry.state = .refuted
        entries[blob] = entry
        return (entry.holders, entry.signers.sorted())
    }

    /// Lets resting blobs be tried again.
    mutating func wake() {
        hasResting = false
        for blob in entries.keys.sorted(by: { ($0.digest, $0.byteCount) < ($1.digest, $1.byteCount) })
        where entries[blob]?.state == .resting {
            entries[blob]?.state = .waiting
            queue.append(blob)
        }
    }
}
