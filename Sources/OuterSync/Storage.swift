package import Compression

/// Why a store could not do its work, in words that name cause and object.
package struct StorageFailure: Error, Hashable, Sendable {
    /// The cause.
    package var reason: String
    /// Wraps a cause.
    package init(reason: String) { self.reason = reason }
}

/// Content-addressed bytes, kept by the driver; the workshop reads payloads and writes its own here.
package protocol BlobStore {
    /// The bytes with this digest, or nil if they are not here.
    func read(_ digest: Digest) -> [UInt8]?
    /// Stores bytes durably before it returns, and gives their digest (`Digest(ofBlob: bytes)`).
    func write(_ bytes: [UInt8]) throws(StorageFailure) -> Digest
}

/// Keeps the current head of every fragment over a restart, and what this node's results have left over of their means.
package protocol HeadStore {
    /// Replaces the stored head of `fragment`, atomically and durably before it returns.
    func persist(_ head: FragmentHead, of fragment: FragmentIndex) throws(StorageFailure)
    /// Replaces the stored feedback of `fragment`, atomically and durably before it returns.
    func persist(feedback: [UInt8], of fragment: FragmentIndex) throws(StorageFailure)
    /// The stored feedback; nil where there is none of at most so many bytes. Its reader checks it.
    func feedback(of fragment: FragmentIndex, byteCountMax: Int) -> [UInt8]?
}
