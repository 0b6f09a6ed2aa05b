import Checkpoint
import Compression
import Glibc
import PeerNet
import Swarm

/// The swarms that a home knows: their charters, and which one its node trains for.
package struct SwarmRegistry {
    private let home: NodeHome

    /// Works on a home.
    package init(home: NodeHome) { self.home = home }

    /// One swarm of a home.
    package struct Entry: Sendable {
        /// The swarm's name.
        package var name: String
        /// The swarm id, hexadecimal.
        package var swarmID: String
        /// Whether the node trains for it.
        package var isActive: Bool
    }

    /// All swarms of a home.
    package struct Listing: Sendable {
        /// By name.
        package var entries: [Entry]
    }

    /// A swarm that is recorded.
    struct Record {
        var id: Digest
        var charter: Charter
        var sealedCharter: [UInt8]
        var folder: SwarmFolder
        /// The branch that the node trains; nil: the one that the swarm started with.
        var branch: Branch?
    }

    /// How a node came into a swarm.
    struct Way {
        /// Whom to dial first.
        var bootstrap: [PeerAddresses] = []
        /// What it is let in by.
        var credential: Credential?
    }

    /// What the invite by which this node came says; nothing on the founder's.
    func way(into record: Record) -> Way {
        guard let bytes = try? DurableFile.read(record.folder.invitePath, byteCountMax: Invite.textBytesMax + 1),
            let invite = try? Invite.parse(String(decoding: bytes, as: UTF8.self))
        else { return Way() }
        let bootstrap = invite.bootstrap.compactMap { address in
            address.peerID.map { PeerAddresses(peer: $0, addresses: [address]) }
        }
        return Way(bootstrap: bootstrap, credential: invite.credential)
    }

    func folder(of id: Digest) -> SwarmFolder { SwarmFolder(path: "\(home.swarmsPath)/\(id)") }

    /// The swarms, by name.
    package func list() throws(UserError) -> Listing {
        try NodeHome.mapping {
            guard access(home.swarmsPath, F_OK) == 0 else { return Listing(entries: []) }
            let active = try activeID()
            let entries = try SystemFiles().list(home.swarmsPath).compactMap { Digest(hexadecimal: $0) }
                .map { id in Entry(name: try record(id).charter.name, swarmID: id.description, isActive: id == active) }
            return Listing(entries: entries.sorted { ($0.name, $0.swarmID) < ($1.name, $1.swarmID) })
        }
    }

    func activeID() throws -> Digest? {
        guard access(home.activeSwarmPath, F_OK) == 0 else { return nil }
        let text = String(decoding: try DurableFile.read(home.activeSwarmPath, byteCountMax: 100), as: UTF8.self)
        guard let id = Digest(hexadecimal: text.filter { !$0.isWhitespace }) else {
            throw UserError(
                "\(home.activeSwarmPath) is damaged: it holds no swarm id",
                cure: "Delete the file and join the swarm again; what the node holds of it is kept", exitCode: .badData)
        }
        return id
    }

    /// The swarm that the node trains for.
    func active() throws -> Record {
        guard let id = try activeID() else {
            throw UserError(
                "this node is in no swarm",
                cure: "Form one with atoll swarm new, or join one with atoll swarm join INVITE",
                exitCode: .unavailable)
        }
        return try record(id)
    }

    private func record(_ id: Digest) throws -> Record {
        let folder = folder(of: id)
        return try folder.explainingDamage {
            let bytes = try DurableFile.read(folder.charterPath, byteCountMax: Limits.charterBytesMax)
            guard Digest(hashing: bytes) == id else {
                throw CheckpointError.damaged(path: folder.charterPath, reason: "its digest is not the swarm's id")
            }
            let branch = try Self.activeBranch(of: id, in: folder)
            return Record(
                id: id, charter: try Charter.opened(bytes), sealedCharter: bytes, folder: folder.of(branch: branch?.id),
                branch: branch)
        }
    }

    /// Refuses if the node trains for another swarm.
    func checkFree(for id: Digest?) throws {
        guard let active = try activeID(), active != id else { return }
        throw UserError(
            "this node already trains for the swarm \(active.short)",
            cure: "Leave it with atoll swarm leave, or give the other swarm a home of its own with --home",
            exitCode: .cannotCreate)
    }

    /// Records a swarm and makes it the active one, in that order, so that a crash leaves either nothing or a whole swarm.
    func activate(sealedCharter: [UInt8], invite: String?) throws -> Record {
        let id = Charter.swarmID(ofSealed: sealedCharter)
        let folder = folder(of: id)
        try createFolders(folder.path)
        if let invite { try DurableFile.write(Array((invite + "\n").utf8), to: folder.invitePath) }
        try DurableFile.write(sealedCharter, to: folder.charterPath)
        try DurableFile.write(Array((id.description + "\n").utf8), to: home.activeSwarmPath)
        return try record(id)
    }

    /// Makes no swarm active; deletes the folder if asked to.
    func deactivate(deleting: Bool) throws -> Digest {
        guard let id = try activeID() else {
            throw UserError("this node is in no swarm", cure: "Nothing needs to be left", exitCode: .unavailable)
        }
        try SystemFiles().removeFile(home.activeSwarmPath)
        if deleting { try removeTree(folder(of: id).path) }
        return id
    }
}

/// Deletes a folder with all that is in it; links are deleted, not followed.
func removeTree(_ path: String) throws(FileError) {
    let layer = SystemFiles()
    for name in try layer.list(path) {
        let entry = "\(path)/\(name)"
        var status = stat()
        guard lstat(entry, &status) == 0 else { throw FileError(.inspect, entry, errno: errno) }
        if status.st_mode & S_IFMT == S_IFDIR { try removeTree(entry) } else { try layer.removeFile(entry) }
    }
    try layer.removeFolder(path)
}
