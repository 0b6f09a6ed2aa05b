/// What a peer found when it was asked to dial this node.
package enum Reachability: Hashable, Sendable {
    /// A fresh connection to this address came in with the nonce.
    case reachable(Multiaddr)
    /// The peer could not connect to this address.
    case unreachable(Multiaddr)
    /// Nothing was learnt.
    case undecided(Reason)

    /// Why nothing was learnt.
    package enum Reason: String, Hashable, Sendable {
        /// The peer is asked too often.
        case rejected = "the peer is asked too often"
        /// The peer dials none of the addresses, as it must where they are private.
        case refused = "the peer does not dial such addresses"
        /// The peer says it failed.
        case failed = "the peer failed"
        /// The peer connected, but then the streams did not work.
        case dialBackFailed = "the peer connected, but could not go on"
        /// The peer says it succeeded, but nothing came in.
        case dialBackMissing = "the peer says that it connected, but nothing came in"
        /// The peer connected, but to another address than it says.
        case dialBackElsewhere = "the peer connected, but to another address than it says"
        /// The peer wants more bytes than anyone should.
        case tooMuchData = "the peer wants too many bytes"
        /// The peer broke the protocol.
        case violation = "the peer broke the protocol"
        /// The stream ended early, or the peer does not speak the protocol.
        case noAnswer = "the peer does not answer"
    }
}

/// The asking side of AutoNAT v2, for all requests of a node: a pure state machine.
///
/// Believed is only what came in with the nonce, and only for an address to which that connection can have come; a server's
/// bare word is not.
package struct AutoNATClient: Sendable {
    /// What to do next on a request's stream.
    package enum Step: Hashable, Sendable {
        /// Send these messages, in order.
        case send([[UInt8]])
        /// Close the stream; this is the result.
        case done(Reachability)
    }

    /// The connection on which a nonce came in, as this node's socket shows it.
    package struct DialBack: Hashable, Sendable {
        /// This node's end.
        var local: Multiaddr?
        /// The peer's end.
        var remote: Multiaddr

        /// Wraps the fields.
        package init(local: Multiaddr?, remote: Multiaddr) {
            self.local = local
            self.remote = remote
        }

        /// Whether a dial of `address` can have become this connection. A router may have translated address and port, so an
        /// own address on this end proves nothing; but the family stays, what is not translated is the same, and a peer on
        /// the local network does not show what the outside sees.
        func canShow(_ address: Multiaddr) -> Bool {
            guard let (dialed, port) = address.tcpEndpoint, let (own, ownPort) = local?.tcpEndpoint else {
                return false
            }
            switch (dialed, own) {
            case (.ip4, .ip4), (.ip6, .ip6), (.dns, _): break
            case (.ip4, _), (.ip6, _): return false
            }
            if dialed == own { return port == ownPort }
            return address.isLocal || !remote.isLocal
        }
    }

    private struct Check: Sendable {
        var addresses: [Multiaddr]
        var hasSentData = false
        var dialBacks: [DialBack] = []
    }

    private var checks: [UInt64: Check] = [:]

    /// Starts with no request.
    package init() {}

    /// Starts a request for `addresses`, the most wanted first; gives its first message, or nil where too many requests
    /// are under way, the nonce is in use, or there is no address.
    package mutating func begin(_ addresses: [Multiaddr], nonce: UInt64) -> [UInt8]? {
        guard checks.count < AutoNATLimits.checksMax, checks[nonce] == nil, !addresses.isEmpty else { return nil }
        let addresses = Array(addresses.prefix(AutoNATLimits.addressesMax))
        let message = AutoNATMessage.dialRequest(addresses: addresses, nonce: nonce).encoded
        guard message.count <= AutoNATLimits.messageBytesMax else { return nil }
        checks[nonce] = Check(addresses: addresses)
        return message
    }

    /// Takes a message of the request's stream.
    package mutating func receive(_ message: [UInt8], for nonce: UInt64) -> Step {
        guard let check = checks[nonce] else { return .done(.undecided(.noAnswer)) }
        switch AutoNATMessage(decoding: message) {
        case .dialDataRequest(let index, let byteCount)?:
            guard index < check.addresses.count, !check.hasSentData else { break }
            guard byteCount < UInt64(AutoNATLimits.dialDataBytes.upperBound) else {
                return end(nonce, .undecided(.tooMuchData))
            }
            checks[nonce]?.hasSentData = true
            let count = (Int(byteCount) + AutoNATLimits.dialDataMessageBytes - 1) / AutoNATLimits.dialDataMessageBytes
            // All of one size: the server allows the last to be more than is missing.
            let data = AutoNATMessage.dialData(byteCount: AutoNATLimits.dialDataMessageBytes).encoded
            return .send(Array(repeating: data, count: count))
        case .dialResponse(let status, let index, let dialStatus)?:
            switch status {
            case .requestRejected: return end(nonce, .undecided(.rejected))
            case .dialRefused: return end(nonce, .undecided(.refused))
            case .internalError: return end(nonce, .undecided(.failed))
            case .ok:
                guard index < check.addresses.count else { break }
                return end(nonce, Self.result(of: check, at: check.addresses[Int(index)], dialStatus))
            }
        case .dialRequest?, .dialData?, nil: break
        }
        return end(nonce, .undecided(.violation))
    }

    private static func result(
        of check: Check, at address: Multiaddr, _ status: AutoNATMessage.DialStatus
    ) -> Reachability {
        switch status {
        case .ok, .dialBackError:
            if check.dialBacks.contains(where: { $0.canShow(address) }) { return .reachable(address) }
            guard check.dialBacks.isEmpty else { return .undecided(.dialBackElsewhere) }
            return .undecided(status == .ok ? .dialBackMissing : .dialBackFailed)
        case .dialError: return check.dialBacks.isEmpty ? .unreachable(address) : .undecided(.violation)
        case .unused: return .undecided(.violation)
        }
    }

    /// The request's stream ended before a result.
    package mutating func ended(_ nonce: UInt64) -> Reachability {
        checks.removeValue(forKey: nonce) == nil ? .undecided(.violation) : .undecided(.noAnswer)
    }

    private mutating func end(_ nonce: UInt64, _ result: Reachability) -> Step {
        checks[nonce] = nil
        return .done(result)
    }

    /// Takes the message of a dial-back stream; gives the answer to it, or nil for what must be discarded: a nonce that
    /// is not of an open request, or one on a connection that this node dialed and that so proves nothing.
    package mutating func receiveDialBack(
        _ message: [UInt8], on connection: DialBack, isOutbound: Bool
    ) -> [UInt8]? {
        guard !isOutbound, let nonce = AutoNATDialBack.nonce(of: message), let check = checks[nonce],
            check.dialBacks.count < Self.dialBacksMax
        else { return nil }
        checks[nonce]?.dialBacks.append(connection)
        return AutoNATDialBack.response
    }

    /// Connections that are remembered of one request; a server makes one.
    private static let dialBacksMax = 4
}
