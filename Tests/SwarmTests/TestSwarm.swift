import Compression
import OuterSync
import PeerNet

@testable import Swarm

/// Some cores wired to each other on a virtual clock, with seeded latencies and arithmetic on digests.
final class TestSwarm {
    struct Happening {
        let at: Moment
        let order: UInt64
        let node: Int
        let incarnation: UInt64
        let what: What
    }

    enum What {
        case input(NodeCore.Input)
        case step
        case action((TestSwarm) -> Void)
    }

    let shapes: [FragmentShape]
    let charter: Charter
    let swarmID: Digest
    let genesis: [FakeHead]
    var nodes: [TestNode] = []
    var now = Moment.zero
    var queue: [Happening] = []
    var order: UInt64 = 0
    var random: SeededRandom
    var links: Set<[Int]> = []
    var loses = 0.0
    var trace = false
    /// Contributions that do not decode.
    var unfit: Set<Digest> = []
    var drops: (Int, Int, [UInt8]) -> Bool = { _, _, _ in false }
    var latency: ClosedRange<Double> = 0.001...0.03
    /// Unix time at the virtual clock's zero.
    static let epoch: UInt64 = 1_800_000_000
    /// When the last message between two nodes arrives: a stream keeps its order, where the order matters to a test.
    private var lastArrival: [[Int]: Double] = [:]

    init(
        nodes count: Int, fragments: Int = 2, tiles: Int = 3, budget: UInt64 = 1_000_000, stepsPerRound: Int = 20,
        seed: UInt64 = 1, admission: Charter.Admission = .open, gather: Int = 0,
        mode: SyncMode = .windowed, ownerFeedback: Float = 0
    ) {
        random = SeededRandom(seed: seed)
        shapes = (0..<fragments).map { _ in
            FragmentShape(tileCount: tiles, payloadBytesMax: 10_000, snapshotTileBytesMax: 1_000)
        }
        let founder = testIdentity(1)
        var charter = testCharter(
            founder: founder.peerID, budget: budget, stepsPerRound: stepsPerRound, admission: admission)
        charter.gatherMembersMax = gather
        charter.encoding.ownerFeedback = ownerFeedback
        charter.syncMode = mode
        if mode.isLate {
            charter.overlapSteps = 0
            charter.blendAlpha = 0
        }
        self.charter = charter
        swarmID = Digest(hashing: [9, 9])
        genesis = (0..<fragments).map { fragment in
            FakeHead(
                scalars: NodeCore.genesisScalars(
                    charter: testCharter(founder: founder.peerID), fragment: FragmentIndex(fragment)),
                leaves: (0..<tiles).map { Digest(hashing: [UInt8(fragment), UInt8($0)]) })
        }
        for number in 0..<count { addNode(number) }
    }

    func addNode(_ number: Int) {
        let node = TestNode(number: number, identity: testIdentity(UInt8(number + 1)), genesis: genesis)
        nodes.append(node)
        // The genesis chunks are computed, not fetched.
    }

    func address(_ number: Int) -> Multiaddr { try! Multiaddr("/ip4/127.0.0.1/tcp/\(4_000 + number)") }

    /// Whether all running nodes hold the same heads.
    var headsAreEqual: Bool {
        Set(nodes.filter(\.isUp).map { $0.heads.map(\.head.digest) }).count == 1
    }

    /// The violations that nodes noticed.
    var violations: [NodeCore.Event] {
        nodes.flatMap(\.events).filter { if case .violation = $0 { true } else { false } }
    }

    func restart(_ number: Int, after seconds: Double) {
        crash(number)
        let at = (now - .zero).inSeconds + seconds
        self.at(at) { $0.start(number) }
    }

