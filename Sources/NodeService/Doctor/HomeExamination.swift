import Checkpoint
import Glibc
import LanguageModel
import PeerNet
import Swarm

/// Looks at a node's home: who may touch it, and whether its files are what this version reads.
struct HomeExamination {
    private(set) var findings: [Finding] = []
    private(set) var configuration: NodeConfiguration?
    /// The key of the private network that the node is in; nil without one.
    private(set) var networkKey: NetworkKey?
    private(set) var record: SwarmRegistry.Record?
    /// Parameters of the active swarm's model; nil without a swarm.
    private(set) var parameterCount: Int?

    /// Reads everything and changes nothing.
    init(_ home: NodeHome) {
        guard home.isInitialized else {
            findings.append(.warning(.home, "\(home.path) is no node's home", cure: "Make one with atoll init"))
            return
        }
        checkAccess(home)
        var description = home.path
        findings += Self.problem { description += ", peer \(try home.loadOrCreateIdentity().peerID)" }
        findings += Self.problem {
            let loaded = try home.loadConfiguration()
            configuration = loaded
            networkKey = try home.loadNetworkKey(loaded)
        }
        findings += Self.problem {
            guard try SwarmRegistry(home: home).activeID() != nil else { return description += ", in no swarm" }
            let record = try SwarmRegistry(home: home).active()
            description += ", swarm \(record.charter.name)"
            parameterCount = ParameterLayout(try record.charter.model.configuration()).count
            self.record = record
        }
        if !findings.contains(where: { $0.level == .fault }) { findings.insert(.ok(.home, description), at: 0) }
    }

    /// Why `body` failed, if it did.
    private static func problem(_ body: () throws -> Void) -> [Finding] {
        do { try body() } catch { return [.fault(.home, UserError(wrapping: error))] }
        return []
    }

    private mutating func checkAccess(_ home: NodeHome) {
        var status = stat()
        guard stat(home.path, &status) == 0 else {
            return findings.append(.fault(.home, .system("look at \(home.path)", errno: errno)))
        }
        if status.st_uid != geteuid() {
            findings.append(
                .warning(
                    .home, "\(home.path) belongs to user \(status.st_uid), not to you",
                    cure: "Run as that user, or chown the folder"))
        }
        if status.st_mode & 0o022 != 0 {
            findings.append(
                .fault(.home, "others may write into \(home.path)", cure: "chmod go-w \(home.path)"))
        }
        guard stat(home.identityPath, &status) == 0 else {
            return findings.append(.fault(.home, .system("look at \(home.identityPath)", errno: errno)))
        }
        if status.st_mode & 0o077 != 0 {
            findings.append(
                .fault(
                    .home, "others may read the node's key \(home.identityPath), and so be the node",
                    cure: "chmod 600 \(home.identityPath); if somebody may have read it, begin a new home"))
        }
    }
}
