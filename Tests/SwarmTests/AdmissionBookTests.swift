import Compression
import PeerNet
import Testing

@testable import Swarm

@Suite("The records of who may take part")
struct AdmissionBookTests {
    private let founder = testIdentity(1)
    private var context: AdmissionContext {
        AdmissionContext(swarmID: Digest(hashing: [9, 9]), founder: founder.peerID)
    }
    private var book: AdmissionBook { AdmissionBook(rule: .invite, context: context) }

    private func capability(uses: UInt32, expires: UInt64 = 1_000, secret: UInt8 = 200) -> Signed<Capability> {
        let content = Capability(
            holder: testIdentity(secret).peerID, isBound: false, expires: expires, uses: uses)
        return Signed(content, by: founder, in: context.signing)
    }

    private func voucher(
        _ peer: UInt8, of capability: Signed<Capability>, secret: UInt8 = 200, at time: UInt64? = nil,
        by member: UInt8 = 1
    ) throws -> Voucher {
        let claim = Claim(capability: capability.digest, peer: testIdentity(peer).peerID)
        let voucher = try Voucher(
            capability: capability, delegation: nil,
            claim: Signed(claim, by: testIdentity(secret), in: context.signing), welcome: nil, in: context)
        guard let time else { return voucher }
        return try voucher.welcomed(by: testIdentity(member), at: time, in: context)
    }

