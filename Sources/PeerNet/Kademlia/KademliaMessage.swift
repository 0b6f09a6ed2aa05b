/// One request or answer of kad-dht (libp2p/specs `kad-dht`, "RPC messages").
struct KademliaMessage: Hashable, Sendable {
    /// What is asked, or what was.
    enum Kind: UInt64, Hashable, Sendable, CaseIterable {
        case putValue = 0
        case getValue = 1
        case addProvider = 2
        case getProviders = 3
        case findNode = 4
        /// Deprecated; answered by itself.
        case ping = 5
    }

    /// A peer as one node tells it to another one.
    struct Peer: Hashable, Sendable {
        var contact: PeerContact
        /// Whether the teller is connected to it.
        var isConnected = false
    }

    /// A value under its key. The time of receipt, which go adds for its own store, is neither sent nor read.
    struct Record: Hashable, Sendable {
        var key: [UInt8]
        var value: [UInt8]
    }

    var kind: Kind
    var key: [UInt8] = []
    var record: Record?
    /// Peers closer to the key, the closest first.
    var closerPeers: [Peer] = []
    var providerPeers: [Peer] = []

    init(_ kind: Kind, key: [UInt8] = []) {
        self.kind = kind
        self.key = key
    }
}

/// Why some bytes are not a kad-dht message that this node takes.
enum KademliaMessageError: Error, Hashable, Sendable {
    case tooLong
    case malformed
    case unknownKind(UInt64)
    case keyTooLong
    case valueTooLong
}

extension KademliaMessage {
    /// The message without length prefix. Peers, told closest first, are left out where it would become too long.
    func encoded() -> [UInt8] {
        var writer = ProtobufWriter()
        // go expects the type also when it is 0.
        writer.append(varint: kind.rawValue, field: 1)
        if !key.isEmpty { writer.append(key, field: 2) }
        if let record {
            var inner = ProtobufWriter()
            inner.append(record.key, field: 1)
            inner.append(record.value, field: 2)
            writer.append(inner.bytes, field: 3)
        }
        // Closer peers get half of the space, so that long addresses of theirs leave some to providers.
        let bytesMax = KademliaLimits.ownMessageBytesMax
        append(closerPeers, field: 8, to: &writer, bytesMax: writer.bytes.count + bytesMax / 2)
        append(providerPeers, field: 9, to: &writer, bytesMax: bytesMax)
        return writer.bytes
    }

    private func append(_ peers: [Peer], field: UInt64, to writer: inout ProtobufWriter, bytesMax: Int) {
        for peer in peers {
            let bytes = peer.encoded()
            // Tag and length take four bytes at most.
            guard writer.bytes.count + bytes.count + 4 <= bytesMax else { return }
            writer.append(bytes, field: field)
        }
    }

    /// Reads a message without length prefix. Peers with other kinds of key, and addresses that do not decode, are too
    /// long or name another peer, are skipped, as are entries beyond the limits.
    init(decoding bytes: [UInt8]) throws(KademliaMessageError) {
        guard bytes.count <= KademliaLimits.messageBytesMax else { throw .tooLong }
        self.init(.putValue)
        var reader = ProtobufReader(bytes)
        while let (field, value) = try Self.next(&reader) {
            switch (field, value) {
            case (1, .varint(let number)):
                guard let kind = Kind(rawValue: number) else { throw .unknownKind(number) }
                self.kind = kind
            case (2, .content(let content)):
                guard content.count <= KademliaLimits.keyBytesMax else { throw .keyTooLong }
                key = Array(content)
            case (3, .content(let content)): record = try Self.record(content)
            case (8, .content(let content)):
                guard closerPeers.count < KademliaLimits.bucketSize else { continue }
                if let peer = try Peer(decoding: content) { closerPeers.append(peer) }
            case (9, .content(let content)):
                guard providerPeers.count < KademliaLimits.providersPerAnswerMax else { continue }
                if let peer = try Peer(decoding: content) { providerPeers.append(peer) }
            default: continue
            }
        }
    }

    fileprivate static func next(
        _ reader: inout ProtobufReader
    ) throws(KademliaMessageError) -> (field: UInt64, value: ProtobufReader.Value)? {
        do throws(ProtobufReader.Malformed) { return try reader.nextField() } catch { throw .malformed }
    }

    private static func record(_ bytes: ArraySlice<UInt8>) throws(KademliaMessageError) -> Record {
        var record = Record(key: [], value: [])
        var reader = ProtobufReader(bytes)
        while let (field, value) = try next(&reader) {
            switch (field, value) {
            case (1, .content(let content)):
                guard content.count <= KademliaLimits.keyBytesMax else { throw .keyTooLong }
                record.key = Array(content)
            case (2, .content(let content)):
                guard content.count <= KademliaLimits.valueBytesMax else { throw .valueTooLong }
                record.value = Array(content)
            default: continue
            }
        }
        return record
    }
}

extension KademliaMessage.Peer {
    fileprivate func encoded() -> [UInt8] {
        var writer = ProtobufWriter()
        writer.append(contact.peer.bytes, field: 1)
        for address in contact.addresses.prefix(KademliaLimits.addressesPerPeerMax)
        where address.bytes.count <= KademliaLimits.addressBytesMax {
            writer.append(address.bytes, field: 2)
        }
        writer.append(varint: isConnected ? 1 : 0, field: 3)
        return writer.bytes
    }

    /// Nil for a peer without an id that this node can use.
    fileprivate init?(decoding bytes: ArraySlice<UInt8>) throws(KademliaMessageError) {
        var peer: PeerID?
        var addresses: [Multiaddr] = []
        var isConnected = false
        var reader = ProtobufReader(bytes)
        while let (field, value) = try KademliaMessage.next(&reader) {
            switch (field, value) {
            case (1, .content(let content)): peer = try? PeerID(bytes: content)
            case (2, .content(let content)):
                guard addresses.count < KademliaLimits.addressesPerPeerMax,
                    content.count <= KademliaLimits.addressBytesMax,
                    let address = try? Multiaddr(bytes: Array(content))
                else { continue }
                addresses.append(address)
            case (3, .varint(let number)): isConnected = number == 1
            default: continue
            }
        }
        guard let peer else { return nil }
        let own = addresses.filter { !$0.endsInPeerID || $0.peerID == peer }.map(\.withoutPeerID)
        self.init(contact: PeerContact(peer: peer, addresses: own), isConnected: isConnected)
    }
}
