import Checkpoint
import Glibc

/// One command's claim on a home while it makes it or changes its swarm: no other command does so at the same time, and
/// what a command that fails has made there can be removed again.
struct HomeClaim {
    private let home: NodeHome
    private let descriptor: Int32
    /// Folders that the claim itself made, the innermost first.
    private let madeFolders: [String]
    /// What the home and its `swarms` held before.
    private let names: Set<String>
    private let swarms: Set<String>

    /// Makes the home's folder where it is missing and takes the claim; `release` gives it back.
    init(_ home: NodeHome) throws {
        self.home = home
        var missing: [String] = []
        var path = home.path[...]
        while access(String(path), F_OK) != 0, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            missing.append(String(path))
            path = path[..<slash]
        }
        try createFolders(home.path)
        descriptor = open(home.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(.open, home.path, errno: errno) }
        // File systems without locks on folders go without this protection.
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            close(descriptor)
            throw UserError(
                "another atoll command is at work in \(home.path)", cure: "Wait for its end and run this one again",
                exitCode: .temporaryFailure)
        }
        names = Set(try SystemFiles().list(home.path))
        swarms = Set((try? SystemFiles().list(home.swarmsPath)) ?? [])
        // Somebody who was faster has put something into the folder: then it is not this command's to remove.
        madeFolders = names.isEmpty ? missing : []
    }

    /// Removes, as far as that is possible, what was not there when the claim was taken; a running node keeps its home.
    func undo() {
        guard (try? HomeLock.isHeld(home)) == false else { return }
        for name in (try? SystemFiles().list(home.swarmsPath)) ?? [] where !swarms.contains(name) {
            try? removeTree("\(home.swarmsPath)/\(name)")
        }
        for name in (try? SystemFiles().list(home.path)) ?? [] where !names.contains(name) {
            let entry = "\(home.path)/\(name)"
            if name == "swarms" { try? removeTree(entry) } else { try? SystemFiles().removeFile(entry) }
        }
        // A folder that is not empty stays.
        for folder in madeFolders { rmdir(folder) }
    }

    /// Lets other commands at the home.
    func release() { close(descriptor) }
}
