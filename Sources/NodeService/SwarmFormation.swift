import Checkpoint
import Compression
import Glibc
import PeerNet
import Swarm
import Tokenizing
import Transport

/// Forming, joining and leaving swarms: records what the daemon needs, then has it started.
package struct SwarmFormation: Sendable {
    private let home: NodeHome
    private var registry: SwarmRegistry { SwarmRegistry(home: home) }

    /// Works on a home; `new` and `join` make it first if needed.
    package init(home: NodeHome) { self.home = home }

    /// A swarm that this node is in now.
    package struct Membership: Sendable {
        /// The swarm's name.
        package var name: String
        /// The swarm id, hexadecimal.
        package var swarmID: String
        /// A line that lets others join, with this node as the way in; nil where this node cannot sign one.
        package var invite: NodeControl.InviteLine?
        /// Whether the node was already in it.
        package var wasMember: Bool
    }

    /// Forms a swarm by a specification and starts its first node.
    package func new(specificationPath: String?) async throws(UserError) -> Membership {
        do {
            var specification = SwarmSpecification()
            if let specificationPath {
                let bytes = try DurableFile.read(specificationPath, byteCountMax: 1 << 20)
                specification = try SwarmSpecification.parse(
                    try YAMLMapping.text(bytes, name: specificationPath), name: specificationPath)
            }
            try home.checkSocketPath()
            return try await makingHome {
                try registry.checkFree(for: nil)
                let identity = try home.loadOrCreateIdentity()
                let charter = specification.charter(
                    founder: identity.peerID, tokenizer: Digest(hashing: Tokenizer.bytes.tokenizerJSON))
                return try registry.activate(sealedCharter: try charter.sealed(by: identity), invite: nil)
            }
        } catch {
            throw UserError(wrapping: error)
        }
    }

    /// Joins a swarm: fetches its charter from a member, checks it, records it and starts the node.
    ///
    /// - Parameter text: an invite, whose addresses are tried; a swarm id, whose members are looked for on the local
    ///   network; nil: the one swarm that is open to anybody there.
    package func join(_ text: String?) async throws(UserError) -> Membership {
        do {
            try home.checkSocketPath()
            let invite: Invite
            if let text, !Self.isSwarmID(text) {
                invite = try Invite.parse(text)
            } else {
                invite = try await findInvite(to: text.flatMap { Digest(hexadecimal: $0) })
            }
            if home.isInitialized, try registry.activeID() == invite.swarmID {
                let record = try registry.active()
                if invite.credential != nil { try await replaceInvite(of: record, by: invite) }
                return try await membership(of: record, wasMember: true)
            }
            if home.isInitialized { try registry.checkFree(for: invite.swarmID) }
            let sealedCharter = try await fetchCharter(of: invite)
            return try await makingHome {
                try registry.checkFree(for: invite.swarmID)
                return try registry.activate(sealedCharter: sealedCharter, invite: invite.text)
            }
        } catch {
            throw UserError(wrapping: error)
        }
    }

    /// Stops the node and leaves its swarm.
    package func leave(deleting: Bool) async throws(UserError) -> Departure {
        do {
            guard home.isInitialized, let id = try registry.activeID() else {
                throw UserError("this node is in no swarm", cure: "Nothing needs to be left", exitCode: .unavailable)
            }
            let launcher = NodeLauncher(home: home)
            if await launcher.isRunning() { try await launcher.stop() }
            _ = try registry.deactivate(deleting: deleting)
            return Departure(swarmID: id.description, deleted: deleting)
        } catch {
            throw UserError(wrapping: error)
        }
    }

    /// A swarm that was left.
    package struct Departure: Sendable {
        /// The swarm id, hexadecimal.
        package var swarmID: String
        /// Whether its folder was deleted.
        package var deleted: Bool
    }

    /// Makes the home if needed, records a swarm there and starts the node in it; a failure leaves the home as it was.
    private func makingHome(_ activate: () throws -> SwarmRegistry.Record) async throws -> Membership {
        let claim = try HomeClaim(home)
        defer { claim.release() }
        do {
            try home.createFiles()
            return try await membership(of: try activate(), wasMember: false)
        } catch {
            claim.undo()
            throw error
        }
    }

    private func membership(of record: SwarmRegistry.Record, wasMember: Bool) async throws -> Membership {
        let launcher = NodeLauncher(home: home)
        if await !launcher.isRunning() { _ = try await launcher.start(port: nil) }
        let invite: NodeControl.InviteLine?
        do { invite = try await NodeControl(home: home).invite() } catch  where error.exitCode == .noPermission {
            invite = nil
        }
        return Membership(
            name: record.charter.name, swarmID: record.id.description, invite: invite, wasMember: wasMember)
    }

    /// A member may need a new invite: after its old one was revoked, say. The node shows it once started anew.
    private func replaceInvite(of record: SwarmRegistry.Record, by invite: Invite) async throws {
        try DurableFile.write(Array((invite.text + "\n").utf8), to: record.folder.invitePath)
        let launcher = NodeLauncher(home: home)
        if await launcher.isRunning() { try await launcher.stop() }
    }

    /// Whether a text is a swarm's id rather than an invite.
    private static func isSwarmID(_ text: String) -> Bool {
        text.utf8.count == 2 * Digest.byteCount && Digest(hexadecimal: text) != nil
    }

    /// Looks on the local network; what is found is an invite by the members' addresses.
    private func findInvite(to swarm: Digest?) async throws -> Invite {
        UserError.writeToStandardError("looking for a swarm on the local network\n")
        let found = try await asking(as: try identityForAsking()) {
            try await LocalSwarmSearch.find(swarm, through: $0)
        }
        return Invite(swarmID: found.swarmID, bootstrap: found.ways)
    }

    /// Asks the peers that an invite names for the swarm's charter; it is right if its digest is the swarm's id.
    private func fetchCharter(of invite: Invite) async throws -> [UInt8] {
        let identity = try identityForAsking()
        if let peer = invite.credential?.boundPeer, peer != identity.peerID {
            throw UserError(
                "the invite is for the node \(peer), this one is \(identity.peerID)",
                cure: "Use it there, or ask for an invite for this node", exitCode: .noPermission)
        }
        return try await asking(as: identity) { try await Self.askForCharter(invite, as: identity, through: $0) }
    }

    /// Runs `body` with a host that only dials.
    private func asking<Value: Sendable>(
        as identity: Identity, _ body: (PeerHost) async throws -> Value
    ) async throws -> Value {
        let networkKey = try home.isInitialized ? home.loadNetworkKey(home.loadConfiguration()) : nil
        let host = PeerHost(
            identity: identity,
            configuration: PeerHostConfiguration(
                listenAddresses: [], agentVersion: AtollVersion.agent, networkKey: networkKey))
        _ = try await host.start()
        do {
            let value = try await body(host)
            await host.stop()
            return value
        } catch {
            await host.stop()
            throw error
        }
    }

    /// The home's identity; where there is no home yet, one for this question: the node's own key is only made once there
    /// is a swarm to join, and what an invite lets in is the same for any key that it is not bound to.
    private func identityForAsking() throws -> Identity {
        if home.isInitialized { return try home.loadOrCreateIdentity() }
        var seed = [UInt8](repeating: 0, count: 32)
        guard getentropy(&seed, seed.count) == 0, let identity = Identity(seed: seed) else {
            throw UserError("the system gives no random bytes", cure: "Check /dev/urandom", exitCode: .unavailable)
        }
        return identity
    }

    private static func askForCharter(
        _ invite: Invite, as identity: Identity, through host: PeerHost
    ) async throws -> [UInt8] {
        let presentation = invite.credential?.presentation(of: identity, swarmID: invite.swarmID)
        let request = AdmissionRequest(swarmID: invite.swarmID, presentation: presentation ?? [])
        var reasons: [String] = []
        for address in invite.bootstrap {
            let peer: PeerID
            do { peer = try await host.connect(to: [address]) } catch {
                reasons.append("\(error)")
                continue
            }
            do {
                let bytes = try await host.request(
                    request.encoded, to: peer, on: AdmissionRequest.protocolName,
                    responseBytesMax: AdmissionRequest.answerByteCountMax)
                let answer = AdmissionRequest.Answer(bytes)
                if let found = try charter(in: answer, of: peer, invite) { return found }
                reasons.append("\(address): it is starting or stopping")
            } catch let error as RequestError {
                reasons.append("\(address): \(error)")
            }
        }
        throw UserError(
            "nobody that the invite names answers: \(reasons.joined(separator: "; "))",
            cure: "Check that the inviting node runs and can be reached, or ask for a new invite",
            exitCode: .unavailable)
    }

    /// The charter that a peer sent; nil where another may know more.
    private static func charter(
        in answer: AdmissionRequest.Answer?, of peer: PeerID, _ invite: Invite
    ) throws -> [UInt8]? {
        switch answer {
        case nil, .refused(.notYet)?: return nil
        case .otherSwarm?:
            throw UserError(
                "\(peer) is not in the swarm \(invite.swarmID.short) that the invite names",
                cure: "Ask for a new invite", exitCode: .badData)
        case .refused(let refusal)?:
            throw UserError("\(refusal)", cure: refusal.cure, exitCode: .noPermission)
        case .charter(let bytes)?:
            guard Charter.swarmID(ofSealed: bytes) == invite.swarmID else {
                throw UserError(
                    "\(peer) sent a charter that is not the invite's swarm", cure: "Ask someone else for an invite",
                    exitCode: .badData)
            }
            _ = try Charter.opened(bytes)
            return bytes
        }
    }
}
