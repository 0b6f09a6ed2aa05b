import Glibc

/// A file operation that the system refused.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried.
    package enum Operation: String, Hashable, Sendable {
        case create, open, read, write, sync, rename, remove, list, truncate, lock
        case createFolder = "create the folder"
        case inspect
    }

    /// What was tried.
    package var operation: Operation
    /// On what.
    package var path: String
    /// The system's reason.
    package var reason: SystemErrorNumber

    /// Wraps the three.
    package init(_ operation: Operation, _ path: String, errno number: Int32) {
        self.operation = operation
        self.path = path
        reason = SystemErrorNumber(number)
    }

    /// Operation, path, reason and the name of the error number.
    package var description: String { "cannot \(operation.rawValue) \(path): \(reason)" }

    /// What a person can do about it.
    package var cure: String { reason.cure }
}

/// A value of `errno`, with its name, its meaning and what a person can do about it.
package struct SystemErrorNumber: Hashable, Sendable, CustomStringConvertible {
    /// The number.
    package let number: Int32

    /// Wraps a value of `errno`.
    package init(_ number: Int32) { self.number = number }

    /// The meaning and the name: `no space left on device (ENOSPC)`.
    package var description: String { "\(explanation.meaning) (\(explanation.name))" }

    /// The name: `ENOSPC`.
    package var name: String { explanation.name }

    /// What a person can do about it.
    package var cure: String { explanation.cure }

    private var explanation: (name: String, meaning: String, cure: String) {
        switch number {
        case ENOENT: ("ENOENT", "no such file or folder", "Check the path")
        case EACCES: ("EACCES", "permission denied", "Check the owner and mode of the path")
        case EPERM: ("EPERM", "operation not permitted", "Check the owner and mode of the path")
        case EROFS: ("EROFS", "read-only file system", "Choose a path on a writable file system")
        case ENOSPC: ("ENOSPC", "no space left on device", "Free some space, or choose another disk, and run again")
        case EDQUOT: ("EDQUOT", "disk quota exceeded", "Free some space, or choose another disk, and run again")
        case EFBIG: ("EFBIG", "file too large", "Raise the file size limit (ulimit -f), or choose another disk")
        case EEXIST: ("EEXIST", "it exists already", "Choose another path, or move the old one away")
        case ENOTEMPTY: ("ENOTEMPTY", "the folder is not empty", "Choose another path, or move the old one away")
        case ENOTDIR: ("ENOTDIR", "a part of the path is not a folder", "Check the path")
        case EISDIR: ("EISDIR", "it is a folder", "Name a file")
        case ELOOP: ("ELOOP", "too many symbolic links", "Check the path for links that point at each other")
        case ENAMETOOLONG: ("ENAMETOOLONG", "the name is too long", "Choose a shorter path")
        case EXDEV: ("EXDEV", "the path is a mount point", "Name a folder inside it")
        case EBUSY: ("EBUSY", "it is in use", "Name a folder that is not a mount point, or end what uses it")
        case EMFILE: ("EMFILE", "too many open files", "Raise the limit (ulimit -n)")
        case ENFILE: ("ENFILE", "too many open files in the system", "Close other programs")
        case ENOMEM: ("ENOMEM", "out of memory", "Free some memory and run again")
        case EWOULDBLOCK: ("EWOULDBLOCK", "another process holds it", "End the other process first")
        case EIO: ("EIO", "input/output error", "Check the device (dmesg)")
        case EADDRINUSE: ("EADDRINUSE", "address already in use", "Choose another port, or end what uses it")
        default: ("errno \(number)", String(cString: strerror(number)), "Look the error up in errno(3)")
        }
    }
}

extension SystemErrorNumber {
    /// The output exists already and is not a folder.
    package static let exists = SystemErrorNumber(EEXIST)
    /// The output folder is in use.
    package static let notEmpty = SystemErrorNumber(ENOTEMPTY)
    /// More bytes than the format takes.
    static let tooBig = SystemErrorNumber(EFBIG)
}
