/// The dialing side of AutoNAT v2, for all requests of a node: a pure state machine.
///
/// A stranger can make it dial, but only its own addresses for free: any other costs the stranger more bytes than the
/// dial costs whoever is dialed. What one peer, all peers, and all who name one target may ask in a minute is bounded, and
/// so is what this holds: a few words per counted request.
package struct AutoNATServer: Sendable {
    /// One dial-request stream.
    package struct RequestID: Hashable, Sendable { let value: UInt64 }

    /// What to do for a request, in order.
    package enum Action: Hashable, Sendable {
        /// Send this message.
        case send([UInt8])
        /// Dial this address on a fresh connection and send the nonce there; then call `dialed`.
        case dial(Multiaddr, nonce: UInt64)
        /// Close the stream; the request is over.
        case finish
        /// Reset the stream: the peer broke the protocol.
        case reset
    }

    private enum Phase: Sendable {
        case waiting
        case receivingData(index: Int, address: Multiaddr, nonce: UInt64, missing: Int)
        case dialing(index: Int)
    }

    private struct Request: Sendable {
        var peer: PeerID
        var observed: Multiaddr
        var phase = Phase.waiting
    }

    /// A request or dial that counts until it is a window old.
    private struct Counted<Key: Hashable & Sendable>: Sendable {
        var key: Key
        var moment: Moment
    }

    private let limits: AutoNATLimits
    private var requests: [RequestID: Request] = [:]
    private var lastID: UInt64 = 0
    private var counted: [Counted<PeerID>] = []
    private var dials: [Counted<IPGroup>] = []

    /// Starts with no request.
    package init(limits: AutoNATLimits) { self.limits = limits }

    /// Requests that are open.
    package var openCount: Int { requests.count }

    /// A peer whose socket shows the address `observed` opened a dial-request stream; nil if it, or all peers together,
    /// have too many open: reset the stream.
    package mutating func open(by peer: PeerID, observed: Multiaddr) -> RequestID? {
        let own = requests.values.count { $0.peer == peer }
        guard requests.count < limits.openMax, own < limits.openPerPeerMax else { return nil }
        lastID += 1
        let id = RequestID(value: lastID)
        requests[id] = Request(peer: peer, observed: observed)
        return id
    }

    /// Takes a message of the stream. `dataBytes`: what to ask for before a dial of another IP, drawn at random from
    /// `AutoNATLimits.dialDataBytes`.
    package mutating func receive(
        _ message: [UInt8], on id: RequestID, dataBytes: Int, at now: Moment
    ) -> [Action] {
        guard let request = requests[id] else { return [] }
        switch (request.phase, AutoNATMessage(decoding: message)) {
        case (.waiting, .dialRequest(let addresses, let nonce)?):
            return start(request, id, addresses, nonce, dataBytes: dataBytes, at: now)
        case (.receivingData(let index, let address, let nonce, let missing), .dialData(let byteCount)?):
            guard byteCount >= min(missing, AutoNATLimits.dialDataMessageBytesMin) else { break }
            if byteCount >= missing { return dial(id, request.peer, index, address, nonce) }
            requests[id]?.phase = .receivingData(
                index: index, address: address, nonce: nonce, missing: missing - byteCount)
            return []
        default: break
        }
        requests[id] = nil
        return [.reset]
    }

    private mutating func start(
        _ request: Request, _ id: RequestID, _ addresses: [Multiaddr?], _ nonce: UInt64, dataBytes: Int, at now: Moment
    ) -> [Action] {
        guard countRequest(of: request.peer, at: now) else { return end(id, .requestRejected) }
        guard let index = addresses.firstIndex(where: { $0.map { dials($0, for: request) } ?? false }),
            let address = addresses[index]
        else { return end(id, .dialRefused) }
        guard countDial(of: address, at: now) else { return end(id, .requestRejected) }
        if address.tcpEndpoint?.host == request.observed.tcpEndpoint?.host {
            return dial(id, request.peer, index, address, nonce)
        }
        let range = AutoNATLimits.dialDataBytes
        let byteCount = min(max(dataBytes, range.lowerBound), range.upperBound - 1)
        requests[id]?.phase = .receivingData(index: index, address: address, nonce: nonce, missing: byteCount)
        return [
            .send(AutoNATMessage.dialDataRequest(addressIndex: UInt64(index), byteCount: UInt64(byteCount)).encoded)
        ]
    }

    private mutating func dial(
        _ id: RequestID, _ peer: PeerID, _ index: Int, _ address: Multiaddr, _ nonce: UInt64
    ) -> [Action] {
        requests[id]?.phase = .dialing(index: index)
        return [.dial(address.encapsulating(p2p: peer), nonce: nonce)]
    }

    /// The dial that was asked for is over.
    package mutating func dialed(_ id: RequestID, _ status: AutoNATMessage.DialStatus) -> [Action] {
        guard case .dialing(let index)? = requests[id]?.phase else { return [] }
        return end(id, .ok, index: index, status)
    }

    /// The stream ended; what is under way for it no longer matters.
    package mutating func closed(_ id: RequestID) { requests[id] = nil }

    private mutating func end(
        _ id: RequestID, _ status: AutoNATMessage.ResponseStatus, index: Int = 0,
        _ dialStatus: AutoNATMessage.DialStatus = .unused
    ) -> [Action] {
        requests[id] = nil
        return [.send(AutoNATMessage.dialResponse(status, addressIndex: UInt64(index), dialStatus).encoded), .finish]
    }

    // MARK: Rules

    /// Whether this node dials an address for a request. Names are not resolved: whoever owns one chooses, at each
    /// question, which machine is dialed.
    private func dials(_ address: Multiaddr, for request: Request) -> Bool {
        guard address.isDialable, let host = address.tcpEndpoint?.host else { return false }
        if address.endsInPeerID, address.peerID != request.peer { return false }
        switch host {
        case .ip4: guard limits.dialsIP4 else { return false }
        case .ip6: guard limits.dialsIP6 else { return false }
        case .dns: return false
        }
        guard address.isLocal else { return true }
        return limits.localDials == .toRequester && host == request.observed.tcpEndpoint?.host
    }

    private mutating func countRequest(of peer: PeerID, at now: Moment) -> Bool {
        counted.removeAll { now - $0.moment >= limits.window }
        guard counted.count < limits.requestsMax, counted.count(where: { $0.key == peer }) < limits.requestsPerPeerMax
        else { return false }
        counted.append(Counted(key: peer, moment: now))
        return true
    }

    private mutating func countDial(of address: Multiaddr, at now: Moment) -> Bool {
        dials.removeAll { now - $0.moment >= limits.window }
        guard let group = address.ipGroup, dials.count(where: { $0.key == group }) < limits.dialsPerTargetMax
        else { return false }
        dials.append(Counted(key: group, moment: now))
        return true
    }
}
