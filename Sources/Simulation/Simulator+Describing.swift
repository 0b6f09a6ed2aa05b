import Compression
import OuterSync
import PeerNet
import Swarm

/// Words for the trace. A steady step of training and a message (described where it arrives) get none.
extension Simulator {
    static func describe(_ input: NodeCore.Input) -> String? {
        switch input {
        case .started, .clock, .received, .trained, .persisted: nil
        case .connected(let peer, _): "connected to \(hexadecimal(peer.publicKey.prefix(4)))"
        case .disconnected(let peer): "disconnected from \(hexadecimal(peer.publicKey.prefix(4)))"
        case .fetched(let blob): "fetched \(blob.digest.short)"
        case .fetchFailed(let blob, let reason): "fetch of \(blob.digest.short) failed: \(reason)"
        case .blobMisnamed(let blob, let count): "\(blob.digest.short) has \(count) bytes, not \(blob.byteCount)"
        case .persistFailed(_, let reason): "write failed: \(reason)"
        case .computed(let token, _): "computed \(token.value)"
        case .snapshotTaken(let fragment, let round, let progress):
            "snapshot f\(fragment.value) r\(round.value) at step \(progress?.steps ?? 0)"
        case .applied(let fragment, let round, _): "applied f\(fragment.value) r\(round.value)"
        case .timerFired(let timer): "timer \(timer)"
        case .linkReceived, .transferred, .roundTrip: nil
        case .stopping: "stopping"
        }
    }

    static func describe(_ job: Job) -> String {
        let fragment = "f\(job.fragment.value)"
        return switch job {
        case .encodeContribution(_, let round, _, _, _): "encode \(fragment) r\(round.value)"
        case .aggregate(_, let round, let tiles, let contributions, let level, _, _):
            "aggregate \(fragment) r\(round.value) \(tiles.count) tiles of \(contributions.count), level \(level)"
        case .checkContribution(_, _, let contribution): "check \(fragment) \(contribution.blob.digest.short)"
        case .checkResult(_, _, _, let level, let blob): "check \(fragment) \(blob.digest.short), level \(level)"
        case .outerStep(_, let base, let step):
            "step \(fragment) from \(base.short) with \(step.payloads.count) payloads"
        case .adopt(_, let head): "adopt \(fragment) \(head.short)"
        case .discard(_, let head): "discard \(fragment) \(head.short)"
        case .captureSnapshot: "capture \(fragment)"
        case .installSnapshot: "install \(fragment)"
        }
    }

    static func describe(_ result: JobResult) -> String {
        switch result {
        case .contributionEncoded(let blobs, _): blobs.map { $0?.digest.short ?? "-" }.joined(separator: " ")
        case .aggregated(let blob, let members, let refused, _):
            "\(blob.digest.short) of \(members)\(refused.isEmpty ? "" : ", refused \(refused.map(\.member))")"
        case .payloadChecked(let refusal): refusal ?? "fit"
        case .outerStepped(let head): head.short
        case .adopted: "done"
        case .discarded: "done"
        case .snapshotCaptured(let manifest): "\(manifest.tiles.count) tiles"
        case .snapshotInstalled(let head): head.short
        case .failed(let reason): "FAILED: \(reason)"
        }
    }
}