    func start(_ number: Int) {
        let node = nodes[number]
        node.incarnation += 1
        node.candidates = [:]
        node.timers = [:]
        node.applies = [:]
        node.snapshotsAsked = []
        node.progress = node.savedProgress
        node.bases = zip(node.liveBases, node.genesis).map { $0 ?? $1.digest }
        node.copies = [:]
        var configuration = NodeCore.Configuration(
            identity: node.identity, charter: charter, swarmID: swarmID, incarnation: node.incarnation,
            listenAddresses: [address(number)],
            bootstrap: number == 0 ? [] : [PeerAddresses(peer: nodes[0].peerID, addresses: [address(0)])],
            fragments: shapes, rateClass: 4, seed: UInt64(number) &* 77 &+ node.incarnation, credential: node.credential
        )
        if let branch = node.branch {
            configuration.branch = branch.id
            configuration.branchMaker = branch.maker
        }
        var recovered = NodeCore.Recovered(
            slots: node.slots.map(\.2), finals: node.finals,
            heads: node.heads.map { .init(round: RoundIndex($0.round), digest: $0.head.digest) },
            liveBases: node.liveBases, progress: node.progress,
            peers: node.knownPeers.keys.sorted().map { PeerAddresses(peer: $0, addresses: node.knownPeers[$0]!) },
            admissions: node.admissions.keys.sorted().map { node.admissions[$0]! })
        recovered.records = node.records.keys.sorted().map { node.records[$0]! }
        node.core = try! NodeCore(configuration, recovered: recovered)
        perform(.clock(unixTime), on: node)
        perform(.started, on: node)
        schedule(node, after: node.stepDuration.inSeconds, .step)
    }

    /// The wall clock.
    var unixTime: UInt64 { Self.epoch + UInt64((now - .zero).components.seconds) }

    /// An invite of a running node's, as its owner gets it.
    func issue(
        by number: Int = 0, uses: UInt32 = 1, seconds: UInt64 = 86_400, for peer: Int? = nil, secret: UInt8 = 99
    ) throws -> Credential {
        let holder: NodeCore.Holder =
            peer.map { .peer(nodes[$0].peerID) } ?? .secret([UInt8](repeating: secret, count: 32))
        return try nodes[number].core!.issue(to: holder, uses: uses, seconds: seconds, at: now)
    }

    /// Lets a node's owner do something with its core.
    func command(_ number: Int, _ body: (inout NodeCore, inout [NodeCore.Output]) throws -> Void) rethrows {
        var outputs: [NodeCore.Output] = []
        try body(&nodes[number].core!, &outputs)
        for output in outputs { perform(output, of: nodes[number]) }
    }

    func crash(_ number: Int) {
        let node = nodes[number]
        guard node.isUp else { return }
        node.core = nil
        for other in nodes where links.contains(pair(number, other.number)) {
            links.remove(pair(number, other.number))
            schedule(other, after: 0.01, .input(.disconnected(node.peerID)))
        }
    }

    private func pair(_ left: Int, _ right: Int) -> [Int] { [min(left, right), max(left, right)] }

    func schedule(_ node: TestNode, after seconds: Double, _ what: What) {
        order += 1
        queue.append(
            Happening(
                at: now + .seconds(seconds), order: order, node: node.number, incarnation: node.incarnation, what: what)
        )
    }

    func at(_ seconds: Double, _ action: @escaping (TestSwarm) -> Void) {
        order += 1
        queue.append(
            Happening(at: Moment.zero + .seconds(seconds), order: order, node: 0, incarnation: 0, what: .action(action))
        )
    }

    /// Runs until `condition` holds or the virtual time is over; gives whether it holds.
    @discardableResult
    func run(until limit: Double, _ condition: (TestSwarm) -> Bool = { _ in false }) -> Bool {
        while true {
            if condition(self) { return true }
            var next = queue.indices.min {
                queue[$0].at != queue[$1].at ? queue[$0].at < queue[$1].at : queue[$0].order < queue[$1].order
            }
            var timer: (TestNode, NodeCore.Timer, Moment)?
            for node in nodes where node.isUp {
                for (name, at) in node.timers where timer.map({ at < $0.2 }) ?? true { timer = (node, name, at) }
            }
            if let timer, next.map({ timer.2 < queue[$0].at }) ?? true { next = nil } else { timer = nil }
            let at = timer?.2 ?? next.map { queue[$0].at } ?? Moment(nanoseconds: .max)
            guard at <= Moment.zero + .seconds(limit) else { return condition(self) }
            now = max(now, at)
            if let timer {
                timer.0.timers[timer.1] = nil
                if timer.1 == .status { perform(.clock(unixTime), on: timer.0) }
                perform(.timerFired(timer.1), on: timer.0)
            } else if let next {
                happen(queue.remove(at: next))
            }
        }
    }

