import Compression
import OuterSync
import PeerNet

// Bulk moves by pull: somebody tells digest and size, this node decides to fetch.

extension NodeCore {
    mutating func startFetches() {
        while let fetch = shelf.nextFetch() {
            out.append(.fetch(fetch.blob.digest, byteCount: fetch.blob.byteCount, from: fetch.sources))
        }
        if shelf.hasResting { setRetry() }
    }

    mutating func fetched(_ digest: Digest) {
        guard let holders = shelf.fetched(digest) else { return }
        guard !holders.isEmpty else { return out.append(.dropBlob(digest)) }
        retryWait = limits.retry
        for fragment in fragments(of: holders) { blobsChanged(fragment) }
    }

    mutating func fetchFailed(_ digest: Digest) {
        for fragment in fragments(of: shelf.failed(digest)) { follow(fragment) }
    }

    private func fragments(of holders: Set<BlobShelf.Holder>) -> [FragmentIndex] {
        Set(
            holders.map { holder in
                switch holder {
                case .contribution(let fragment, _), .payload(let fragment, _), .snapshot(let fragment, _): fragment
                }
            }
        ).sorted()
    }

    /// Something that a fragment waited for is here.
    private mutating func blobsChanged(_ fragment: FragmentIndex) {
        tryAggregate(fragment)
        tellHeld(fragment)
        continueReview(fragment)
        follow(fragment)
    }

    mutating func release(_ holder: BlobShelf.Holder) {
        for digest in shelf.release(holder) { out.append(.dropBlob(digest)) }
    }
}
