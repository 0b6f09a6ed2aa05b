import Compression
import OuterSync
import PeerNet

// Whom to ask for what next.

extension BlobFetcher {
    private struct Choice {
        var blob: BlobReference
        var part: Part
        var giver: PeerID
    }

    /// Asks for as much as may be asked for; fails blobs that nobody is left for.
    mutating func schedule(at now: Moment) {
        for peer in givers.keys where givers[peer].map({ $0.pausedUntil > .zero && $0.pausedUntil <= now }) == true {
            givers[peer]?.pausedUntil = .zero
        }
        while bytesInFlight < limits.bytesInFlightMax, let choice = nextChoice() {
            if case .chunk = choice.part { blobs[choice.blob]?.wanted.removeLast() }
            issue(choice.part, of: choice.blob, to: choice.giver, at: now)
        }
        for reference in order where blobs[reference].map({ $0.givers.isEmpty && $0.requestCount == 0 }) == true {
            fail(reference)
        }
    }

    /// The oldest blob of which something can be asked for, and the giver that would have sent it first. Blobs of one
    /// chunk do not wait for large ones.
    private func nextChoice() -> Choice? { nextChoice(ofLargeBlobs: false) ?? nextChoice(ofLargeBlobs: true) }

    private func nextChoice(ofLargeBlobs isLarge: Bool) -> Choice? {
        for reference in order {
            // What a survey finds out may end the fetch: until then nobody else is bothered.
            guard let blob = blobs[reference], (blob.chunkCount > 1) == isLarge, blob.survey == nil else { continue }
            if blob.leaves == nil {
                // A list is small: two are asked, lest the first one be silent.
                guard blob.listGivers.count < 2 else { continue }
                if let giver = bestGiver(of: blob, for: BlobTree.listByteCount(of: blob.byteCount)) {
                    return Choice(blob: reference, part: .list, giver: giver)
                }
            } else if let chunk = blob.wanted.last {
                let byteCount = BlobTree.range(ofChunk: chunk, byteCount: blob.byteCount).count
                if let giver = bestGiver(of: blob, for: byteCount) {
                    return Choice(blob: reference, part: .chunk(chunk), giver: giver)
                }
            }
        }
        return nil
    }

    /// Who would have sent so many bytes first; nil if it is best to wait.
    private func bestGiver(of blob: Blob, for byteCount: Int) -> PeerID? {
        var best: (peer: PeerID, cost: Double)?
        var fastest: (peer: PeerID, end: Double)?
        let rest = max(byteCount, blob.wantedByteCount)
        for (peer, standing) in blob.givers {
            guard let giver = givers[peer], giver.pausedUntil == .zero, !blob.listGivers.contains(peer) else {
                continue
            }
            let rate = giver.meter.rate ?? limits.firstRate
            if giver.meter.rate != nil {
                let end = Double(giver.byteCount + rest) / rate
                if fastest.map({ (end, peer) < ($0.end, $0.peer) }) ?? true { fastest = (peer, end) }
            }
            guard hasRoom(giver, for: byteCount) else { continue }
            // Those who were named first are likelier to hold it; a later one is tried when they have a queue.
            let doubt = standing.isProven ? 0 : 0.05 * Double(standing.rank)
            let cost = Double(giver.byteCount + byteCount) / rate + doubt
            if best.map({ (cost, peer) < ($0.cost, $0.peer) }) ?? true { best = (peer, cost) }
        }
        guard let best, let fastest, fastest.peer != best.peer, let giver = givers[best.peer],
            let other = givers[fastest.peer]
        else { return best?.peer }
        // Near the end: nobody is given a part that would come later than the fastest could send all the rest.
        let end = Double(giver.byteCount + byteCount) / (giver.meter.rate ?? limits.firstRate)
        guard fastest.end < end, giver.meter.rate != nil || rest == byteCount else { return best.peer }
        return hasRoom(other, for: byteCount) ? fastest.peer : nil
    }

    private func hasRoom(_ giver: BlobGiver, for byteCount: Int) -> Bool {
        guard giver.requestCount < limits.requestsPerGiverMax else { return false }
        return giver.requestCount < 2 || giver.byteCount + byteCount <= giver.window
    }
}
