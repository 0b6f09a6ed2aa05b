import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("Who may take part")
struct AdmissionTests {
    private func closedSwarm(_ nodes: Int, seed: UInt64 = 1) -> TestSwarm {
        let swarm = TestSwarm(nodes: nodes, seed: seed, admission: .invite)
        swarm.start(0)
        return swarm
    }

    private func refusals(_ node: TestNode) -> [AdmissionRefusal] {
        node.events.compactMap { if case .refusedBy(_, let refusal) = $0 { refusal } else { nil } }
    }

    private func isMember(_ number: Int, _ swarm: TestSwarm) -> Bool {
        swarm.nodes.filter { $0.isUp && $0.number != number }.allSatisfy {
            $0.core!.mayServe(swarm.nodes[number].peerID)
        }
    }

    private func seconds(_ swarm: TestSwarm) -> Double { (swarm.now - .zero).inSeconds }

    @Test(arguments: 1...3) func aSwarmByInviteFormsAndTrains(seed: UInt64) throws {
        let swarm = closedSwarm(5, seed: seed)
        let shared = try swarm.issue(uses: 3)
        for number in 1...3 { swarm.nodes[number].credential = shared }
        swarm.nodes[4].credential = try swarm.issue(for: 4)
        for number in 1..<5 { swarm.start(number) }
        #expect(
            swarm.run(until: 200) { swarm in
                swarm.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 6 } }
                    && swarm.nodes[0].summaries(0).last?.contributors == 5
            })
        for number in 0..<5 { #expect(isMember(number, swarm)) }
        #expect(swarm.run(until: 300) { Set($0.nodes.map { $0.core!.admissions.summary }).count == 1 })
        #expect(swarm.nodes.allSatisfy { $0.core!.admissions.voucherCount == 4 && $0.core!.status.refusal == nil })
        #expect(swarm.violations.isEmpty)
    }

    /// Everything that a core keeps about others, for seeing that nothing was kept.
    private func traces(_ core: NodeCore) -> [Int] {
        [core.peers.count, core.strangers.count, core.admissions.voucherCount]
            + core.admissions.summary.bytes.map(Int.init)
    }

    @Test func expiredOverusedRevokedAndForeignInvitesAreRefusedBeforeAnythingIsKept() throws {
        let swarm = closedSwarm(8)
        let once = try swarm.issue(uses: 1, secret: 50)
        swarm.nodes[1].credential = once
        swarm.start(1)
        #expect(swarm.run(until: 30) { self.isMember(1, $0) && $0.nodes[1].core!.mayServe($0.nodes[0].peerID) })
        let revoked = try swarm.issue(uses: 9, secret: 51)
        try swarm.command(0) { try $0.revoke(revoked.serial, at: swarm.now, into: &$1) }
        swarm.nodes[2].credential = try swarm.issue(seconds: 5, secret: 52)
        swarm.nodes[3].credential = once
        swarm.nodes[4].credential = revoked
        swarm.nodes[5].credential = nil
        swarm.nodes[6].credential = try swarm.issue(for: 5)
        // Signed by a member that is no delegate.
        let forged = Capability(holder: testIdentity(77).peerID, isBound: false, expires: .max, uses: 1)
        swarm.nodes[7].credential = Credential(
            capability: Signed(
                forged, by: swarm.nodes[1].identity, in: swarm.nodes[0].core!.admissions.context.signing),
            delegation: nil, secret: [UInt8](repeating: 77, count: 32))
        swarm.run(until: seconds(swarm) + 130)
        let before = [0, 1].map { traces(swarm.nodes[$0].core!) }
        let journals = [0, 1].map { swarm.nodes[$0].admissions }
        for number in 2..<8 { swarm.start(number) }
        swarm.run(until: seconds(swarm) + 40)
        let expected: [AdmissionRefusal] = [.expired, .overused, .revoked, .noInvite, .invalid, .invalid]
        for (node, refusal) in zip(swarm.nodes[2...], expected) {
            // A node that cannot even claim shows nothing, and is told so.
            let told = node.number == 6 || node.number == 7 ? [refusal, .noInvite] : [refusal]
            #expect(!refusals(node).isEmpty && refusals(node).allSatisfy(told.contains), "\(node.number)")
            #expect(node.core!.status.refusal != nil)
            #expect(node.heads.allSatisfy { $0.round == 0 } && node.blobs.isEmpty && node.finals.allSatisfy(\.isEmpty))
            #expect(node.core!.status.fragments.allSatisfy { $0.ledgerRound.value == 0 })
        }
        #expect([0, 1].map { traces(swarm.nodes[$0].core!) } == before)
        #expect([0, 1].map { swarm.nodes[$0].admissions } == journals)
        #expect(swarm.nodes[0].heads[0].round > 6)
    }

    @Test func aStrangerGetsNoAnswerAndNoBlob() throws {
        let swarm = closedSwarm(2)
        swarm.run(until: 20)
        var core = swarm.nodes[0].core!
        let peer = swarm.nodes[1].peerID
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        func outputs(_ input: NodeCore.Input) -> [NodeCore.Output] {
            var outputs: [NodeCore.Output] = []
            core.handle(input, at: swarm.now, into: &outputs)
            return outputs
        }
        let greeting = outputs(.connected(peer, addresses: []))
        #expect(greeting.count == 1, "it is shown who this is, nothing else: \(greeting)")
        #expect(!core.mayServe(peer))
        for message in [
            Message.ledgerRequest(FragmentIndex(0), from: RoundIndex(1)), .snapshotRequest(FragmentIndex(0)),
            .status(core.report()), .goodbye,
            .hello(Hello(incarnation: 1, addresses: [swarm.address(1)], report: core.report())),
            .admission(AdmissionNotice([])),
        ] {
            #expect(outputs(.received(from: peer, message: message.bytes(in: context))).isEmpty)
        }
        #expect(core.peers.count == 0)
        // A capability that the founder never saw.
        let forger = swarm.nodes[1].identity
        let forged = try #require(
            Credential(
                founder: forger, swarmID: swarm.swarmID, secret: [UInt8](repeating: 1, count: 32), expires: .max,
                uses: 9))
        let voucher = try forged.voucher(
            for: forger, in: AdmissionContext(swarmID: swarm.swarmID, founder: forger.peerID))
        let shown = Message.admission(AdmissionNotice(presenting: [voucher])).bytes(in: context)
        #expect(core.refusal(of: shown, by: peer) == .invalid)
        #expect(core.refusal(of: [], by: peer) == .noInvite, "who shows nothing learns what is missing")
        let answer = outputs(.received(from: peer, message: shown))
        #expect(answer.contains(.send(to: peer, message: Message.admissionRefused(.invalid).bytes(in: context))))
        #expect(answer.contains { if case .disconnect(peer, _) = $0 { true } else { false } })
        #expect(core.strangers.isEmpty && core.peers.count == 0)
        _ = outputs(.connected(peer, addresses: []))
        let large = [UInt8](repeating: 0, count: Limits.presentationBytesMax + 1)
        #expect(
            outputs(.received(from: peer, message: large)).contains {
                if case .disconnect(peer, _) = $0 { true } else { false }
            })
    }

    @Test func strangersAreFewAndSoonGone() throws {
        let swarm = closedSwarm(1)
        var core = swarm.nodes[0].core!
        var outputs: [NodeCore.Output] = []
        func peer(_ number: Int) -> PeerID {
            PeerID(publicKey: (0..<32).map { UInt8(truncatingIfNeeded: number >> $0) })!
        }
        for number in 1...Limits.strangersMax + 5 {
            core.handle(.connected(peer(number), addresses: []), at: swarm.now, into: &outputs)
        }
        #expect(core.strangers.count == Limits.strangersMax)
        func dropped() -> Int { outputs.count { if case .disconnect = $0 { true } else { false } } }
        #expect(dropped() == 5)
        core.handle(.timerFired(.status), at: swarm.now + .seconds(31), into: &outputs)
        #expect(core.strangers.isEmpty && core.peers.count == 0)
        #expect(dropped() == Limits.strangersMax + 5)
    }

    @Test func aRevokedMemberIsDroppedEverywhereAndStaysOut() throws {
        let swarm = closedSwarm(4)
        let invite = try swarm.issue(uses: 3)
        for number in 1..<4 { swarm.nodes[number].credential = invite }
        for number in 1..<4 { swarm.start(number) }
        #expect(swarm.run(until: 60) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 3 } } })
        let victim = swarm.nodes[2].peerID
        try swarm.command(0) { try $0.revoke(victim, at: swarm.now, into: &$1) }
        #expect(
            swarm.run(until: seconds(swarm) + 10) { swarm in
                [0, 1, 3].allSatisfy { !swarm.nodes[$0].core!.mayServe(victim) }
            })
        let round = swarm.nodes[0].heads[0].round
        #expect(swarm.run(until: seconds(swarm) + 120) { $0.nodes[0].heads[0].round >= round + 4 })
        #expect(swarm.links.allSatisfy { !$0.contains(2) })
        #expect(refusals(swarm.nodes[2]).contains(.revoked))
        let last = swarm.nodes[0].summaries(0).last
        #expect(last?.contributors == 3)
        // Restarts change nothing, on either side.
        for number in 0..<4 { swarm.restart(number, after: 1) }
        swarm.run(until: seconds(swarm) + 60)
        #expect(swarm.links.allSatisfy { !$0.contains(2) })
        #expect(swarm.nodes[0].core!.status.connectedMembers.count == 2)
        #expect(!swarm.nodes[0].core!.mayServe(victim))
    }

    @Test func aMembershipOutlivesItsInviteAndARestart() throws {
        let swarm = closedSwarm(3)
        let invite = try swarm.issue(uses: 2, seconds: 60)
        for number in 1..<3 { swarm.nodes[number].credential = invite }
        for number in 1..<3 { swarm.start(number) }
        #expect(swarm.run(until: 60) { swarm in (1..<3).allSatisfy { self.isMember($0, swarm) } })
        swarm.run(until: 400)
        for number in 0..<3 { swarm.restart(number, after: 1 + Double(number)) }
        swarm.run(until: 405)
        #expect(swarm.run(until: 460) { $0.nodes.allSatisfy { $0.core?.status.connectedMembers.count == 2 } })
    }

    @Test func aMemberThatNobodyHereHasHeardOfShowsTheChainOfThoseThatLetItIn() throws {
        let swarm = closedSwarm(4)
        let invite = try swarm.issue(uses: 3, seconds: 60)
        for number in 1..<4 { swarm.nodes[number].credential = invite }
        swarm.start(3)
        #expect(swarm.run(until: 20) { self.isMember(3, $0) })
        swarm.crash(3)
        // Node 1 comes by the founder, node 2 by node 1 alone, while node 3 is away; then only 2 and 3 are left.
        swarm.start(1)
        #expect(swarm.run(until: 40) { $0.nodes[1].core!.admissions.admits($0.nodes[1].peerID) })
        swarm.crash(0)
        swarm.start(2)
        swarm.command(2) {
            $1.append(.dial(swarm.nodes[1].peerID, [swarm.address(1)])); _ = $0
        }
        #expect(swarm.run(until: 60) { $0.nodes[1].core!.mayServe($0.nodes[2].peerID) })
        #expect(
            swarm.run(until: 80) { $0.nodes[2].core!.admissions.chain(for: $0.nodes[2].peerID).count == 2 })
        swarm.run(until: 300)
        swarm.crash(1)
        swarm.start(3)
        swarm.command(3) {
            $1.append(.dial(swarm.nodes[2].peerID, [swarm.address(2)])); _ = $0
        }
        #expect(
            swarm.run(until: 320) {
                $0.nodes[3].core!.mayServe($0.nodes[2].peerID) && $0.nodes[2].core!.mayServe($0.nodes[3].peerID)
            })
        #expect(swarm.nodes[3].core!.mayServe(swarm.nodes[1].peerID))
    }

    @Test func ofTwoThatUsedOneInviteInTwoPlacesTheFirstStays() throws {
        let swarm = closedSwarm(4)
        swarm.nodes[1].credential = try swarm.issue(secret: 1)
        swarm.start(1)
        #expect(swarm.run(until: 20) { $0.nodes[1].core!.admissions.admits($0.nodes[1].peerID) })
        let once = try swarm.issue(uses: 1, secret: 2)
        // Cut: 0 and 2 here, 1 and 3 there.
        swarm.drops = { from, to, _ in (from + to) % 2 == 1 }
        for number in 2..<4 { swarm.nodes[number].credential = once }
        swarm.start(2)
        #expect(swarm.run(until: seconds(swarm) + 5) { $0.nodes[0].core!.mayServe($0.nodes[2].peerID) })
        swarm.run(until: seconds(swarm) + 5)
        swarm.start(3)
        swarm.command(3) {
            $1.append(.dial(swarm.nodes[1].peerID, [swarm.address(1)])); _ = $0
        }
        #expect(swarm.run(until: seconds(swarm) + 20) { $0.nodes[1].core!.mayServe($0.nodes[3].peerID) })
        swarm.drops = { _, _, _ in false }
        let (first, second) = (swarm.nodes[2].peerID, swarm.nodes[3].peerID)
        #expect(
            swarm.run(until: seconds(swarm) + 60) { swarm in
                [0, 1].allSatisfy {
                    swarm.nodes[$0].core!.mayServe(first) && !swarm.nodes[$0].core!.mayServe(second)
                }
            })
        swarm.run(until: seconds(swarm) + 10)
        #expect(refusals(swarm.nodes[3]).contains(.overused))
        #expect(swarm.nodes[0].core!.admissions.summary == swarm.nodes[1].core!.admissions.summary)
    }

    @Test func aDelegateInvitesWithinItsLimits() throws {
        let swarm = closedSwarm(5)
        swarm.nodes[1].credential = try swarm.issue(for: 1)
        swarm.start(1)
        #expect(swarm.run(until: 20) { self.isMember(1, $0) })
        #expect(throws: IssuingError.notAnIssuer) { try swarm.issue(by: 1) }
        let delegate = swarm.nodes[1].peerID
        var serial: CapabilitySerial?
        try swarm.command(0) {
            serial = try $0.delegate(to: delegate, uses: 2, seconds: 500, at: swarm.now, into: &$1)
        }
        #expect(swarm.run(until: 40) { (try? $0.issue(by: 1)) != nil })
        #expect(throws: IssuingError.notTheFounder) {
            try swarm.command(1) {
                _ = try $0.delegate(to: swarm.nodes[2].peerID, uses: 1, seconds: 5, at: swarm.now, into: &$1)
            }
        }
        // Two invites of two uses each, but two in all.
        let (left, right) = (try swarm.issue(by: 1, uses: 2, secret: 3), try swarm.issue(by: 1, uses: 2, secret: 4))
        #expect(left.expires <= TestSwarm.epoch + 540)
        for (number, invite) in [(2, left), (3, right), (4, left)] {
            swarm.nodes[number].credential = invite
            swarm.start(number)
            swarm.run(until: seconds(swarm) + 10)
        }
        for peer in 2...3 {
            #expect([0, 1].allSatisfy { swarm.nodes[$0].core!.mayServe(swarm.nodes[peer].peerID) })
        }
        #expect(refusals(swarm.nodes[4]) == [.overused])
        // A delegate's word goes as far as its own invites.
        let (two, three) = (swarm.nodes[2].peerID, swarm.nodes[3].peerID)
        try swarm.command(1) { try $0.revoke(right.serial, at: swarm.now, into: &$1) }
        swarm.run(until: seconds(swarm) + 5)
        #expect([0, 1, 2].allSatisfy { !swarm.nodes[$0].core!.mayServe(three) })
        let revoked = try #require(serial)
        try swarm.command(0) { try $0.revoke(revoked, at: swarm.now, into: &$1) }
        swarm.run(until: seconds(swarm) + 5)
        #expect([0, 1].allSatisfy { !swarm.nodes[$0].core!.mayServe(two) && swarm.nodes[$0].core!.mayServe(delegate) })
        #expect(throws: IssuingError.notAnIssuer) { try swarm.issue(by: 1) }
    }

    @Test func aListedPeerNeedsNothingElse() {
        let allowed = [testIdentity(2).peerID, testIdentity(3).peerID].sorted()
        let swarm = TestSwarm(nodes: 4, admission: .allowList(allowed))
        for number in 0..<4 { swarm.start(number) }
        #expect(swarm.run(until: 60) { $0.nodes.prefix(3).allSatisfy { $0.heads.allSatisfy { $0.round >= 3 } } })
        #expect(!refusals(swarm.nodes[3]).isEmpty && refusals(swarm.nodes[3]).allSatisfy { $0 == .notListed })
        #expect(swarm.nodes[3].heads[0].round == 0)
    }

    @Test func whereEverybodyIsLetInARevokedPeerIsNot() throws {
        let swarm = TestSwarm(nodes: 3)
        for number in 0..<3 { swarm.start(number) }
        #expect(swarm.run(until: 60) { $0.nodes.allSatisfy { $0.heads.allSatisfy { $0.round >= 2 } } })
        let victim = swarm.nodes[2].peerID
        #expect(throws: IssuingError.notAnIssuer) {
            try swarm.command(1) { try $0.revoke(victim, at: swarm.now, into: &$1) }
        }
        try swarm.command(0) { try $0.revoke(victim, at: swarm.now, into: &$1) }
        swarm.run(until: seconds(swarm) + 20)
        #expect(swarm.links == [[0, 1]])
        #expect(swarm.nodes[0].core!.mayServe(testIdentity(9).peerID))
    }
}
