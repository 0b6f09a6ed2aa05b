import Numerics
import PeerNet
import Swarm

/// Lets protocols that answer peers ask the running node whom they may answer; nobody before the node runs.
final class ServingGate: Sendable {
    private let daemon = Lock<NodeDaemon?>(nil)
    private let rate = Lock(AdmissionRate())
    private let clock = MonotonicClock()

    /// The node runs from now on.
    func open(_ daemon: NodeDaemon) { self.daemon.withLock { $0 = daemon } }

    /// Whether a peer may be given anything of the swarm.
    func mayServe(_ peer: PeerID) async -> Bool { await daemon.withLock { $0 }?.mayServe(peer) ?? false }

    /// The answer to a newcomer. Here, and not where the node judges, a crowd of them is held up.
    func answer(_ request: AdmissionRequest, from peer: PeerID) async -> AdmissionRequest.Answer? {
        let isPresentation = !request.presentation.isEmpty
        guard rate.withLock({ $0.count(peer, isPresentation: isPresentation, at: clock.now) }) else {
            return .refused(.notYet)
        }
        return await daemon.withLock { $0 }?.answer(request, from: peer)
    }
}
