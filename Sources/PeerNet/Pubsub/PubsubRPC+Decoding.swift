extension PubsubRPC {
    /// Decodes one RPC without its length prefix. Unknown fields are skipped; entries that no peer of this network
    /// would send (odd topics, ids of other shapes, peers with other keys) are left out.
    init(bytes: [UInt8], dataBytesMax: Int) throws(RPCFault) {
        guard bytes.count <= PubsubLimits.rpcBytesMax else {
            throw .tooLong(bytes: UInt64(bytes.count), bytesMax: PubsubLimits.rpcBytesMax)
        }
        var controlBytes = 0
        do throws(ProtobufReader.Malformed) {
            var reader = ProtobufReader(bytes)
            while let (field, content) = try reader.next() {
                switch field {
                case 1:
                    guard subscriptions.count < PubsubLimits.subscriptionsMax else { continue }
                    if let entry = try Self.subscription(content) { subscriptions.append(entry) }
                case 2:
                    guard published.count < PubsubLimits.messagesMax else { continue }
                    published.append(try Self.message(content, dataBytesMax: dataBytesMax))
                case 3:
                    // A part that comes twice is merged, as protobuf asks.
                    controlBytes += content.count
                    guard controlBytes <= PubsubLimits.controlBytesMax else { throw ProtobufReader.Malformed() }
                    try readControl(content)
                default: break
                }
            }
        } catch {
            throw controlBytes > PubsubLimits.controlBytesMax
                ? .controlTooLong(bytesMax: PubsubLimits.controlBytesMax) : .notProtobuf
        }
    }

    private static func subscription(
        _ bytes: ArraySlice<UInt8>
    ) throws(ProtobufReader.Malformed) -> Subscription? {
        var reader = ProtobufReader(bytes)
        var topic: Topic?
        var isSubscribed = false
        while let (field, value) = try reader.nextField() {
            switch (field, value) {
            case (1, .varint(let number)): isSubscribed = number != 0
            case (2, .content(let content)): topic = Topic(bytes: content)
            default: break
            }
        }
        return topic.map { Subscription(topic: $0, isSubscribed: isSubscribed) }
    }

    private static func message(
        _ bytes: ArraySlice<UInt8>, dataBytesMax: Int
    ) throws(ProtobufReader.Malformed) -> Published {
        var author: ArraySlice<UInt8> = []
        var data: ArraySlice<UInt8>?
        var sequence: ArraySlice<UInt8> = []
        var name: ArraySlice<UInt8> = []
        var signature: ArraySlice<UInt8> = []
        var key: ArraySlice<UInt8>?
        var reader = ProtobufReader(bytes)
        while let (field, content) = try reader.next() {
            switch field {
            case 1: author = content
            case 2: data = content
            case 3: sequence = content
            case 4: name = content
            case 5: signature = content
            case 6: key = content
            default: break
            }
        }
        guard let topic = Topic(bytes: name) else { return .invalid(.topicMalformed, topic: nil) }
        guard let peer = try? PeerID(bytes: author) else { return .invalid(.authorRefused, topic: topic) }
        if let key, !key.isEmpty, !key.elementsEqual(peer.publicKeyProtobuf) {
            return .invalid(.keyDiffers, topic: topic)
        }
        guard sequence.count == 8 else { return .invalid(.sequenceMalformed, topic: topic) }
        guard signature.count == 64 else { return .invalid(.signatureInvalid, topic: topic) }
        guard data?.count ?? 0 <= dataBytesMax else { return .invalid(.dataTooLong, topic: topic) }
        return .message(
            PubsubMessage(
                author: peer, sequence: MessageID.sequence(of: sequence), topic: topic, data: data.map { Array($0) },
                signature: Array(signature)))
    }

    private mutating func readControl(_ bytes: ArraySlice<UInt8>) throws(ProtobufReader.Malformed) {
        var reader = ProtobufReader(bytes)
        while let (field, content) = try reader.next() {
            switch field {
            case 1:
                guard have.count < PubsubLimits.controlEntriesMax else { continue }
                let taken = have.reduce(0) { $0 + $1.ids.count }
                if let entry = try Self.advertisement(content, idsMax: PubsubLimits.controlIDsMax - taken) {
                    have.append(entry)
                }
            case 2: try Self.readIDs(content, into: &want)
            case 3:
                guard graft.count < PubsubLimits.controlEntriesMax else { continue }
                var inner = ProtobufReader(content)
                while let (field, content) = try inner.next() {
                    if field == 1, let topic = Topic(bytes: content) {
                        graft.append(topic)
                        break
                    }
                }
            case 4:
                guard prune.count < PubsubLimits.controlEntriesMax else { continue }
                if let entry = try Self.prune(content) { prune.append(entry) }
            case 5: try Self.readIDs(content, into: &dontWant)
            default: break
            }
        }
    }

    private static func advertisement(
        _ bytes: ArraySlice<UInt8>, idsMax: Int
    ) throws(ProtobufReader.Malformed) -> Advertisement? {
        var reader = ProtobufReader(bytes)
        var topic: Topic?
        var ids: [MessageID] = []
        while let (field, content) = try reader.next() {
            switch field {
            case 1: topic = Topic(bytes: content)
            case 2:
                if ids.count < idsMax, let id = MessageID(bytes: content) { ids.append(id) }
            default: break
            }
        }
        return topic.map { Advertisement(topic: $0, ids: ids) }
    }

    private static func readIDs(
        _ bytes: ArraySlice<UInt8>, into ids: inout [MessageID]
    ) throws(ProtobufReader.Malformed) {
        var reader = ProtobufReader(bytes)
        while let (field, content) = try reader.next() {
            if field == 1, ids.count < PubsubLimits.controlIDsMax, let id = MessageID(bytes: content) {
                ids.append(id)
            }
        }
    }

    private static func prune(_ bytes: ArraySlice<UInt8>) throws(ProtobufReader.Malformed) -> Prune? {
        var reader = ProtobufReader(bytes)
        var topic: Topic?
        var peers: [SuggestedPeer] = []
        var backoffSeconds: UInt64 = 0
        while let (field, value) = try reader.nextField() {
            switch (field, value) {
            case (1, .content(let content)): topic = Topic(bytes: content)
            case (2, .content(let content)):
                guard peers.count < PubsubLimits.exchangedPeersMax else { continue }
                if let peer = try suggestedPeer(content) { peers.append(peer) }
            case (3, .varint(let seconds)): backoffSeconds = seconds
            default: break
            }
        }
        return topic.map { Prune(topic: $0, peers: peers, backoffSeconds: backoffSeconds) }
    }

    private static func suggestedPeer(
        _ bytes: ArraySlice<UInt8>
    ) throws(ProtobufReader.Malformed) -> SuggestedPeer? {
        var reader = ProtobufReader(bytes)
        var peer: PeerID?
        var envelope: [UInt8]?
        while let (field, content) = try reader.next() {
            switch field {
            case 1: peer = try? PeerID(bytes: content)
            case 2: envelope = content.isEmpty || content.count > SignedPeerRecord.byteCountMax ? nil : Array(content)
            default: break
            }
        }
        return peer.map { SuggestedPeer(peer: $0, envelope: envelope) }
    }
}
