package import PeerNet

/// A dial in the background that somebody wants.
struct WantedDial {
    /// Whether it runs.
    var isRunning = false
    /// Whether names may lead to this machine and its own network.
    var mayBeLocal = false
}

/// Outbound connections: which addresses, when, and what became of them.
extension PeerHost {
    /// Addresses that one call of `connect(to:)` tries.
    private static let dialAddressesMax = 16
    /// Peers that may wait to be dialed.
    private static let wantedDialsMax = 1024

    /// Connects to whoever answers first at one of `addresses` and returns its id. They are tried in order, each with a
    /// head start of a quarter of a second before the next; one that ends in `/p2p/ID` accepts only that peer. No
    /// back-off: for addresses that a user gave.
    package func connect(to addresses: [Multiaddr]) async throws(TransportError) -> PeerID {
        let result: Result<PeerID, TransportError> = await withCheckedContinuation { continuation in
            guard state == .running else { return continuation.resume(returning: .failure(.stopped)) }
            if let peer = addresses.lazy.compactMap(\.peerID).first(where: { self.entries[$0] != nil }) {
                return continuation.resume(returning: .success(peer))
            }
            startDial(of: nil, Array(addresses.prefix(Self.dialAddressesMax))) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Connects to a peer in the background unless connected or being dialed, at these addresses and at others that
    /// reached it before, the most promising first. Addresses that failed lately wait for their back-off. The result is
    /// `.connected` or `.dialFailed`. `mayBeLocal`: the peer is of this machine's own network, or the user or an invite names
    /// it. Of others, names that lead to this machine or its network are not followed unless the whole network is local:
    /// else any stranger could have this node knock there.
    package func dial(_ peer: PeerID, at addresses: [Multiaddr], mayBeLocal: Bool = false) {
        guard state == .running, entries[peer] == nil, peer != peerID else { return }
        book.learn(addresses, of: peer)
        vouchedHosts = nil
        if wantedDials[peer] == nil, wantedDials.count >= Self.wantedDialsMax {
            return emit(.dialFailed(peer, reason: "too many peers wait to be dialed"))
        }
        wantedDials[peer, default: WantedDial()].mayBeLocal = mayBeLocal || wantedDials[peer]?.mayBeLocal == true
        startWantedDials(at: Loop.now)
    }

    /// What this host knows about where peers are; to be kept for the next run.
    package func addressBook() -> AddressBook { book }

    /// Takes what an earlier run knew. Call before `start()`.
    package func adopt(_ book: AddressBook) {
        precondition(state == .idle, "an address book is adopted before the start")
        self.book = book
    }

    /// Starts every wanted dial whose time has come.
    func startWantedDials(at now: Moment) {
        for (peer, dial) in wantedDials where !dial.isRunning {
            guard let next = book.nextDial(of: peer) else {
                wantedDials[peer] = nil
                emit(.dialFailed(peer, reason: TransportError.unreachable([]).description))
                continue
            }
            guard next <= now, runningDials.count < limits.dialsAtOnceMax else { continue }
            wantedDials[peer]?.isRunning = true
            let addresses = book.ranked(peer, at: now, near: nearGroups).map { $0.encapsulating(p2p: peer) }
            startDial(of: peer, addresses) { result in self.wantedDialEnded(peer, result) }
        }
    }

    private func wantedDialEnded(_ peer: PeerID, _ result: Result<PeerID, TransportError>) {
        guard wantedDials.removeValue(forKey: peer) != nil, case .failure(let error) = result,
            entries[peer] == nil, state == .running
        else { return }
        emit(.dialFailed(peer, reason: error.description))
    }

    /// A connection to a peer is there, whoever dialed it: no further address of it is tried.
    func connectionMade(to peer: PeerID) {
        if wantedDials[peer]?.isRunning == false { wantedDials[peer] = nil }
        for dial in runningDials.values where dial.peer == peer { stopSeeking(dial) }
    }

    /// Whether names of a dial may lead to this machine and its own network.
    func mayBeLocal(_ dial: RunningDial) -> Bool {
        guard let peer = dial.peer, !isNetworkLocal else { return true }
        return wantedDials[peer]?.mayBeLocal == true
    }

    /// Whether the network is declared to be one of local addresses.
    package var isNetworkLocal: Bool { kademlia?.machine.configuration.isLocalNetwork == true }
}