    private func happen(_ happening: Happening) {
        if case .action(let action) = happening.what { return action(self) }
        let node = nodes[happening.node]
        guard node.isUp, node.incarnation == happening.incarnation else { return }
        switch happening.what {
        case .input(let input): perform(input, on: node)
        case .step: step(node)
        case .action: break
        }
    }

    private func step(_ node: TestNode) {
        if node.trains, !node.stopped {
            node.progress.steps += 1
            node.progress.tokens += 100
            perform(.trained(node.progress), on: node)
        }
        boundary(node)
        schedule(node, after: node.stepDuration.inSeconds, .step)
    }

    private func boundary(_ node: TestNode) {
        for fragment in node.applies.keys.sorted() {
            guard let application = node.applies[fragment],
                node.stopped || application.notBeforeStep <= node.progress.steps
            else { continue }
            node.applies[fragment] = nil
            node.liveBases[fragment.value] = node.heads[fragment.value].head.digest
            node.bases[fragment.value] = node.heads[fragment.value].head.digest
            node.savedProgress = node.progress
            perform(.applied(fragment, application.round, node.progress), on: node)
        }
        let asked = node.snapshotsAsked
        node.snapshotsAsked = []
        for (fragment, round, turn) in asked {
            if charter.syncMode.isLate {
                node.copies[[UInt64(fragment.value), round.value]] = node.bases[fragment.value]
            }
            if let turn {
                node.liveBases[fragment.value] = turn
                node.bases[fragment.value] = turn
            }
            node.savedProgress = node.progress
            perform(.snapshotTaken(fragment, round, node.progress), on: node)
        }
    }

    func perform(_ input: NodeCore.Input, on node: TestNode) {
        guard node.core != nil else { return }
        var outputs: [NodeCore.Output] = []
        node.core!.handle(input, at: now, into: &outputs)
        for output in outputs { perform(output, of: node) }
    }

    private func delay() -> Double { Double.random(in: latency, using: &random) }

    private func node(_ peer: PeerID) -> TestNode? { nodes.first { $0.peerID == peer } }

    private func transmit(_ message: [UInt8], from node: TestNode, to other: TestNode) {
        precondition(message.count <= Limits.messageBytesMax)
        if trace {
            print(
                now.nanoseconds / 1_000_000, node.number, "->", other.number,
                "\(try! Message(bytes: message, in: BranchContext(swarmID: swarmID, branch: "main")))".prefix(12))
        }
        guard links.contains(pair(node.number, other.number)), other.isUp else { return }
        if Double.random(in: 0..<1, using: &random) < loses { return }
        if drops(node.number, other.number, message) { return }
        var delay = delay()
        if charter.admission != .open {
            let (path, at) = ([node.number, other.number], (now - .zero).inSeconds)
            lastArrival[path] = max(lastArrival[path] ?? 0, at + delay)
            delay = lastArrival[path]! - at
        }
        schedule(other, after: delay, .input(.received(from: node.peerID, message: message)))
    }

    /// In order and without loss, as on a stream of its own.
    private func sendLink(_ message: [UInt8], to peer: PeerID, from node: TestNode) {
        guard let other = self.node(peer), links.contains(pair(node.number, other.number)), other.isUp else { return }
        schedule(other, after: 0.02, .input(.linkReceived(from: node.peerID, message: message)))
    }

