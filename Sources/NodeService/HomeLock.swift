import Checkpoint
import Glibc

/// The right to run a node in a home; held by the process that runs it, released when that ends however it ends.
struct HomeLock: ~Copyable {
    private let descriptor: Int32
    private let path: String

    /// Takes the lock, or says that another process has it.
    init(_ home: NodeHome) throws(UserError) {
        path = home.lockPath
        descriptor = try Self.acquire(home)
        // For people and testnets; the lock itself says whether the process lives.
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        _ = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }

    private static func acquire(_ home: NodeHome) throws(UserError) -> Int32 {
        while true {
            let descriptor = open(home.lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw UserError.system("create \(home.lockPath)", errno: errno) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let number = errno
                close(descriptor)
                throw number == EWOULDBLOCK ? taken(home) : UserError.system("lock \(home.lockPath)", errno: number)
            }
            // The holder before may have removed the file between the two calls: then the lock is one on nothing.
            var (held, named) = (stat(), stat())
            if fstat(descriptor, &held) == 0, stat(home.lockPath, &named) == 0, held.st_ino == named.st_ino {
                return descriptor
            }
            close(descriptor)
        }
    }

    static func taken(_ home: NodeHome) -> UserError {
        UserError("another node runs in \(home.path)", cure: "Stop it with atoll node stop", exitCode: .unavailable)
    }

    /// The process that runs the home's node; nil if none does.
    static func holder(_ home: NodeHome) throws(UserError) -> Int32? {
        guard try isHeld(home) else { return nil }
        do {
            let bytes = try DurableFile.read(home.lockPath, byteCountMax: 32)
            return Int32(String(decoding: bytes, as: UTF8.self).filter(\.isNumber))
        } catch { throw UserError(wrapping: error) }
    }

    deinit {
        // First the name, then the lock: whoever takes the lock in between finds that it is one on nothing.
        unlink(path)
        close(descriptor)
    }

    /// Whether some process holds the lock.
    static func isHeld(_ home: NodeHome) throws(UserError) -> Bool {
        let descriptor = open(home.lockPath, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) == 0 else { return true }
        return false
    }
}