    @Test func anInviteIsGoodUntilTwoMinutesAfterItsTime() throws {
        let capability = capability(uses: 9)
        for (time, isGood) in [(0, true), (1_000, true), (1_120, true), (1_121, false), (UInt64.max, false)]
            as [(UInt64, Bool)]
        {
            var book = book
            let peer = testIdentity(10).peerID
            let result = book.judge([try voucher(10, of: capability)], by: peer, me: founder, at: time)
            #expect(book.admits(peer) == isGood)
            if !isGood { #expect(throws: AdmissionRefusal.expired) { try result.get() } }
            let isAcceptable = (try? voucher(10, of: capability, at: time)) != nil
            #expect(isAcceptable == isGood)
        }
    }

    @Test func nobodyStandsForItselfAndNoStrangerForAnybody() throws {
        let capability = capability(uses: 9)
        #expect(throws: Refusal.self) { try voucher(10, of: capability, at: 5, by: 10) }
        var book = book
        let early = book.take([try voucher(10, of: capability, at: 5, by: 11)])
        #expect(early.isEmpty)
        #expect(!book.admits(testIdentity(10).peerID))
        // In one batch the order does not matter.
        let change = book.take([
            try voucher(10, of: capability, at: 5, by: 11), try voucher(11, of: capability, at: 4, by: 1),
        ])
        #expect(change.added.count == 2 && book.admits(testIdentity(10).peerID))
    }

    @Test func aClaimByAnotherKeyIsRefused() throws {
        let capability = capability(uses: 9)
        #expect(throws: Refusal.self) { try voucher(10, of: capability, secret: 201) }
    }

    @Test(arguments: 1...20) func whoIsAdmittedDoesNotDependOnTheOrderOfNews(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let capabilities = [capability(uses: 3, secret: 200), capability(uses: 5, secret: 201)]
        var records: [AdmissionRecord] = []
        for peer in UInt8(10)..<22 {
            let which = Int.random(in: 0...1, using: &random)
            records.append(
                .voucher(
                    try voucher(
                        peer, of: capabilities[which], secret: UInt8(200 + which),
                        at: UInt64.random(in: 1...4, using: &random))))
        }
        let victim = testIdentity(UInt8.random(in: 10..<22, using: &random)).peerID
        records.append(.revocation(Signed(Revocation(.peer(victim)), by: founder, in: context.signing)))
        if seed.isMultiple(of: 4) {
            records.append(
                .revocation(Signed(Revocation(.serial(capabilities[0].serial)), by: founder, in: context.signing)))
        }
        var books: [AdmissionBook] = []
        for _ in 0..<3 {
            var book = book
            for record in records.shuffled(using: &random) {
                switch record {
                case .voucher(let voucher): _ = book.take([voucher])
                case .revocation(let revocation): _ = book.take(revocation)
                case .delegation: break
                }
            }
            books.append(book)
        }
        for peer in UInt8(10)..<22 {
            #expect(Set(books.map { $0.admits(testIdentity(peer).peerID) }).count == 1)
        }
        #expect(Set(books.map(\.summary)).count == 1)
        #expect(!books[0].admits(victim))
        for capability in capabilities {
            let peers = (UInt8(10)..<22).filter {
                books[0].voucher(of: testIdentity($0).peerID)?.serial == capability.serial
            }
            #expect(peers.count <= Int(capability.content.uses))
        }
        // What a node lacks it gets from any other, and keeps over a restart.
        var newcomer = book
        for record in books[0].records(unlike: newcomer.summary, by: founder) {
            let copy = try AdmissionRecord(bytes: record.bytes, in: context)
            #expect(copy == record)
            if case .voucher(let voucher) = copy { _ = newcomer.take([voucher]) }
            if case .revocation(let revocation) = copy { _ = newcomer.take(revocation) }
        }
        #expect(newcomer.summary == books[0].summary)
        var restarted = book
        restarted.restore(books[0].records(unlike: AdmissionSummary(), by: founder))
        #expect(restarted.summary == books[0].summary)
        #expect(books[0].records(unlike: newcomer.summary, by: founder).isEmpty)
    }

    @Test func aMemberThatWasRevokedTakesNobodyWithIt() throws {
        let capability = capability(uses: 9)
        var book = book
        _ = book.take([try voucher(10, of: capability, at: 1), try voucher(11, of: capability, at: 2, by: 10)])
        let (ten, eleven) = (testIdentity(10).peerID, testIdentity(11).peerID)
        let isRevoked = book.take(Signed(Revocation(.peer(ten)), by: founder, in: context.signing))
        #expect(isRevoked)
        #expect(!book.admits(ten) && book.admits(eleven))
        // A node that learns of it afterwards cannot rely on the revoked member, but on whoever passes it on.
        var other = self.book
        for record in book.records(unlike: other.summary, by: founder) {
            if case .voucher(let voucher) = record { _ = other.take([voucher]) }
            if case .revocation(let revocation) = record { _ = other.take(revocation) }
        }
        #expect(other.admits(eleven) && !other.admits(ten))
        #expect(other.summary == book.summary)
    }

    @Test func recordsAreBounded() throws {
        var book = book
        var delegate: [UInt8] = []
        for number in 0..<Limits.delegationsMax + 3 {
            let content = Delegation(delegate: testIdentity(UInt8(number + 2)).peerID, expires: 9, uses: 1)
            if book.take(Signed(content, by: founder, in: context.signing)) { delegate.append(UInt8(number + 2)) }
        }
        #expect(delegate.count == Limits.delegationsMax)
        let signer = testIdentity(delegate[0])
        var count = 0
        for number in 0..<Limits.revocationsPerDelegateMax + 3 {
            let target = Revocation.Target.peer(PeerID(publicKey: [UInt8](repeating: UInt8(number), count: 32))!)
            if book.take(Signed(Revocation(target), by: signer, in: context.signing)) { count += 1 }
        }
        #expect(count == Limits.revocationsPerDelegateMax)
        let isFounderRevoked = book.take(
            Signed(Revocation(.peer(founder.peerID)), by: founder, in: context.signing))
        #expect(!isFounderRevoked)
    }

    @Test func anInviteLineCarriesItsCredential() throws {
        let address = try Multiaddr("/ip4/127.0.0.1/tcp/4000").encapsulating(p2p: founder.peerID)
        let unbound = Credential(
            capability: capability(uses: 3), delegation: nil, secret: [UInt8](repeating: 200, count: 32))
        let peer = Capability(holder: testIdentity(9).peerID, isBound: true, expires: 5, uses: 1)
        let bound = Credential(
            capability: Signed(peer, by: founder, in: context.signing), delegation: nil, secret: nil)
        for credential in [unbound, bound] {
            let invite = Invite(
                swarmID: Digest(hashing: [9, 9]), bootstrap: [address], heads: [], credential: credential)
            #expect(try Invite.parse(invite.text) == invite)
            #expect(invite.text.count < 700)
        }
        // A credential of another swarm, a secret that is not the holder's.
        #expect(throws: InviteError.self) {
            try Invite.parse(
                Invite(swarmID: Digest(hashing: [8]), bootstrap: [address], credential: unbound).text)
        }
        let wrong = Credential(
            capability: unbound.capability, delegation: nil, secret: [UInt8](repeating: 201, count: 32))
        #expect(throws: InviteError.self) {
            try Invite.parse(Invite(swarmID: Digest(hashing: [9, 9]), bootstrap: [address], credential: wrong).text)
        }
    }

    @Test func charterKeepsItsRuleAndAnOpenOneItsBytes() throws {
        let allowed = [testIdentity(2).peerID, testIdentity(3).peerID].sorted()
        for admission in [.open, .invite, .allowList(allowed)] as [Charter.Admission] {
            let charter = testCharter(founder: founder.peerID, admission: admission)
            #expect(try Charter.opened(try charter.sealed(by: founder)) == charter)
        }
        for bad in [[], allowed.reversed(), [allowed[0], allowed[0]]] as [[PeerID]] {
            let charter = testCharter(founder: founder.peerID, admission: .allowList(bad))
            #expect(throws: CharterError.self) { try charter.sealed(by: founder) }
        }
        let many = (0..<Charter.Admission.allowedMax).map {
            PeerID(publicKey: [UInt8](repeating: UInt8($0), count: 32))!
        }
        let largest = testCharter(founder: founder.peerID, admission: .allowList(many))
        #expect(try largest.sealed(by: founder).count <= Limits.charterBytesMax)
        // The id of this open charter: its bytes stay while the version does.
        let open = try testCharter(founder: founder.peerID).sealed(by: founder)
        #expect(
            "\(Charter.swarmID(ofSealed: open))" == "121ab6de874c4e1277df5155af6c5e16e28c82fd68665718916627f9509484d4")
    }
}