    private func perform(_ output: NodeCore.Output, of node: TestNode) {
        switch output {
        case .send(let peer, let message):
            node.sent.append(message)
            if let other = self.node(peer) { transmit(message, from: node, to: other) }
        case .sendLink(let peer, let message): sendLink(message, to: peer, from: node)
        case .publish(let message):
            node.sent.append(message)
            for other in nodes
            where other.number != node.number && other.branch == node.branch && node.core!.mayServe(other.peerID) {
                transmit(message, from: node, to: other)
            }
        case .announce(let message):
            node.sent.append(message)
            for other in nodes where other.number != node.number && node.core!.mayServe(other.peerID) {
                transmit(message, from: node, to: other)
            }
        case .dial(let peer, _):
            guard let other = self.node(peer), other.isUp, links.insert(pair(node.number, other.number)).inserted else {
                return
            }
            schedule(other, after: 0.001, .input(.connected(node.peerID, addresses: [])))
            schedule(node, after: 0.001, .input(.connected(peer, addresses: [address(other.number)])))
        case .disconnect(let peer, _):
            guard let other = self.node(peer), links.remove(pair(node.number, other.number)) != nil else { return }
            // What was sent before arrives before.
            schedule(other, after: 0.05, .input(.disconnected(node.peerID)))
            schedule(node, after: 0.05, .input(.disconnected(peer)))
        case .fetch(let blob, let peers):
            let digest = blob.digest
            let has = node.blobs.contains(digest)
            let offered = peers.compactMap(self.node).contains {
                $0.isUp && $0.core!.mayServe(node.peerID) && $0.blobs.contains(digest)
                    && links.contains(pair(node.number, $0.number))
            }
            if has || offered, blob.byteCount < 64 {
                schedule(node, after: delay(), .input(.blobMisnamed(blob, byteCount: 100)))
            } else if has || offered {
                node.blobs.insert(digest)
                schedule(node, after: has ? 0 : delay(), .input(.fetched(blob)))
            } else {
                schedule(node, after: delay(), .input(.fetchFailed(blob, reason: "not there")))
            }
        case .dropBlob(let digest): node.blobs.remove(digest)
        case .forgetAdmission(let key): node.admissions[key] = nil
        case .keepBlobs(let digests): node.blobs.formIntersection(digests)
        case .persist(let record, let token): persist(record, token, node)
        case .pruneSlots(let fragment, let round):
            node.slots.removeAll { $0.0 == fragment && $0.1 <= round }
        case .compute(let job, let token):
            schedule(node, after: 0.002, .input(.computed(token, compute(job, node))))
        case .takeSnapshot(let fragment, let round, let sequel):
            let turns = sequel != .none
            node.snapshotsAsked.append((fragment, round, turns ? node.heads[fragment.value].head.digest : nil))
            if node.stopped { schedule(node, after: 0, .step) }
        case .releaseSnapshot: break
        case .apply(let application):
            node.applies[application.fragment] = application
            if !application.overwrite { node.blends += 1 }
        case .setCommittedTokens(let tokens): node.committedTokens = tokens
        case .stopTraining: node.stopped = true
        case .finished: node.finished = true
        case .setTimer(let timer, let at): node.timers[timer] = at
        case .cancelTimer(let timer): node.timers[timer] = nil
        case .event(let event):
            node.events.append(event)
            if trace { print(now.nanoseconds / 1_000_000, node.number, event) }
        }
    }

    private func persist(_ record: DurableRecord, _ token: Token, _ node: TestNode) {
        guard node.diskWorks else {
            return schedule(node, after: 0.001, .input(.persistFailed(token, reason: "disk full")))
        }
        switch record {
        case .slot(let fragment, let round, let bytes): node.slots.append((fragment, round, bytes))
        case .final(let fragment, let round, let bytes):
            precondition(node.finals[fragment.value].count == Int(round.value) - 1, "finals come in order")
            node.finals[fragment.value].append(bytes)
        case .peer(let peer, let addresses): node.knownPeers[peer] = addresses
        case .admission(let key, let bytes): node.admissions[key] = bytes
        case .record(let key, let bytes): node.records[key] = bytes
        }
        schedule(node, after: 0.001, .input(.persisted(token)))
    }

