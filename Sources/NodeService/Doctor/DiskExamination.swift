import Checkpoint
import Glibc
import PeerNet
import Swarm

/// Looks at the disk of a home: room, and whether and how fast it takes what must be durable.
struct DiskExamination {
    /// What a node keeps of a swarm per parameter, in bytes: heads with their momentum (8) and one of them again while it
    /// is replaced (4), the local snapshot (12) and a second one while it is replaced (12), payloads of a few rounds (6).
    private static let bytesPerParameter: UInt64 = 42
    /// Room for journal and logs, and all that a node in no swarm needs.
    private static let bytesMin: UInt64 = 16 << 20
    /// What is written for a try.
    private static let probeByteCount = 4 << 20
    /// Longer than this for it, and saving takes a share of the training time that shows.
    private static let slowSeconds = 2.0

    let home: NodeHome
    let layer: any FileLayer

    /// Tries the disk, for a swarm whose model has so many parameters and whose folder is `swarmPath`.
    func findings(parameterCount: Int?, swarmPath: String?) -> [Finding] {
        guard access(home.path, F_OK) == 0 else { return [] }
        var disk = statvfs()
        guard statvfs(home.path, &disk) == 0 else {
            return [.fault(.disk, .system("look at the file system of \(home.path)", errno: errno))]
        }
        let free = UInt64(disk.f_bavail) &* UInt64(disk.f_frsize)
        let whole = UInt64(parameterCount ?? 0) * Self.bytesPerParameter
        let used = swarmPath.map { Self.byteCount(ofTree: $0, depth: 4) } ?? 0
        let needed = Self.bytesMin + (whole > used ? whole - used : 0)
        var findings: [Finding] = []
        let (have, want) = (NodeReport.bytes(free), NodeReport.bytes(needed))
        if disk.f_files > 0, disk.f_favail == 0 {
            findings.append(
                .fault(.disk, "the disk of \(home.path) has no room for another file", cure: "Delete some files"))
        }
        if free < needed {
            findings.append(
                .fault(
                    .disk, "the disk is full: \(have) are left for \(home.path), and the node needs \(want)",
                    cure: "Free some space, or move the home to a larger disk"))
        }
        switch tryWriting() {
        case .failure(let error): findings.append(.fault(.disk, UserError(wrapping: error)))
        case .success(let seconds):
            let took =
                "\(NodeReport.bytes(UInt64(Self.probeByteCount))) durable in "
                + "\(NodeReport.decimal(1000 * seconds, places: 0)) ms"
            if seconds > Self.slowSeconds {
                findings.append(
                    .warning(.disk, "the disk is slow: \(took)", cure: "Move the home to a faster disk"))
            } else if findings.isEmpty {
                findings.append(.ok(.disk, "\(have) left, \(want) needed; \(took)"))
            }
        }
        return findings
    }

    /// Writes a file as durably as everything that the node signs, and removes it.
    private func tryWriting() -> Result<Double, FileError> {
        let path = "\(home.path)/doctor.try"
        let clock = MonotonicClock()
        let start = clock.now
        do throws(FileError) {
            try DurableFile.write([UInt8](repeating: 0x5a, count: Self.probeByteCount), to: path, layer: layer)
            let seconds = (clock.now - start).inSeconds
            try layer.removeFile(path)
            return .success(seconds)
        } catch {
            return .failure(error)
        }
    }

    /// Bytes of the files below a folder; links are not followed.
    private static func byteCount(ofTree path: String, depth: Int) -> UInt64 {
        guard depth > 0, let names = try? SystemFiles().list(path) else { return 0 }
        return names.reduce(0) { sum, name in
            var status = stat()
            guard lstat("\(path)/\(name)", &status) == 0 else { return sum }
            if status.st_mode & S_IFMT == S_IFDIR {
                return sum + byteCount(ofTree: "\(path)/\(name)", depth: depth - 1)
            }
            return sum + UInt64(clamping: status.st_size)
        }
    }
}
