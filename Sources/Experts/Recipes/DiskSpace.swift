import Checkpoint
import Glibc

/// Whether a folder's disk has room for an output.
enum DiskSpace {
    /// Throws unless the folder that will hold `path` has room for so many bytes.
    static func check(for path: String, byteCount: Int) throws(MergeError) {
        let parent = folder(of: path)
        var status = statvfs()
        guard statvfs(parent, &status) == 0 else { throw .checkpoint(.file(FileError(.inspect, parent, errno: errno))) }
        let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        guard overflow || free >= UInt64(byteCount) else {
            throw .noSpace(path: path, needed: byteCount, free: Int(clamping: free))
        }
    }

    /// The folder that holds a path.
    static func folder(of path: String) -> String {
        var bytes = Array(path.utf8)
        while bytes.count > 1 && bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
    }
}
