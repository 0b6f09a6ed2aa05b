import Compression
package import PeerNet

// Who may take part: nothing of the swarm goes to a peer, and nothing of a peer is kept, before it is let in.
// The order of events is told in protocols/admission.md.

extension NodeCore {
    /// Whether a peer may be given anything of this swarm: messages, blobs, a place in the mesh. Where everybody is let in,
    /// everybody but those whom the founder revoked. O(1).
    package func mayServe(_ peer: PeerID) -> Bool { peer == me || admissions.admits(peer) }

    /// The wall clock now; the end of time while nobody has told it, so that nothing is good for too long.
    var wallTime: UInt64 {
        guard let wallClock else { return .max }
        return wallClock.seconds.addingClamped(UInt64(max(0, (now - wallClock.at).components.seconds)))
    }

    // MARK: Strangers

    /// Shows a peer who this node is.
    mutating func present(to peer: PeerID) {
        var chain = admissions.chain(for: me)
        // Behind what it was let in by, an invite that it got since: the peer may know that the older one is no good.
        if let credential = configuration.credential, credential.serial != chain.last?.serial,
            let voucher = try? credential.voucher(for: configuration.identity, in: admissions.context)
        {
            chain.append(voucher)
        }
        send(.admission(AdmissionNotice(presenting: chain)), to: peer)
    }

    mutating func strangerConnected(_ peer: PeerID, _ addresses: [Multiaddr]) {
        guard charter.admission != .open, strangers.count < Limits.strangersMax, !admissions.isRevokedByFounder(peer)
        else {
            return refuse(peer, admissions.isRevokedByFounder(peer) ? .revoked : .full)
        }
        strangers[peer] = (now, Array(addresses.prefix(Limits.addressesPerPeerMax)))
    }

    /// A peer that is not let in has sent something: only what shows who it is is read.
    mutating func strangerSent(_ bytes: [UInt8], _ peer: PeerID) {
        guard strangers[peer] != nil else { return }  // on its way when it was dropped
        do {
            switch try Message(stranger: bytes, in: context) {
            case .admission(let notice): presented(notice, by: peer)
            case .admissionRefused(let refusal): refused(refusal, by: peer)
            default: break
            }
        } catch {
            violation(peer, signer: peer, error.reason)
        }
    }

    private mutating func presented(_ notice: AdmissionNotice, by peer: PeerID) {
        switch judged(notice, by: peer) {
        case .failure(let refusal): refuse(peer, refusal)
        case .success(let change):
            keep(change)
            reviewConnected()
        }
    }

    /// Judges a presentation and keeps what it shows if the peer is let in.
    private mutating func judged(
        _ notice: AdmissionNotice, by peer: PeerID
    ) -> Result<AdmissionBook.Change, AdmissionRefusal> {
        var vouchers: [Voucher] = []
        for bytes in notice.vouchers where !admissions.holds(encoding: Digest(hashing: bytes)) {
            guard let voucher = try? Voucher(bytes: bytes, in: admissions.context) else { return .failure(.invalid) }
            vouchers.append(voucher)
        }
        return admissions.judge(vouchers, by: peer, me: configuration.identity, at: wallTime)
    }

    /// Whether a peer that shows these bytes, a presentation or nothing, would be let in now; nil: it would. Nothing is
    /// kept.
    package func refusal(of presentation: [UInt8], by peer: PeerID) -> AdmissionRefusal? {
        var copy = self
        guard !mayServe(peer) else { return nil }
        guard charter.admission != .open else { return .revoked }
        var notice = AdmissionNotice([])
        if !presentation.isEmpty {
            guard case .admission(let shown)? = try? Message(stranger: presentation, in: context) else {
                return .invalid
            }
            notice = shown
        }
        if case .failure(let refusal) = copy.judged(notice, by: peer) { return refusal }
        return nil
    }

    private mutating func refuse(_ peer: PeerID, _ refusal: AdmissionRefusal) {
        strangers[peer] = nil
        if !refusal.isTemporary { rest(peer) }
        event(.peerRefused(peer, refusal))
        if refusal == .revoked {
            // Nobody else may tell it: or those who are out would go on with each other as if nothing had been signed.
            let revocations = admissions.revocations(against: peer).map { AdmissionRecord.revocation($0) }
            for page in AdmissionNotice.pages(of: revocations) { send(.admission(page), to: peer) }
        }
        send(.admissionRefused(refusal), to: peer)
        out.append(.disconnect(peer, reason: "\(refusal)"))
    }

