import Compression
import Glibc
import JSONText
import PeerNet
import Swarm

/// What the node's owner may have signed about who takes part, and what newcomers ask.
extension NodeDaemon {
    /// Whether a peer may be given anything of the swarm.
    func mayServe(_ peer: PeerID) -> Bool { core.mayServe(peer) }

    /// Seconds of Unix time.
    static var unixTime: UInt64 { UInt64(clamping: time(nil)) }

    /// The charter for whoever would be let in, else the reason. Nothing is kept and no use is counted.
    func answer(_ request: AdmissionRequest, from peer: PeerID) -> AdmissionRequest.Answer {
        guard request.swarmID == setup.swarmID else { return .otherSwarm }
        if let refusal = core.refusal(of: request.presentation, by: peer) { return .refused(refusal) }
        return .charter(setup.sealedCharter)
    }

    /// An invite with this node as the way in; where the charter asks for it, with a capability.
    func invite(_ question: JSONObject) -> JSONValue {
        let hasLimits = question["uses"] != nil || question["seconds"] != nil || question["peer"] != nil
        var invite = Invite(
            swarmID: setup.swarmID,
            bootstrap: listenAddresses.prefix(Invite.bootstrapMax).map {
                $0.encapsulating(p2p: setup.identity.peerID)
            })
        guard setup.charter.admission == .invite else {
            guard !hasLimits else { return Self.refusal(IssuingError.notByInvite) }
            return ["invite": .text(invite.text)]
        }
        do {
            var seed = [UInt8](repeating: 0, count: 32)
            guard getentropy(&seed, seed.count) == 0 else {
                return ["error": "the system gives no random bytes", "cure": "Check /dev/urandom"]
            }
            let peer = try Self.peer(question["peer"])
            // A command may come before the node's first moment.
            handle(.clock(Self.unixTime))
            let credential = try core.issue(
                to: peer.map { .peer($0) } ?? .secret(seed), uses: try Self.uses(question),
                seconds: Self.seconds(question), at: clock.now)
            invite.credential = credential
            return [
                "invite": .text(invite.text), "serial": .text("\(credential.serial)"),
                "uses": .integer(Int64(credential.uses)), "expires": .integer(Int64(clamping: credential.expires)),
            ]
        } catch {
            return Self.refusal(error)
        }
    }

    /// Lets a member issue invites.
    func delegate(_ question: JSONObject) -> JSONValue {
        do throws(IssuingError) {
            guard let peer = try Self.peer(question["delegate"]) else { throw IssuingError.range("no peer is named") }
            let uses = try Self.uses(question)
            let seconds = Self.seconds(question)
            var serial: CapabilitySerial?
            try administer { (core, now, outputs) throws(IssuingError) in
                serial = try core.delegate(to: peer, uses: uses, seconds: seconds, at: now, into: &outputs)
            }
            return [
                "delegate": .text("\(peer)"), "serial": .text(serial.map { "\($0)" } ?? ""),
                "uses": .integer(Int64(uses)), "expires": .integer(Int64(clamping: Self.unixTime + seconds)),
            ]
        } catch {
            return Self.refusal(error)
        }
    }

    /// Ends an invite, a delegation or a membership.
    func revoke(_ target: String) -> JSONValue {
        do throws(IssuingError) {
            if let serial = CapabilitySerial(target) {
                try administer { (core, now, outputs) throws(IssuingError) in
                    try core.revoke(serial, at: now, into: &outputs)
                }
                return ["revoked": .text("\(serial)"), "kind": "serial"]
            }
            guard let peer = try Self.peer(.text(target)) else { throw IssuingError.range("no peer is named") }
            try administer { (core, now, outputs) throws(IssuingError) in
                try core.revoke(peer, at: now, into: &outputs)
            }
            return ["revoked": .text("\(peer)"), "kind": "peer"]
        } catch {
            return Self.refusal(error)
        }
    }

    private static func peer(_ value: JSONValue?) throws(IssuingError) -> PeerID? {
        guard let text = value?.string?.string else { return nil }
        guard let peer = try? PeerID(text) else { throw .range("'\(text)' is no peer id") }
        return peer
    }

    private static func uses(_ question: JSONObject) throws(IssuingError) -> UInt32 {
        guard let uses = question["uses"]?.integer else { return 1 }
        guard let uses = UInt32(exactly: uses) else { throw .range("an invite cannot have \(uses) uses") }
        return uses
    }

    /// A week, unless said otherwise.
    private static func seconds(_ question: JSONObject) -> UInt64 {
        question["seconds"]?.integer.map { UInt64(clamping: $0) } ?? 7 * 86_400
    }

    private static func refusal(_ error: IssuingError) -> JSONValue {
        let cure: String
        let code: UserError.ExitCode
        switch error {
        case .notByInvite:
            (cure, code) = (
                "Leave --uses, --expires, --peer and --delegate out; 'admission: invite' in the specification of a new swarm asks for them",
                .usage
            )
        case .notAnIssuer:
            (cure, code) = ("Ask the founder, who can make this node a delegate with --delegate", .noPermission)
        case .notTheFounder: (cure, code) = ("Run this on the founder's node", .noPermission)
        case .range, .founder: (cure, code) = ("Correct the flag", .usage)
        case .noNews: (cure, code) = ("Nothing needs to be done", .usage)
        }
        return [
            "error": .text("\(error)"), "cure": .text(cure), "exit_code": .integer(Int64(code.rawValue)),
        ]
    }
}
