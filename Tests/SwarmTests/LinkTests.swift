import Compression
import OuterSync
import PeerNet
import Testing

@testable import Swarm

@Suite("What a round makes of its members' links") struct LinkRuleTests {
    private func join(down: UInt32, pace: UInt32 = 2_000, steps: UInt64 = 30) -> Join {
        Join(
            id: AttemptID(FragmentIndex(0), RoundIndex(1), 0), base: Digest(hashing: [1]),
            share: TrainingShare(tokens: steps * 100, steps: steps), millistepsPerSecond: pace, rateClass: 4,
            rates: LinkRates(up: 0, down: down), accepted: nil)
    }

    /// Two slots of 5 s in 20 steps at 2 steps/s; a result may take 3.75 s of one.
    private func level(_ joins: [Join], _ byteCounts: [Int] = [400_000, 200_000, 50_000]) -> Int {
        ResultLevel.level(joins: joins, byteCounts: byteCounts, innerStepsPerRound: 20, fragmentCount: 2)
    }

    @Test func theSlowestThatCanBeServedSetsTheLevel() {
        #expect(level([join(down: 20_000), join(down: 5_000)]) == 0)
        // 200,000 bytes take 3.75 s at 427 kbit/s, 50,000 at 107 kbit/s.
        #expect(level([join(down: 20_000), join(down: 430)]) == 1)
        #expect(level([join(down: 20_000), join(down: 426)]) == 2)
        #expect(level([join(down: 20_000), join(down: 107)]) == 2)
        #expect(level([join(down: 20_000), join(down: 106)]) == 0, "a hopeless link is given up")
        #expect(level([join(down: 20_000), join(down: 1), join(down: 430)]) == 1)
        #expect(level([join(down: 20_000), join(down: 0)]) == 0, "nothing measured asks for nothing")
        #expect(level([]) == 0)
        #expect(level([join(down: 200)], []) == 0, "no ladder, no level")
    }

    @Test func resultsBecomeFinerStepByStepAndNotWhileSomebodyIsMissing() {
        #expect(ResultLevel.following(0, needed: 0, isComplete: true) == 0)
        #expect(ResultLevel.following(3, needed: 0, isComplete: true) == 2)
        #expect(ResultLevel.following(3, needed: 0, isComplete: false) == 3)
        #expect(ResultLevel.following(1, needed: 3, isComplete: false) == 3)
    }

    @Test func inALargerSwarmAnEighthCannotCoarsenTheRest() {
        let fast = (0..<7).map { _ in join(down: 20_000) }
        #expect(level(fast + [join(down: 200)]) == 0)
        #expect(level(fast + [join(down: 200), join(down: 430)]) == 1)
    }

    @Test func thePaceIsTheMembersMedian() {
        let liars = [join(down: 5_000, pace: .max)]
        #expect(level(liars + (0..<2).map { _ in join(down: 5_000) }) == 0)
        #expect(level((0..<2).map { _ in join(down: 5_000, pace: 0) }) == 0, "nobody trains")
        // The largest numbers overflow nothing.
        #expect(level([join(down: .max, pace: 1)], [Int.max >> 8, 1]) == 1)
    }

    @Test func slowMembersOwnNothingAndAClaimDoesNotWinAllTiles() {
        #expect(Ownership.tickets([2, 4, 7, 9]) == [0, 0, 4, 16])
        #expect(Ownership.tickets([4, 4, 4, 16]) == [4, 4, 4, 16])
        #expect(Ownership.tickets([4, 4, 4, 4]) == [4, 4, 4, 4])
        #expect(Ownership.tickets([1]) == [4])
        #expect(Ownership.tickets([1, 16]) == [0, 4])
        #expect(Ownership.tickets([]) == [])
    }

    @Test func classesAreFactorsOfTwoAndStick() {
        #expect(
            [0, 1, 127, 128, 200, 1_000, 5_000, 20_000, .max].map(LinkBook.rateClass(ofKilobits:)) == [
                1, 1, 1, 2, 2, 4, 7, 9, 16,
            ])
        var book = LinkBook()
        let peer = testIdentity(1).peerID
        #expect(book.currentClass(unmeasured: 4) == 4)
        func set(_ kilobits: UInt32) -> UInt32 {
            book.update(peer) { $0.sentKilobits = kilobits }
            return book.currentClass(unmeasured: 4)
        }
        #expect(set(1_000) == 4)
        #expect(set(1_500) == 4)
        #expect(set(350) == 4)
        #expect(set(1_600) == 5)
        #expect(set(700) == 5)
        #expect(set(600) == 4)
        #expect(set(20_000) == 9)
        #expect(set(1) == 1)
    }
}

@Suite("What is measured of links") struct LinkMeterTests {
    private func transfer(_ bytes: Int, _ began: Double, _ ended: Double) -> BlobTransferRecord {
        BlobTransferRecord(byteCount: bytes, began: .zero + .seconds(began), ended: .zero + .seconds(ended))
    }