    /// Drops those that have not shown who they are.
    mutating func dismissStrangers() {
        for peer in strangers.keys.sorted() {
            guard let since = strangers[peer]?.since, now - since >= limits.presentationTimeout else { continue }
            let reason = admissions.reason(against: peer)
            // Who has no invite says so at once: what this one has to show is lost or late.
            refuse(peer, reason == .noInvite ? .notYet : reason)
        }
    }

    /// A peer does not let this node in.
    mutating func refused(_ refusal: AdmissionRefusal, by peer: PeerID) {
        event(.refusedBy(peer, refusal))
        // One who cannot tell yet does not take back what another one told.
        if !refusal.isTemporary || self.refusal == nil { self.refusal = refusal }
        if !refusal.isTemporary { rest(peer) }
    }

    /// Leaves a known peer alone for a while.
    private mutating func rest(_ peer: PeerID) {
        guard peers[peer] != nil else { return }
        let end = now + limits.refusedRest
        peers.update(peer) { $0.restsUntil = end }
    }

    // MARK: Records

    /// A member tells what it knows.
    mutating func admissionReceived(_ notice: AdmissionNotice, from peer: PeerID) {
        guard charter.admission == .invite || notice.vouchers.isEmpty else { return }
        var change = AdmissionBook.Change()
        for delegation in notice.delegations where admissions.take(delegation) {
            change.added.append(.delegation(delegation))
        }
        var vouchers: [Voucher] = []
        for bytes in notice.vouchers where !admissions.holds(encoding: Digest(hashing: bytes)) {
            do { vouchers.append(try Voucher(bytes: bytes, in: admissions.context)) } catch {
                return violation(peer, signer: peer, error.reason)
            }
        }
        let vouched = admissions.take(vouchers.filter { $0.welcome != nil })
        change.added += vouched.added
        change.removed += vouched.removed
        for revocation in notice.revocations where admissions.take(revocation) {
            change.added.append(.revocation(revocation))
        }
        keep(change)
        reviewConnected()
    }

    /// What this node has signed goes to the others; a revocation or delegation is passed on by everybody who learns it, so
    /// that it reaches all whom anybody can reach.
    private func isPassedOn(_ record: AdmissionRecord) -> Bool {
        switch record {
        case .voucher(let voucher): voucher.welcome?.signer == me
        case .revocation, .delegation: true
        }
    }

    /// Writes down what is new, and tells it once it is on disk.
    mutating func keep(_ change: AdmissionBook.Change) {
        for record in change.added {
            persist(.admission(record.key, record.bytes), .admission(isPassedOn(record) ? record : nil))
            if case .voucher(let voucher) = record, voucher.welcome?.signer == me {
                event(.peerAdmitted(voucher.peer, voucher.serial))
            }
        }
        for key in change.removed { out.append(.forgetAdmission(key)) }
    }

    /// Sends a member the records that it seems to lack, at most so often.
    mutating func exchangeAdmissions(with peer: PeerID, that summary: AdmissionSummary) {
        guard summary != admissions.summary, let entry = peers[peer], entry.isConnected else { return }
        if let last = entry.admissionsSentAt, now - last < limits.admissionExchangeInterval { return }
        let records = admissions.records(unlike: summary, by: configuration.identity)
        guard !records.isEmpty else { return }
        let now = now
        peers.update(peer) { $0.admissionsSentAt = now }
        for page in AdmissionNotice.pages(of: records) { send(.admission(page), to: peer) }
    }

    /// After the records have changed: begins with waiting strangers that are let in now, of whom another member may have
    /// told first, and ends what this node has to do with connected peers that are let in no longer.
    mutating func reviewConnected() {
        for peer in strangers.keys.sorted() where mayServe(peer) {
            if let stranger = strangers.removeValue(forKey: peer) { welcome(peer, stranger.addresses) }
        }
        for peer in peers.known where !mayServe(peer) && peers[peer]?.isConnected == true {
            let reason = admissions.reason(against: peer)
            disconnected(peer)
            // It was let in and not revoked: others used its capability before it.
            refuse(peer, reason == .noInvite ? .overused : reason)
            peers.remove(peer)
        }
        for peer in strangers.keys.sorted() where admissions.isRevokedByFounder(peer) { refuse(peer, .revoked) }
    }
}
