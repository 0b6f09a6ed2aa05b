import Checkpoint
import Glibc
import PeerNet

/// A private network's key file.
package struct NetworkKeyFile: Sendable {
    /// Where it is.
    package var path: String

    /// Writes a fresh key, readable by its owner only; an existing file is never replaced.
    package static func create(_ path: String) throws(UserError) -> NetworkKeyFile {
        guard access(path, F_OK) != 0 else {
            throw UserError(
                "\(path) exists", cure: "Choose another name: whoever has the old key needs it", exitCode: .cannotCreate
            )
        }
        var bytes = [UInt8](repeating: 0, count: 32)
        guard getentropy(&bytes, bytes.count) == 0, let key = NetworkKey(bytes: bytes) else {
            throw UserError("the system gives no random bytes", cure: "Check /dev/urandom", exitCode: .unavailable)
        }
        return try NodeHome.mapping {
            try DurableFile.write(Array(key.file.utf8), to: path, isPrivate: true)
            return NetworkKeyFile(path: path)
        }
    }
}

extension NodeHome {
    /// The key of the private network that the configuration names; a relative path is one of the home.
    func loadNetworkKey(_ configuration: NodeConfiguration) throws -> NetworkKey? {
        guard let name = configuration.privateNetwork else { return nil }
        let keyPath = name.hasPrefix("/") ? name : "\(path)/\(name)"
        let bytes = try DurableFile.read(keyPath, byteCountMax: NetworkKey.fileBytesMax)
        do { return try NetworkKey(file: bytes) } catch {
            throw UserError(
                "\(keyPath) is no key of a private network: \(error)",
                cure: "Make one with atoll swarm key, or copy the file of another member", exitCode: .badData)
        }
    }
}
