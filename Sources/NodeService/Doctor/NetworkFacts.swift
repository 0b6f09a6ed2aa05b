import JSONText
import PeerNet

/// What a host has learnt from its peers about itself: the running node's answer to the doctor, or the doctor's own.
struct NetworkFacts: Equatable, Sendable {
    /// What one peer says.
    struct Peer: Equatable, Sendable {
        var peerID: String
        /// Where it can be dialed.
        var addresses: [String]
        var agent: String
        var protocolVersion: String
        /// The protocols of atoll that it speaks.
        var protocols: [String]
        /// Its clock minus ours and the uncertainty of that, in seconds; nil if it does not tell.
        var clockOffset: Double?
        var clockUncertainty: Double?
    }

    /// One peer's attempt to reach one of our addresses.
    struct Check: Equatable, Sendable {
        enum Result: String, Sendable { case reachable, unreachable, undecided }
        var address: String
        var peerID: String
        var result: Result
        /// Why it is undecided.
        var reason: String
    }

    /// The version of the program that collected this.
    var version: String
    /// The addresses that peers are told.
    var addresses: [String]
    var peers: [Peer]
    var checks: [Check]
    /// Why the disk takes nothing now.
    var diskProblem: String?

    var json: JSONValue {
        [
            "version": .text(version), "addresses": .array(addresses.map(JSONValue.text)),
            "peers": .array(
                peers.map { peer in
                    [
                        "peer_id": .text(peer.peerID), "addresses": .array(peer.addresses.map(JSONValue.text)),
                        "agent": .text(peer.agent), "protocol_version": .text(peer.protocolVersion),
                        "protocols": .array(peer.protocols.map(JSONValue.text)),
                        "clock_offset_seconds": peer.clockOffset.map(JSONValue.number) ?? .null,
                        "clock_uncertainty_seconds": peer.clockUncertainty.map(JSONValue.number) ?? .null,
                    ]
                }),
            "checks": .array(
                checks.map { check in
                    [
                        "address": .text(check.address), "peer_id": .text(check.peerID),
                        "result": .text(check.result.rawValue), "reason": .text(check.reason),
                    ]
                }),
            "disk_problem": diskProblem.map(JSONValue.text) ?? .null,
        ]
    }

    init(
        version: String = AtollVersion.text, addresses: [String] = [], peers: [Peer] = [], checks: [Check] = [],
        diskProblem: String? = nil
    ) {
        self.version = version
        self.addresses = addresses
        self.peers = peers
        self.checks = checks
        self.diskProblem = diskProblem
    }

    /// Reads back what `json` gave; nil if a field is missing or of another kind.
    init?(json: JSONValue) {
        func texts(_ value: JSONValue?) -> [String]? { value?.array.map { $0.compactMap { $0.string?.string } } }
        guard let object = json.object, let version = object["version"]?.string?.string,
            let addresses = texts(object["addresses"]), let peers = object["peers"]?.array,
            let checks = object["checks"]?.array
        else { return nil }
        self.version = version
        self.addresses = addresses
        self.peers = peers.compactMap { value in
            guard let entry = value.object, let peerID = entry["peer_id"]?.string?.string,
                let addresses = texts(entry["addresses"]), let agent = entry["agent"]?.string?.string,
                let protocolVersion = entry["protocol_version"]?.string?.string,
                let protocols = texts(entry["protocols"])
            else { return nil }
            return Peer(
                peerID: peerID, addresses: addresses, agent: agent, protocolVersion: protocolVersion,
                protocols: protocols, clockOffset: entry["clock_offset_seconds"]?.double,
                clockUncertainty: entry["clock_uncertainty_seconds"]?.double)
        }
        self.checks = checks.compactMap { value in
            guard let entry = value.object, let address = entry["address"]?.string?.string,
                let peerID = entry["peer_id"]?.string?.string,
                let result = (entry["result"]?.string?.string).flatMap(Check.Result.init(rawValue:)),
                let reason = entry["reason"]?.string?.string
            else { return nil }
            return Check(address: address, peerID: peerID, result: result, reason: reason)
        }
        diskProblem = object["disk_problem"]?.string?.string
    }

    /// The contacts at which peers can be dialed again.
    var contacts: [PeerContact] {
        peers.compactMap { peer in
            guard let peerID = try? PeerID(peer.peerID) else { return nil }
            let addresses = peer.addresses.compactMap { try? Multiaddr($0) }.filter { $0.tcpEndpoint != nil }
            return addresses.isEmpty ? nil : PeerContact(peer: peerID, addresses: addresses)
        }
    }
}