    @Test func transfersSideBySideShareTheLink() {
        var meter = GoodputMeter()
        #expect(meter.kilobits == 0)
        meter.add(transfer(100_000, 0, 4))
        #expect(meter.bytesPerSecond == 25_000)
        // Both run from 4 to 8: a link of 25,000 bytes/s all the time.
        meter.add(transfer(50_000, 4, 8))
        meter.add(transfer(50_000, 4, 8))
        #expect(meter.bytesPerSecond == 25_000)
        #expect(meter.kilobits == 200)
        // Small ones say nothing, and a burst little.
        meter.add(transfer(10, 8, 8.001))
        meter.add(transfer(8_000, 8, 8.005))
        #expect((200...210).contains(meter.kilobits))
        // What is long past counts no more.
        for second in 10..<18 { meter.add(transfer(1_000, Double(second), Double(second) + 1)) }
        #expect(meter.kilobits == 8)
    }

    @Test func onePeersWordOnThisNodesRateIsBounded() {
        var book = LinkBook()
        for (number, kilobits) in [(1, 100), (2, 300), (3, UInt32.max)] as [(UInt8, UInt32)] {
            book.update(testIdentity(number).peerID) { $0.sentKilobits = kilobits }
        }
        #expect(book.ownRates.up == 64 * 300)
        book.disconnected(testIdentity(3).peerID)
        #expect(book.ownRates.up == 300)
    }
}

@Suite("Messages on a link") struct LinkMessageTests {
    static let context = BranchContext(swarmID: Digest(hashing: [3]), branch: NodeCore.branch)
    static let maker = testIdentity(1)
    static let receiver = testIdentity(2).peerID

    static func table(version: UInt32 = 1, round: UInt64 = 3, receiver: PeerID = receiver) -> LinkTable {
        LinkTable(
            receiver: receiver, fragment: FragmentIndex(1), version: version,
            CodecTable(
                fromRound: RoundIndex(round), codecs: [.e3m0, .e3m0, .statistical(bits: 2), .e3m0], byteCount: 900))
    }

    static var samples: [LinkMessage] {
        [
            .hello(LinkHello(families: [0, 1, 4], payloadBytesMax: 70_000)),
            .report(LinkReport(receivedKilobits: 0, roundTrip: nil)),
            .report(LinkReport(receivedKilobits: 1_234, roundTrip: .milliseconds(17))),
            .table(Signed(table(), by: maker, in: context)),
        ]
    }

    private func decode(_ bytes: [UInt8], from peer: PeerID = maker.peerID) throws(Refusal) -> LinkMessage {
        try LinkMessage(bytes: bytes, from: peer, in: Self.context)
    }

    @Test func everyMessageComesBack() throws {
        for message in Self.samples {
            #expect(try decode(message.bytes(in: Self.context)) == message)
        }
    }

    @Test func nothingElsePasses() throws {
        let table = LinkMessage.table(Signed(Self.table(), by: Self.maker, in: Self.context))
        #expect(throws: Refusal.self) { try decode(table.bytes(in: Self.context), from: Self.receiver) }
        let elsewhere = BranchContext(swarmID: Digest(hashing: [4]), branch: NodeCore.branch)
        #expect(throws: Refusal.self) { try decode(table.bytes(in: elsewhere)) }
        #expect(throws: Refusal.self) { try decode([]) }
        #expect(throws: Refusal.self) { try decode([UInt8](repeating: 0, count: Limits.linkMessageBytesMax + 1)) }
        func refuses(_ change: (inout WireLinkEnvelope) -> Void) -> Bool {
            var envelope = WireLinkEnvelope()
            envelope.version = 1
            envelope.swarmID = wire(Self.context.swarmID.bytes)
            change(&envelope)
            return (try? decode(encode(envelope))) == nil
        }
        #expect(refuses { $0.hello.payloadBytesMax = 1 })
        #expect(
            refuses {
                $0.hello.families = [1]
                $0.hello.payloadBytesMax = 0
            })
        #expect(
            refuses {
                $0.hello.families = [2, 1]
                $0.hello.payloadBytesMax = 1
            })
        #expect(
            refuses {
                $0.hello.families = [1, 256]
                $0.hello.payloadBytesMax = 1
            })
        #expect(refuses { $0.report.receivedKbits = Limits.kilobitsMax + 1 })
        #expect(refuses { $0.report.roundTripMicros = .max })
        #expect(
            refuses {
                $0.version = 2
                $0.report.receivedKbits = 1
            })
    }

    @Test func aTablesBodyIsChecked() throws {
        func refuses(_ change: (inout WireLinkTableBody) -> Void) throws -> Bool {
            var body = try Swarm.decode(WireLinkTableBody.self, Self.table().body)
            change(&body)
            return (try? LinkTable(body: encode(body), in: Self.context)) == nil
        }
        #expect(try !refuses { _ in })
        #expect(try refuses { $0.runs = [] })
        #expect(try refuses { $0.runs[0].tiles = 0 })
        #expect(try refuses { $0.runs[0].tiles = UInt32.max })
        #expect(try refuses { $0.runs[0].family = 77 })
        #expect(try refuses { $0.runs[0].level = 70_000 })
        #expect(try refuses { $0.receiver = wire([1, 2]) })
        #expect(try refuses { $0.fromRound = 0 })
        #expect(try refuses { $0.fragment = UInt32(Limits.fragmentsMax) })
        #expect(try refuses { $0.predictedBytes = 0 })
    }
}

