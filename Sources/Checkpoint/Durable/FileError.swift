import Glibc

/// A file operation that the system refused, or a file whose bytes are not what was written.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, as a verb phrase: `write`, `open`, `rename`.
    package var operation: String
    /// The file or folder.
    package var path: String
    /// The system's error number; 0 when the contents are at fault.
    package var number: Int32
    /// What is wrong with the contents; empty when the system refused.
    package var detail: String

    /// The system refused with this error number.
    package init(_ operation: String, _ path: String, number: Int32) {
        self.operation = operation
        self.path = path
        self.number = number
        detail = ""
    }

    /// The system refused: takes `errno` as it stands.
    package init(_ operation: String, _ path: String) {
        self.init(operation, path, number: errno)
    }

    /// The contents are wrong.
    package init(_ operation: String, _ path: String, detail: String) {
        self.operation = operation
        self.path = path
        number = 0
        self.detail = detail
    }

    /// Cause and object in words.
    package var description: String {
        let cause = detail.isEmpty ? String(cString: strerror(number)) : detail
        return "cannot \(operation) \(path): \(cause)"
    }
}
