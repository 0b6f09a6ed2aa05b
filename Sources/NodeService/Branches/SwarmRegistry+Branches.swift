import Checkpoint
import Compression
import Glibc
import Swarm

/// Which branch the node of a home trains.
extension SwarmRegistry {
    /// The branch that was chosen; nil: the one that the swarm started with.
    static func activeBranch(of swarm: Digest, in folder: SwarmFolder) throws -> Branch? {
        guard access(folder.activeBranchPath, F_OK) == 0 else { return nil }
        let text = String(decoding: try DurableFile.read(folder.activeBranchPath, byteCountMax: 200), as: UTF8.self)
        let id = String(text.filter { !$0.isWhitespace })
        guard Branch.isID(id), id != Branch.main else {
            throw CheckpointError.damaged(path: folder.activeBranchPath, reason: "it holds no branch's id")
        }
        let path = folder.of(branch: id).branchRecordPath
        let bytes = try DurableFile.read(path, byteCountMax: 2 * Limits.recordBytesMax)
        guard let branch = try? Branch(bytes: bytes, swarmID: swarm), branch.id == id else {
            throw CheckpointError.damaged(path: path, reason: "it is not the branch's record")
        }
        return branch
    }

    /// Makes a branch the one that the node trains from its next start on; its record goes to disk first.
    static func choose(_ branch: Branch?, in folder: SwarmFolder) throws {
        guard let branch else {
            if access(folder.activeBranchPath, F_OK) == 0 { try SystemFiles().removeFile(folder.activeBranchPath) }
            return
        }
        let own = folder.of(branch: branch.id)
        try createFolders(own.branchPath)
        try DurableFile.write(branch.bytes, to: own.branchRecordPath)
        try DurableFile.write(Array((branch.id + "\n").utf8), to: folder.activeBranchPath)
    }
}
