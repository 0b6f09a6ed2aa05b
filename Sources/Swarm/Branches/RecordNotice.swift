import Compression
import PeerNet

/// What a node says it holds of branches and experts, and records on their way from one node to another.
struct RecordNotice: Hashable, Sendable {
    /// Which records the sender holds; nil: it only passes some on.
    var summary: RecordSummary?
    /// Not verified yet: a receiver checks the signatures of those only that it does not hold.
    var branches: [WireSigned] = []
    var experts: [WireSigned] = []

    init(summary: RecordSummary?) { self.summary = summary }
    init(_ branch: Branch) { branches = [branch.signed.message] }
    init(_ expert: Expert) { experts = [expert.signed.message] }

    /// The bytes on disk of a notice of one record.
    var bytes: [UInt8] { encode(message) }

    init(_ message: WireRecords) throws(Refusal) {
        guard message.branches.count + message.experts.count <= Limits.recordsPerMessageMax else {
            throw Refusal("a message holds too many records")
        }
        summary = message.summary.isEmpty ? nil : try RecordSummary(bytes: array(message.summary))
        branches = message.branches
        experts = message.experts
    }

    init(bytes: [UInt8]) throws(Refusal) { try self.init(try decode(WireRecords.self, bytes)) }

    var message: WireRecords {
        var message = WireRecords()
        if let summary { message.summary = wire(summary.bytes) }
        message.branches = branches
        message.experts = experts
        return message
    }

    /// A book in messages that each leave room for the envelope; the last one tells the summary.
    static func pages(of book: BranchBook) -> [RecordNotice] {
        var pages: [RecordNotice] = []
        var page = RecordNotice(summary: nil)
        var byteCount = 0
        func add<Content>(_ signed: Signed<Content>, to records: WritableKeyPath<RecordNotice, [WireSigned]>) {
            let count = signed.body.count + 128
            let isFull = page.branches.count + page.experts.count == Limits.recordsPerMessageMax
            if isFull || byteCount + count > Limits.messageBytesMax - 1_024 {
                pages.append(page)
                (page.branches, page.experts, byteCount) = ([], [], 0)
            }
            page[keyPath: records].append(signed.message)
            byteCount += count
        }
        for branch in book.sortedBranches { add(branch.signed, to: \.branches) }
        for expert in book.sortedExperts { add(expert.signed, to: \.experts) }
        page.summary = book.summary
        return pages + [page]
    }
}

/// Which records a node holds: the exclusive or of their keys. Whoever makes keys that cancel out hides records of its own
/// making, no others.
struct RecordSummary: Hashable, Sendable {
    private(set) var bytes = [UInt8](repeating: 0, count: Digest.byteCount)

    init() {}

    init(bytes: [UInt8]) throws(Refusal) {
        guard bytes.count == Digest.byteCount else { throw Refusal("a summary of records has another length") }
        self.bytes = bytes
    }

    /// Adds a record.
    mutating func add(_ key: Digest) {
        for (index, byte) in key.bytes.enumerated() { bytes[index] ^= byte }
    }
}
