import Compression
import OuterSync
import PeerNet

// Bulk moves by pull: somebody tells digest and size, this node decides to fetch.

extension NodeCore {
    mutating func startFetches() {
        while let fetch = shelf.nextFetch() {
            out.append(.fetch(fetch.blob, from: fetch.sources))
        }
        if shelf.hasResting { setRetry() }
    }

    mutating func fetched(_ blob: BlobReference) {
        guard let holders = shelf.fetched(blob) else { return }
        guard !holders.isEmpty else {
            if !shelf.isNeeded(blob.digest) { out.append(.dropBlob(blob.digest)) }
            return
        }
        retryWait = limits.retry
        for fragment in fragments(of: holders) { blobsChanged(fragment) }
    }

    mutating func fetchFailed(_ blob: BlobReference) {
        for fragment in fragments(of: shelf.failed(blob)) { follow(fragment) }
    }

    /// Whoever vouched for a size that the digest does not have had made or held the blob: it knew better.
    mutating func blobMisnamed(_ blob: BlobReference, byteCount: Int) {
        let (holders, signers) = shelf.refuted(blob)
        for signer in signers where signer != me {
            violation(
                signer, signer: signer,
                "it says that blob \(blob.digest.short) has \(blob.byteCount) bytes; it has \(byteCount)")
        }
        for fragment in fragments(of: holders) { follow(fragment) }
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
        checkPayloads(fragment)
        tellHeld(fragment)
        continueReview(fragment)
        follow(fragment)
    }

    mutating func release(_ holder: BlobShelf.Holder) {
        for digest in shelf.release(holder) { out.append(.dropBlob(digest)) }
    }
}
