package import PeerNet

/// A failure of the environment: a socket, a name, a path.
package enum TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The port of a listen address is in use by another process.
    case addressInUse(Multiaddr)
    /// The system refused to listen.
    case cannotListen(Multiaddr, reason: String)
    /// Only `/ip4|ip6/…/tcp/…` can be listened on, and `/ip4|ip6|dns|dns4|dns6/…/tcp/…` dialed.
    case unsupportedAddress(Multiaddr)
    /// No address led to an authenticated connection; each reason names its address.
    case unreachable([String])
    /// The peer is not the one that the address names.
    case wrongPeer(expected: PeerID, found: PeerID)
    /// The host is not running.
    case stopped
    /// There is no connection to the peer.
    case notConnected(PeerID)
    /// A system call on a control socket failed: what was done, to which path, and the system's reason.
    case socket(operation: String, path: String, reason: String)
    /// Another process answers on this control socket.
    case controlSocketInUse(path: String)

    /// One line: what failed and why.
    package var description: String {
        switch self {
        case .addressInUse(let address): "\(address) is already in use"
        case .cannotListen(let address, let reason): "cannot listen on \(address): \(reason)"
        case .unsupportedAddress(let address):
            "\(address) is not an address that this node can use (ip or dns, then tcp)"
        case .unreachable(let reasons):
            reasons.isEmpty ? "no address to dial" : "no address answered: \(reasons.joined(separator: "; "))"
        case .wrongPeer(let expected, let found): "expected peer \(expected), found \(found)"
        case .stopped: "the host is stopped"
        case .notConnected(let peer): "not connected to \(peer)"
        case .socket(let operation, let path, let reason): "\(operation) \(path): \(reason)"
        case .controlSocketInUse(let path): "another process answers on \(path)"
        }
    }
}