    private func compute(_ job: Job, _ node: TestNode) -> JobResult {
        func blob(_ bytes: [UInt8]) -> BlobReference {
            let reference = BlobReference(digest: Digest(hashing: bytes), byteCount: node.tellsFalseSizes ? 10 : 100)
            node.blobs.insert(reference.digest)
            return reference
        }
        switch job {
        case .encodeContribution(let fragment, let round, let assignment, _, let base):
            if let base, node.copies[[UInt64(fragment.value), round.value]] != base {
                return .failed(reason: "the copy rests on another head")
            }
            let references = assignment.map { tiles in
                tiles.isEmpty
                    ? nil
                    : blob(
                        (node.copiesContributions ? [0] : node.peerID.publicKey) + [
                            UInt8(fragment.value), UInt8(round.value & 255), UInt8(round.value >> 8),
                        ]
                            + tiles.map { UInt8($0.value) })
            }
            if node.sendsUnfit { unfit.formUnion(references.compactMap { $0?.digest }) }
            return .contributionEncoded(references)
        case .aggregate(let fragment, _, let tiles, let contributions, _, _, let state):
            precondition(contributions.allSatisfy { node.blobs.contains($0.blob.digest) })
            let result = blob(
                (node.sendsUnfit ? [1] : []) + tiles.map { UInt8($0.value) }
                    + contributions.flatMap { $0.blob.digest.bytes })
            if node.sendsUnfit { unfit.insert(result.digest) }
            return .aggregated(
                blob: result, members: contributions.map(\.member), refused: [],
                feedback: charter.encoding.ownerFeedback > 0 ? node.feedback(from: state, fragment, result.digest) : nil
            )
        case .checkResult(_, _, _, _, let blob):
            return .payloadChecked(refusal: unfit.contains(blob.digest) ? "it does not decode" : nil)
        case .checkContribution(_, _, let contribution):
            return .payloadChecked(
                refusal: unfit.contains(contribution.blob.digest) ? "it does not decode" : nil)
        case .outerStep(let fragment, let base, let step):
            if step.payloads.contains(where: { unfit.contains($0.blob.digest) }) {
                return .failed(reason: "a payload does not decode")
            }
            precondition(node.heads[fragment.value].head.digest == base, "an outer step starts from the head")
            precondition(step.payloads.allSatisfy { node.blobs.contains($0.blob.digest) })
            var head = node.heads[fragment.value].head
            head.scalars = step.scalars
            for payload in step.payloads {
                for tile in payload.tiles {
                    head.leaves[tile.value] = Digest(hashing: head.leaves[tile.value].bytes + payload.blob.digest.bytes)
                }
            }
            node.candidates[head.digest] = head
            return .outerStepped(head: head.digest)
        case .adopt(let fragment, let digest):
            guard let head = node.candidates.removeValue(forKey: digest) else { return .failed(reason: "no candidate") }
            node.heads[fragment.value] = (node.heads[fragment.value].round + 1, head)
            return .adopted
        case .discard(_, let head):
            node.candidates[head] = nil
            return .discarded
        case .captureSnapshot(let fragment):
            let manifest = node.heads[fragment.value].head.manifest
            node.blobs.formUnion(manifest.tiles.map(\.digest))
            return .snapshotCaptured(manifest)
        case .installSnapshot(let fragment, let manifest):
            precondition(manifest.tiles.allSatisfy { node.blobs.contains($0.digest) })
            let head = FakeHead(scalars: manifest.scalars, leaves: manifest.tiles.map(\.digest))
            node.heads[fragment.value] = (NodeCore.round(ofScalars: manifest.scalars)!.value, head)
            return .snapshotInstalled(head: head.digest)
        }
    }
}