@Suite("A core at a link") struct LinkCoreTests {
    private static func swarm() -> TestSwarm {
        let swarm = TestSwarm(nodes: 3)
        for number in 0..<3 { swarm.start(number) }
        swarm.run(until: 8)
        return swarm
    }

    private static func send(_ message: LinkMessage, to swarm: TestSwarm) {
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        swarm.perform(
            .linkReceived(from: swarm.nodes[1].peerID, message: message.bytes(in: context)), on: swarm.nodes[0])
    }

    private static func violations(_ swarm: TestSwarm) -> [String] {
        swarm.nodes[0].events.compactMap { event in
            if case .violation(_, let reason) = event { reason } else { nil }
        }
    }

    private static func table(_ swarm: TestSwarm, version: UInt32, round: UInt64, codec: Codec = .e3m0) -> LinkMessage {
        let content = LinkTable(
            receiver: swarm.nodes[0].peerID, fragment: FragmentIndex(0), version: version,
            CodecTable(fromRound: RoundIndex(round), codecs: [codec], byteCount: 10))
        let context = BranchContext(swarmID: swarm.swarmID, branch: NodeCore.branch)
        return .table(Signed(content, by: swarm.nodes[1].identity, in: context))
    }

    @Test func membersGreetAndReportTheirRates() {
        let swarm = Self.swarm()
        #expect(Self.violations(swarm).isEmpty)
        let peer = swarm.nodes[1].peerID
        #expect(swarm.nodes[0].core?.links[peer]?.hello?.families == NodeCore.families)
        swarm.perform(
            .transferred(
                from: peer, BlobTransferRecord(byteCount: 125_000, began: .zero, ended: .zero + .seconds(1))),
            on: swarm.nodes[0])
        swarm.perform(.roundTrip(peer, .milliseconds(30)), on: swarm.nodes[0])
        swarm.run(until: 20)
        let status = swarm.nodes[1].core?.linkStatuses.first { $0.peer == swarm.nodes[0].peerID }
        #expect(status?.sentKilobits == 1_000)
        #expect(status?.roundTrip == .milliseconds(30))
        #expect(swarm.nodes[0].core?.linkStatuses.first { $0.peer == peer }?.receivedKilobits == 1_000)
    }

    @Test func tablesFollowOneAnother() {
        let swarm = Self.swarm()
        Self.send(Self.table(swarm, version: 1, round: 3), to: swarm)
        Self.send(Self.table(swarm, version: 1, round: 3), to: swarm)
        Self.send(Self.table(swarm, version: 2, round: 5), to: swarm)
        #expect(Self.violations(swarm).isEmpty)
        let peer = swarm.nodes[1].peerID
        #expect(swarm.nodes[0].core?.links[peer]?.theirs[FragmentIndex(0)]?.version == 2)
        // A restart begins anew, with a hello.
        Self.send(.hello(LinkHello(families: [1], payloadBytesMax: 9)), to: swarm)
        Self.send(Self.table(swarm, version: 1, round: 4), to: swarm)
        #expect(Self.violations(swarm).isEmpty)
        Self.send(Self.table(swarm, version: 1, round: 6), to: swarm)
        #expect(Self.violations(swarm) == ["a table does not follow the one before it"])
    }

    @Test func aTableWithAnotherCodecIsAnOffence() {
        let swarm = Self.swarm()
        Self.send(Self.table(swarm, version: 1, round: 3, codec: .float32), to: swarm)
        #expect(Self.violations(swarm) == ["a table has a codec that is not allowed"])
    }

    @Test func tooManyMessagesAreAnOffence() {
        let swarm = Self.swarm()
        let report = LinkMessage.report(LinkReport(receivedKilobits: 5, roundTrip: nil))
        for _ in 0..<(Limits.linkMessagesBurst - 4) { Self.send(report, to: swarm) }
        #expect(Self.violations(swarm).isEmpty)
        for _ in 0..<200 { Self.send(report, to: swarm) }
        #expect(Self.violations(swarm).first == "it sends link messages too often")
    }
}
