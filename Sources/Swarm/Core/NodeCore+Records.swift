import Compression
import OuterSync
import PeerNet

// Nothing signed leaves before it is on disk; a slot is signed once.

extension NodeCore {
    /// Signs nothing twice: fills a slot, or uses what fills it already. Once the slot is on disk the message goes out
    /// as `delivery` says and, the first time, is handled by this node too.
    mutating func issue(_ message: Message, _ delivery: SlotBook.Delivery) {
        guard let key = SlotBook.key(of: message, me: me) else { return }
        if var slot = slots[key] {
            if slot.isDurable {
                deliver(slot, delivery)
            } else if !slot.deliveries.contains(delivery) {
                slot.deliveries.append(delivery)
                slots[key] = slot
            }
            return
        }
        let bytes = message.bytes(in: context)
        guard bytes.count <= Limits.messageBytesMax else {
            event(.jobFailed(key.id.fragment, reason: "a \(key.kind) of \(bytes.count) bytes is too large to send"))
            return
        }
        slots[key] = SlotBook.Slot(message: message, bytes: bytes, isDurable: false, deliveries: [delivery])
        persist(.slot(key.id.fragment, key.id.round, bytes), .slot(key))
    }

    /// Sends what fills a slot again, if it is on disk.
    @discardableResult
    mutating func resend(_ kind: SlotBook.Kind, _ id: AttemptID, _ delivery: SlotBook.Delivery) -> Bool {
        guard let slot = slots[SlotBook.Key(kind: kind, id: id)] else { return false }
        if slot.isDurable { deliver(slot, delivery) }
        return true
    }

    private mutating func deliver(_ slot: SlotBook.Slot, _ delivery: SlotBook.Delivery) {
        switch delivery {
        case .publish: out.append(.publish(message: slot.bytes))
        case .send(let peer) where peer != me: out.append(.send(to: peer, message: slot.bytes))
        case .send, .keep: break
        }
    }

    mutating func persist(_ record: DurableRecord, _ request: Requests.Request) {
        out.append(.persist(record, then: requests.add(request, record: record)))
    }

    mutating func persisted(_ token: Token) {
        guard let request = requests.take(token) else { return }
        retryWait = limits.retry
        if requests.failedRecords.contains(where: { $0.token == token }) {
            requests.failedRecords.removeAll { $0.token == token }
            if requests.failedRecords.isEmpty { event(.canPersist) }
        }
        switch request {
        case .slot(let key):
            guard var slot = slots[key] else { return }  // the round is over
            let deliveries = slot.deliveries
            slot.isDurable = true
            slot.deliveries = []
            slots[key] = slot
            for delivery in deliveries { deliver(slot, delivery) }
            if key.kind == .accepted, case .commit(let commit) = slot.message {
                ack(commit)
            } else {
                handle(slot.message, from: me)
            }
        case .final(let fragment, let round):
            fragments[fragment.value].durableRound = round
            fragments[fragment.value].finalOnItsWay = nil
            persistNextFinal(fragment)
            follow(fragment)
        case .admission(let record?): announce(.admission(AdmissionNotice([record])))
        case .record(let notice?): announce(.records(notice))
        case .admission(nil), .record(nil), .peer, .job: break
        }
    }

    mutating func persistFailed(_ token: Token, _ reason: String) {
        if requests.failedRecords.isEmpty { event(.cannotPersist(reason: reason)) }
        guard !requests.failedRecords.contains(where: { $0.token == token }) else { return setRetry() }
        requests.fail(token)
        setRetry()
    }

    /// One timer for everything that failed: records, blobs, and jobs through their fragments.
    mutating func setRetry() {
        guard !isRetrySet else { return }
        isRetrySet = true
        set(.retry, after: retryWait)
        retryWait = min(retryWait * 2, limits.retryMax)
    }

    mutating func retry() {
        isRetrySet = false
        for (record, token) in requests.failedRecords { out.append(.persist(record, then: token)) }
        shelf.wake()
        for index in fragments.indices { follow(FragmentIndex(index)) }
    }
}
