/// A DNS message (RFC 1035, section 4), as far as service discovery needs it.
struct DNSMessage: Hashable, Sendable {
    /// A name's labels, in lower case: names are compared without regard to case (RFC 6762, section 16).
    typealias Name = [[UInt8]]

    /// Types of records.
    static let typePTR: UInt16 = 12
    static let typeTXT: UInt16 = 16
    static let typeANY: UInt16 = 255
    /// Class IN; the top bit says in questions that a unicast answer will do, in answers that older ones are void.
    static let classIN: UInt16 = 1
    static let classMask: UInt16 = 0x7fff

    struct Question: Hashable, Sendable {
        var name: Name
        var type: UInt16
        var dnsClass: UInt16
    }

    struct Record: Hashable, Sendable {
        enum Body: Hashable, Sendable {
            case pointer(Name)
            case text([[UInt8]])
            /// Another type's bytes are not kept.
            case other(type: UInt16)
        }

        var name: Name
        var dnsClass: UInt16
        var timeToLive: UInt32
        var body: Body
    }

    var id: UInt16 = 0
    var isResponse: Bool
    var questions: [Question] = []
    /// Answers, then additional records; where a record stands makes no difference here.
    var records: [Record] = []
}

/// Why some bytes are not a DNS message that this node takes.
enum DNSMessageError: Error, Hashable, Sendable {
    case tooLong
    /// The message ends inside a part of it, or a part inside another one.
    case truncated
    /// A label of a reserved kind, a pointer that does not lead back, or a name longer than the limit.
    case nameInvalid
    /// More questions and records than the limit.
    case tooManyParts
    /// An operation other than a query, or an error.
    case notAQuery
}
