import Compression
import PeerNet

/// One signed fact about who may take part, as it is kept on disk and passed on.
enum AdmissionRecord: Hashable, Sendable {
    case voucher(Voucher)
    case revocation(Signed<Revocation>)
    case delegation(Signed<Delegation>)

    /// Names the record; a voucher's does not change with the member that stands for it.
    var key: Digest {
        switch self {
        case .voucher(let voucher):
            Digest(hashing: Array("voucher".utf8) + voucher.capability.digest.bytes + voucher.peer.publicKey)
        case .revocation(let revocation): Digest(hashing: revocation.signer.publicKey + revocation.body)
        case .delegation(let delegation): Digest(hashing: delegation.signer.publicKey + delegation.body)
        }
    }

    /// The bytes on disk.
    var bytes: [UInt8] { encode(AdmissionNotice([self]).message) }

    init(bytes: [UInt8], in context: AdmissionContext) throws(Refusal) {
        let notice = try AdmissionNotice(try decode(WireAdmission.self, bytes), in: context.signing)
        if let voucher = notice.vouchers.first {
            self = .voucher(try Voucher(bytes: voucher, in: context))
        } else if let revocation = notice.revocations.first {
            self = .revocation(revocation)
        } else if let delegation = notice.delegations.first {
            self = .delegation(delegation)
        } else {
            throw Refusal("an admission record is empty")
        }
    }
}

/// Admission records on their way from one node to another.
struct AdmissionNotice: Hashable, Sendable {
    /// Whether the sender shows who it is: its own voucher is the last.
    var presents = false
    /// Encoded: a receiver checks the signatures of those only that it does not hold.
    var vouchers: [[UInt8]] = []
    var revocations: [Signed<Revocation>] = []
    var delegations: [Signed<Delegation>] = []

    init(_ records: [AdmissionRecord]) {
        for record in records {
            switch record {
            case .voucher(let voucher): vouchers.append(voucher.bytes)
            case .revocation(let revocation): revocations.append(revocation)
            case .delegation(let delegation): delegations.append(delegation)
            }
        }
    }

    /// What a node shows of itself.
    init(presenting chain: [Voucher]) {
        presents = true
        vouchers = chain.map(\.bytes)
    }

    init(_ message: WireAdmission, in context: BranchContext) throws(Refusal) {
        presents = message.presents
        guard !presents || message.revocations.isEmpty && message.delegations.isEmpty else {
            throw Refusal("a presentation holds more than vouchers")
        }
        guard !presents || message.vouchers.count <= Limits.presentedVouchersMax else {
            throw Refusal("a presentation has too many vouchers")
        }
        vouchers = message.vouchers.map(array)
        for revocation in message.revocations { revocations.append(try Signed(revocation, in: context)) }
        for delegation in message.delegations { delegations.append(try Signed(delegation, in: context)) }
    }

    var message: WireAdmission {
        var message = WireAdmission()
        message.presents = presents
        message.vouchers = vouchers.map(wire)
        message.revocations = revocations.map(\.message)
        message.delegations = delegations.map(\.message)
        return message
    }

    /// The records in messages that each leave room for the envelope.
    static func pages(of records: [AdmissionRecord]) -> [AdmissionNotice] {
        var pages: [AdmissionNotice] = []
        var page: [AdmissionRecord] = []
        var byteCount = 0
        for record in records {
            let count = record.bytes.count
            if byteCount + count > Limits.messageBytesMax - 1_024 {
                pages.append(AdmissionNotice(page))
                (page, byteCount) = ([], 0)
            }
            page.append(record)
            byteCount += count
        }
        return page.isEmpty ? pages : pages + [AdmissionNotice(page)]
    }
}

/// Which records a node holds, in 128 bytes: sixteen buckets by the first digit of a record's key, in each the exclusive or
/// of its keys' second eight bytes. Whoever makes two keys collide hides records of its own making, no others.
struct AdmissionSummary: Hashable, Sendable {
    static let byteCount = 128

    private var words = [UInt64](repeating: 0, count: 16)

    init() {}

    /// Reads what a peer sent: nothing at all means no records.
    init(bytes: [UInt8]) throws(Refusal) {
        guard !bytes.isEmpty else { return }
        guard bytes.count == Self.byteCount else { throw Refusal("an admission summary has another length") }
        for index in words.indices {
            words[index] = bytes[8 * index..<8 * index + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// The bytes on the wire; nothing where there are no records.
    var bytes: [UInt8] {
        guard words.contains(where: { $0 != 0 }) else { return [] }
        return words.flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
    }

    static func key(of rank: Voucher.Rank) -> Digest {
        let time = withUnsafeBytes(of: rank.time.bigEndian) { Array($0) }
        return Digest(hashing: time + rank.peer.publicKey + rank.capability.bytes)
    }

    static func bucket(of key: Digest) -> Int { Int(key.bytes[0] >> 4) }

    /// Adds a record, or takes it out.
    mutating func toggle(_ key: Digest) {
        words[Self.bucket(of: key)] ^= key.bytes[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The buckets in which two summaries differ.
    func differences(from other: AdmissionSummary) -> Set<Int> {
        Set(words.indices.filter { words[$0] != other.words[$0] })
    }
}
