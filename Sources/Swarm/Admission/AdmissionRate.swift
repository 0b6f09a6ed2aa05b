package import PeerNet

/// How often peers may ask whether they would be let in: judging what they show costs up to 64 signature checks, on the
/// thread that runs the rounds, and identities cost nothing.
///
/// At the most that costs some hundredths of a core. A newcomer asks each member once, and is told to ask again when
/// there is no room; at the limit the newest request is the one that is not judged.
package struct AdmissionRate: Sendable {
    /// The time over which is counted, and what is answered in it: to one peer, to all, and of those with signatures to
    /// check.
    static let window: Duration = .seconds(10)
    static let requestsPerPeerMax = 4
    static let requestsMax = 256
    static let presentationsMax = 32

    private struct Request: Sendable {
        let peer: PeerID
        let isPresentation: Bool
        let at: Moment
    }

    /// The last window's, in order.
    private var requests: [Request] = []

    /// Nobody has asked yet.
    package init() {}

    /// Counts a request of a peer, with or without something to judge; false: it is one too many, and is not counted.
    package mutating func count(_ peer: PeerID, isPresentation: Bool, at now: Moment) -> Bool {
        requests.removeAll { now - $0.at >= Self.window }
        guard requests.count < Self.requestsMax,
            requests.count(where: { $0.peer == peer }) < Self.requestsPerPeerMax,
            !isPresentation || requests.count(where: \.isPresentation) < Self.presentationsMax
        else { return false }
        requests.append(Request(peer: peer, isPresentation: isPresentation, at: now))
        return true
    }
}
