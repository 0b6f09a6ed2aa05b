import Checkpoint
import Glibc
import OuterSync

/// What one node keeps of one swarm, under `swarms/<id>` of its home.
struct SwarmFolder: Sendable {
    /// The folder's path.
    let path: String
    /// Where rounds, heads and the local snapshot of one branch are: the folder itself for the first one.
    let branchPath: String

    /// Names the folder; nothing is created.
    ///
    /// - Parameter branch: the id of a branch; nil: the one that the swarm started with.
    init(path: String, branch: String? = nil) {
        self.path = path
        branchPath = branch.map { "\(path)/branches/\($0)" } ?? path
    }

    /// The folder for another branch.
    func of(branch: String?) -> SwarmFolder { SwarmFolder(path: path, branch: branch) }

    /// The signed charter, byte for byte.
    var charterPath: String { "\(path)/charter" }
    /// The invite by which this node came; absent on the founder's.
    var invitePath: String { "\(path)/invite" }
    /// Peers, records of who may take part, of branches and of experts; slots and final commits of the first branch.
    var membersPath: String { "\(path)/journal" }
    /// Slots and final commits of the branch.
    var journalPath: String { "\(branchPath)/journal" }
    /// The signed record of the branch; absent for the first one.
    var branchRecordPath: String { "\(branchPath)/record" }
    /// The id of the branch that the node trains; absent for the first one.
    var activeBranchPath: String { "\(path)/branch" }
    /// The files of experts and the starts of branches, content-addressed.
    var libraryPath: String { "\(path)/library" }
    /// Where checkpoints are written before they become blobs.
    var scratchPath: String { "\(path)/scratch" }
    /// Where peers were reached before.
    var peersPath: String { "\(path)/peers" }
    /// The local snapshot: live values, optimizer state, cursor, progress.
    var statePath: String { "\(branchPath)/state" }
    /// One line of JSON per event.
    var runLogPath: String { "\(branchPath)/run.jsonl" }
    /// The content-addressed payloads and snapshot tiles.
    var blobsPath: String { "\(branchPath)/blobs" }

    /// Runs `body`; a damaged file of this folder becomes an error that says how the node gets on without it.
    func explainingDamage<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch CheckpointError.damaged(let file, let reason) where file.hasPrefix(path) {
            let cure =
                file == statePath
                ? "Delete the file: the node then goes on from the swarm's heads"
                : "Give this copy up with atoll swarm leave --delete, then join the swarm again"
            throw UserError("\(file) is damaged: \(reason)", cure: cure, exitCode: .badData)
        }
    }

    /// The current heads.
    func heads(layout: FragmentLayout) -> HeadFolder { HeadFolder(path: "\(branchPath)/heads", layout: layout) }
}

/// The current head of every fragment, one file each, and beside it what this node's results have left over.
struct HeadFolder: HeadStore, Sendable {
    /// The folder's path.
    let path: String
    /// How the model is cut.
    let layout: FragmentLayout

    /// Creates the folder.
    func create() throws(FileError) { try createFolders(path) }

    private func file(_ fragment: FragmentIndex) -> String { "\(path)/\(fragment.value)" }

    func persist(_ head: FragmentHead, of fragment: FragmentIndex) throws(StorageFailure) {
        guard let shape = layout.fragment(fragment) else {
            throw StorageFailure(reason: "no fragment \(fragment.value)")
        }
        do throws(FileError) {
            try DurableFile.write(head.encoded(fragment: shape), to: file(fragment))
        } catch {
            throw StorageFailure(reason: error.description)
        }
    }

    private func feedbackFile(_ fragment: FragmentIndex) -> String { "\(file(fragment)).feedback" }

    func persist(feedback: [UInt8], of fragment: FragmentIndex) throws(StorageFailure) {
        do throws(FileError) { try DurableFile.write(feedback, to: feedbackFile(fragment)) } catch {
            throw StorageFailure(reason: error.description)
        }
    }

    /// A file that cannot be read is as good as none: the owner's feedback then begins from nothing, as it says.
    func feedback(of fragment: FragmentIndex, byteCountMax: Int) -> [UInt8]? {
        guard access(feedbackFile(fragment), F_OK) == 0 else { return nil }
        return try? DurableFile.read(feedbackFile(fragment), byteCountMax: byteCountMax)
    }

    /// The stored head; nil if none was stored yet. A damaged file is an error.
    func load(_ fragment: FragmentLayout.Fragment) throws -> FragmentHead? {
        let bytesMax = 64 + fragment.parameterCount * 8 + fragment.tiles.count * 64 + (1 << 20)
        let path = file(fragment.index)
        guard access(path, F_OK) == 0 else { return nil }
        guard let head = FragmentHead(decoding: try DurableFile.read(path, byteCountMax: bytesMax), fragment: fragment)
        else {
            throw CheckpointError.damaged(path: path, reason: "it is torn, or of another model")
        }
        return head
    }
}

/// Creates a folder and its parents; existing ones are fine.
func createFolders(_ path: String, layer: any FileLayer = SystemFiles()) throws(FileError) {
    var status = stat()
    if stat(path, &status) == 0 {
        guard status.st_mode & S_IFMT == S_IFDIR else { throw FileError(.createFolder, path, errno: ENOTDIR) }
        return
    }
    let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    if parent != path { try createFolders(parent, layer: layer) }
    do {
        try layer.createFolder(path)
    } catch  where error.reason.number == EEXIST {
        return
    }
    let descriptor = try layer.open(parent, .folder)
    defer { layer.close(descriptor) }
    try layer.sync(descriptor, path: parent)
}
