/// Finds peers on the local network by multicast DNS (libp2p/specs `discovery/mdns`, RFC 6762) as a state machine.
///
/// The driver joins the groups 224.0.0.251 and ff02::fb at port 5353, hands in what arrives there, sends what
/// `takeOutputs()` gives, and calls `advance` when `nextDeadline` has come. What is found is a hint: anybody on the
/// network can claim anything, and a connection's handshake alone tells who is at an address.
package struct MDNSDiscovery: Sendable {
    /// What the driver must do or know, in order.
    package enum Output: Hashable, Sendable {
        /// Send this to the multicast groups.
        case multicast([UInt8])
        /// A peer is there, or is there at other addresses.
        case discovered(PeerContact)
        /// A peer has not been heard for as long as it said it would be there, or said good-bye.
        case expired(PeerID)
    }

    /// The service that libp2p nodes ask for.
    static let serviceName: DNSMessage.Name = [Array("_p2p".utf8), Array("_udp".utf8), Array("local".utf8)]
    /// What stands before an address in a text record.
    static let addressPrefix = Array("dnsaddr=".utf8)

    private struct Neighbour: Sendable {
        var addresses: [Multiaddr]
        var expiresAt: Moment
    }

    private let peer: PeerID
    /// Where this node listens.
    private(set) var addresses: [Multiaddr]
    private let name: DNSMessage.Name
    private var random: SplitMix64
    private var neighbours: [PeerID: Neighbour] = [:]
    private var outputs: [Output] = []
    private var nextQuery: Moment
    private var queryInterval = MDNSLimits.queryIntervalMin
    /// When the answer goes out that somebody asked for.
    private var answerDue: Moment?
    private var lastAnswerAt: Moment?
    /// Messages that may still be read now.
    private var allowance = Double(MDNSLimits.messagesBurst)
    private var allowanceAt: Moment

    /// Starts with a query and an announcement, both after a short random wait.
    package init(peer: PeerID, addresses: [Multiaddr], seed: UInt64, at now: Moment) {
        self.peer = peer
        self.addresses = addresses
        random = SplitMix64(seed: seed)
        let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var label: [UInt8] = []
        for _ in 0..<MDNSLimits.nameLength { label.append(letters[Int.random(in: letters.indices, using: &random)]) }
        name = [label] + Self.serviceName
        nextQuery = now + random.duration(in: MDNSLimits.firstQueryDelay)
        answerDue = nextQuery
        allowanceAt = now
    }

    /// Peers that are there now.
    package var peers: [PeerContact] {
        neighbours.keys.sorted().compactMap { peer in
            neighbours[peer].map { PeerContact(peer: peer, addresses: $0.addresses) }
        }
    }

    /// When `advance` has something to do.
    package var nextDeadline: Moment {
        let expiry = neighbours.values.map(\.expiresAt).min() ?? nextQuery
        return min(nextQuery, answerDue ?? nextQuery, expiry)
    }

    /// What the driver must do or know now, in order.
    package mutating func takeOutputs() -> [Output] {
        defer { outputs.removeAll() }
        return outputs
    }

    /// Tells where this node listens now, and announces it.
    package mutating func setAddresses(_ addresses: [Multiaddr], at now: Moment) {
        guard addresses != self.addresses else { return }
        self.addresses = addresses
        scheduleAnswer(at: now)
    }

    /// Sends what is due and forgets who has run out.
    package mutating func advance(at now: Moment) {
        if nextQuery <= now {
            outputs.append(.multicast(Self.query.encoded()))
            // A fifth more or less, so that nodes do not stay in step.
            nextQuery = now + random.duration(in: (queryInterval * 4 / 5)...(queryInterval * 6 / 5))
            queryInterval = min(queryInterval * 2, MDNSLimits.queryIntervalMax)
        }
        if let due = answerDue, due <= now {
            answerDue = nil
            lastAnswerAt = now
            if let message = answer(timeToLive: MDNSLimits.timeToLive) { outputs.append(.multicast(message.encoded())) }
        }
        for peer in neighbours.filter({ $0.value.expiresAt <= now }).keys.sorted() {
            neighbours[peer] = nil
            outputs.append(.expired(peer))
        }
    }

    /// Says good-bye: others forget this node at once instead of after its time.
    package mutating func stop() {
        if let message = answer(timeToLive: .zero) { outputs.append(.multicast(message.encoded())) }
    }

    /// Takes a datagram of the group. Those of this node itself come back too, and are ignored.
    package mutating func receive(_ bytes: [UInt8], at now: Moment) {
        let gained = max(0, (now - allowanceAt).inSeconds) * Double(MDNSLimits.messagesPerSecond)
        allowance = min(Double(MDNSLimits.messagesBurst), allowance + gained)
        allowanceAt = max(allowanceAt, now)
        guard allowance >= 1 else { return }
        allowance -= 1
        guard let message = try? DNSMessage(decoding: bytes) else { return }
        if message.isResponse {
            let texts = message.records.lazy.filter { if case .text = $0.body { true } else { false } }
            for record in texts.prefix(MDNSLimits.textRecordsMax) { take(record, at: now) }
        } else if message.questions.contains(where: { Self.asksForPeers($0) }) {
            scheduleAnswer(at: now)
        }
    }

    private static let query = DNSMessage(
        isResponse: false,
        questions: [.init(name: serviceName, type: DNSMessage.typePTR, dnsClass: DNSMessage.classIN)])

    private static func asksForPeers(_ question: DNSMessage.Question) -> Bool {
        question.name == serviceName && [DNSMessage.typePTR, DNSMessage.typeANY].contains(question.type)
            && question.dnsClass & DNSMessage.classMask == DNSMessage.classIN
    }

    private mutating func scheduleAnswer(at now: Moment) {
        guard answerDue == nil else { return }
        let due = now + random.duration(in: MDNSLimits.answerDelay)
        answerDue = lastAnswerAt.map { max(due, $0 + MDNSLimits.answerInterval) } ?? due
    }

    /// This node's answer; nil if it has no address to tell. Loopback is told only where there is nothing else, for
    /// nodes on one machine: others would reach themselves.
    private func answer(timeToLive: Duration) -> DNSMessage? {
        let usable = addresses.filter { Self.accepts($0) }
        let outward = usable.filter { !$0.isLoopback }
        let seconds = UInt32(timeToLive.components.seconds)
        var message = DNSMessage(
            isResponse: true,
            records: [
                .init(
                    name: Self.serviceName, dnsClass: DNSMessage.classIN, timeToLive: seconds, body: .pointer(name))
            ])
        var texts: [[UInt8]] = []
        for address in (outward.isEmpty ? usable : outward).prefix(MDNSLimits.addressesPerPeerMax) {
            let text = Self.addressPrefix + Array(address.encapsulating(p2p: peer).description.utf8)
            if text.count <= DNSMessage.textBytesMax { texts.append(text) }
        }
        while !texts.isEmpty {
            // The top bit: this record replaces older ones of the name.
            let text = DNSMessage.Record(
                name: name, dnsClass: DNSMessage.classIN | ~DNSMessage.classMask, timeToLive: seconds,
                body: .text(texts))
            message.records = [message.records[0], text]
            if message.encoded().count <= MDNSLimits.ownMessageBytesMax { return message }
            texts.removeLast()
        }
        return nil
    }

    /// Whether an address may be told or believed: on the local network, a public one is a mistake or a lure.
    private static func accepts(_ address: Multiaddr) -> Bool { address.isDialable && address.isLocal }

    /// Reads the peer and its addresses out of one text record; all must name the same peer.
    private mutating func take(_ record: DNSMessage.Record, at now: Moment) {
        guard case .text(let texts) = record.body, record.name.suffix(3).elementsEqual(Self.serviceName),
            record.dnsClass & DNSMessage.classMask == DNSMessage.classIN
        else { return }
        var told: PeerID?
        var addresses: [Multiaddr] = []
        for text in texts where text.starts(with: Self.addressPrefix) {
            guard
                let address = try? Multiaddr(String(decoding: text.dropFirst(Self.addressPrefix.count), as: UTF8.self)),
                let peer = address.peerID, peer == told ?? peer
            else { continue }
            told = peer
            let plain = address.withoutPeerID
            guard Self.accepts(plain), !addresses.contains(plain),
                addresses.count < MDNSLimits.addressesPerPeerMax
            else { continue }
            addresses.append(plain)
        }
        guard let told, told != peer else { return }
        guard record.timeToLive > 0 else {
            if neighbours.removeValue(forKey: told) != nil { outputs.append(.expired(told)) }
            return
        }
        if !addresses.isEmpty { note(told, at: addresses, for: .seconds(Int64(record.timeToLive)), now) }
    }

    private mutating func note(_ peer: PeerID, at addresses: [Multiaddr], for duration: Duration, _ now: Moment) {
        let expiry = now + min(duration, MDNSLimits.timeToLiveMax)
        guard let former = neighbours[peer] else {
            guard neighbours.count < MDNSLimits.peersMax else { return }
            neighbours[peer] = Neighbour(addresses: addresses, expiresAt: expiry)
            return outputs.append(.discovered(PeerContact(peer: peer, addresses: addresses)))
        }
        // One record may hold a part of the addresses only: rust-libp2p sends one record for each.
        let fresh = addresses.filter { !former.addresses.contains($0) }
        let merged = Array((fresh + former.addresses).prefix(MDNSLimits.addressesPerPeerMax))
        neighbours[peer] = Neighbour(addresses: merged, expiresAt: expiry)
        if !fresh.isEmpty { outputs.append(.discovered(PeerContact(peer: peer, addresses: merged))) }
    }
}
