import Compression
import JSONText
import Logging
import OuterSync
import PeerNet
import Swarm
import Transport

/// A node at work: drives one `NodeCore` with the network, the disk, the workshop and the trainer, and performs what it
/// puts out, in order. Nothing here decides anything about the protocol.
package actor NodeDaemon {
    /// The one-way control messages of a swarm.
    static let swarmProtocol = "/atoll/swarm/1.0.0"
    /// What members tell each other about the link between them.
    static let linkProtocol = "/atoll/link/1.0.0"

    let setup: NodeSetup
    let host: PeerHost
    let autonat: AutoNATService
    let logger: Logger
    var core: NodeCore
    var meter = TrainingMeter()
    var listenAddresses: [Multiaddr] = []

    let clock = MonotonicClock()
    private var outputs: [NodeCore.Output] = []
    private var members: Set<PeerID> = []
    private var latestProgress: TrainingProgress
    private var lastStateSave: Moment
    /// When the list of peers was last written.
    var lastPeersSave = Moment.zero
    private var stateSaveIsPending = false
    private var stateSaveInterval: Duration = .seconds(10)
    private var stopping = false
    /// Why records, and the local snapshot, cannot be written now.
    private var recordProblem: String?
    private var stateProblem: String?
    /// Why the disk takes nothing now, for the status.
    var diskProblem: String? { recordProblem ?? stateProblem }
    /// Gossip of the swarm.
    let topic: Topic
    /// Gossip of all branches' members.
    let membersTopic: Topic
    let bodies: GossipBodies
    var bodyFaults = BodyFaults()
    /// Where to look for the swarm first.
    let bootstrap: [PeerAddresses]
    /// Those of them that the user or an invite named; the others were met by an earlier run.
    let invited: Set<PeerID>
    /// A newcomer's first step waits for the swarm's heads: what it trained on other ones would be thrown away.
    private var waitsForSwarm: Bool

    private let alarms: AlarmThread<NodeCore.Timer>
    private let training: TrainingThread
    private let workshop: SwarmWorkshop
    private let runLog: RunLog
    private let downloads: BlobDownloads
    let library: ExpertLibrary
    let desk: BranchDesk

    // One queue per helper keeps its work in the order in which the core asked for it. None is bounded here: what can
    // be in flight is bounded by the core's limits.
    let inputs: Queue<NodeCore.Input>
    private let trainingEvents: Queue<TrainingEvent>
    let announced = Queue<(Gossipsub.Delivery, [UInt8])>()
    private let networkCommands = Queue<NetworkCommand>()
    private let downloadCommands = Queue<DownloadCommand>()
    private let downloadEvents: Queue<BlobDownloads.Event>
    private let storageCommands = Queue<StorageCommand>()
    private let workshopCommands = Queue<WorkshopCommand>()
    private let stopRequests = Queue<Void>()
    /// Ticks at which the core is told the round trips of its members.
    let roundTrips = Queue<Void>()

    private enum NetworkCommand: Sendable {
        case send(PeerID, [UInt8])
        case sendLink(PeerID, [UInt8])
        case publish([UInt8], to: Topic)
        case admitToGossip(PeerID)
        case dial(PeerID, [Multiaddr])
        case disconnect(PeerID, String)
        /// Whether the peer's connections are kept when there are too many.
        case protect(PeerID, Bool)
    }

    private enum DownloadCommand: Sendable {
        case fetch(BlobReference, from: [PeerID])
        /// Files of an expert that this node helps to keep.
        case keep(Expert, from: [PeerID])
        case connected(PeerID)
        case disconnected(PeerID)
    }

    private enum StorageCommand: Sendable {
        case persist(DurableRecord, Token)
        case pruneSlots(FragmentIndex, RoundIndex)
        case forgetAdmission(Digest)
        case dropBlob(Digest, askedAt: UInt64)
        case keepBlobs([Digest])
        case saveState([TrainerStateSection], TrainingProgress, bases: [Digest])
    }

    private enum WorkshopCommand: Sendable {
        case run(Job, Token)
        case keepSnapshot(
            FragmentIndex, RoundIndex, live: [Float], residual: [Float], start: SnapshotStart?, TrainingProgress,
            contributes: Bool)
        /// A snapshot behind which the current head replaces the live value.
        case takeSnapshot(FragmentIndex, RoundIndex, share: Float)
        case releaseSnapshot(FragmentIndex, RoundIndex, committed: [Digest])
        case apply(HeadApplication)
    }

    /// Wires a node that `setup` has opened; nothing runs before `run`.
    init(
        setup: NodeSetup, host: PeerHost, autonat: AutoNATService, logger: Logger, listenAddresses: [Multiaddr],
        way: SwarmRegistry.Way, invited: Set<PeerID>, bodies: GossipBodies
    ) throws {
        self.bodies = bodies
        bootstrap = way.bootstrap
        self.invited = invited
        topic = try Self.topic(of: setup.swarmID, branch: setup.branch)
        membersTopic = try Self.membersTopic(of: setup.swarmID)
        self.setup = setup
        self.host = host
        self.autonat = autonat
        self.logger = logger
        self.listenAddresses = listenAddresses
        core = try NodeCore(
            setup.coreConfiguration(listenAddresses: listenAddresses, way: way), recovered: setup.recovered)
        waitsForSwarm = setup.startsFromOthers
        latestProgress = setup.recovered.progress
        lastStateSave = clock.now
        let inputs = Queue<NodeCore.Input>()
        let trainingEvents = Queue<TrainingEvent>()
        self.inputs = inputs
        self.trainingEvents = trainingEvents
        let downloadEvents = Queue<BlobDownloads.Event>()
        self.downloadEvents = downloadEvents
        downloads = BlobDownloads(
            folder: setup.blobs, ask: BlobDownloads.asking(host), report: { downloadEvents.add($0) })
        library = ExpertLibrary(folder: setup.library, host: host)
        desk = BranchDesk(setup: setup)
        alarms = AlarmThread { inputs.add(.timerFired($0)) }
        runLog = try RunLog(path: setup.folder.runLogPath)
        workshop = SwarmWorkshop(
            layout: setup.layout, encoding: setup.encoding, rule: setup.outerRule, heads: setup.heads,
            blobs: setup.blobs,
            headFolder: setup.folder.heads(layout: setup.layout), executor: ThreadExecutor())
        training = TrainingThread(
            progress: setup.recovered.progress, bases: setup.trainerBases, residuals: setup.residuals,
            late: setup.late,
            committedTokens: core.status.committedTokens,
            makeTrainer: setup.makeTrainer, deliver: { trainingEvents.add($0) })
    }

    /// Works until it is told to stop; then saves the state and returns.
    func run() async {
        let discovery = Task {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.discover() }
                group.addTask { await self.judgeReachability() }
            }
        }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.pumpHost() }
            group.addTask { await self.pumpInputs() }
            group.addTask { await self.pumpTraining() }
            group.addTask { await self.pumpNetwork() }
            group.addTask { await self.pumpStorage() }
            group.addTask { await self.pumpWorkshop() }
            group.addTask { await self.pumpAnnounced() }
            group.addTask { await self.pumpDownloadCommands() }
            group.addTask { await self.pumpDownloadEvents() }
            group.addTask { await self.downloads.run() }
            group.addTask { await self.library.run() }
            group.addTask { await self.setup.server.run() }
            log("started", ["incarnation": .integer(Int64(clamping: setup.incarnation))])
            handle(.started)
            if !waitsForSwarm, !core.isBranchClosed { training.resume() }
            group.addTask { await self.measureRoundTrips() }
            for await _ in stopRequests.stream { break }
            roundTrips.finish()
            discovery.cancel()
            await shutDown()
        }
        await discovery.value
    }

    /// Asks `run` to end.
    package func stop() { stopRequests.add(()) }

    private func shutDown() async {
        stopping = true
        training.pause()
        handle(.stopping)
        // The state comes back through the training queue, which then finishes; the other queues drain behind it.
        training.requestState()
        training.end()
    }

    private func finishQueues() async {
        alarms.stop()
        workshopCommands.finish()
        storageCommands.finish()
        networkCommands.finish()
        inputs.finish()
        announced.finish()
        downloadCommands.finish()
        downloadEvents.finish()
        await downloads.stop()
        await library.stop()
        setup.server.stop()
        await savePeers()
        await host.stop()
    }
}

// The pumps: each takes from one source and feeds the core.
extension NodeDaemon {
    private func pumpHost() async {
        while let event = await host.next() {
            switch event {
            case .connected(let peer, let addresses):
                downloadCommands.add(.connected(peer))
                handle(.connected(peer, addresses: addresses))
            case .disconnected(let peer, _):
                downloadCommands.add(.disconnected(peer))
                handle(.disconnected(peer))
            case .message(let peer, Self.linkProtocol, let bytes): handle(.linkReceived(from: peer, message: bytes))
            case .message(let peer, _, let bytes): handle(.received(from: peer, message: bytes))
            case .gossip(let delivery): await received(delivery)
            case .discovered(let contact): await host.dial(contact.peer, at: contact.addresses, mayBeLocal: true)
            case .identified: await savePeersNowAndThen()
            case .dialFailed(let peer, let reason):
                logger.debug("dial failed", metadata: ["peer": "\(peer.short)", "reason": "\(reason)"])
            }
        }
    }

    private func pumpInputs() async {
        for await input in inputs.stream { handle(input) }
    }

    private func pumpTraining() async {
        for await event in trainingEvents.stream {
            switch event {
            case .stepped(let progress, let loss, let seconds): stepped(progress, loss: loss, seconds: seconds)
            case .snapshotTaken(
                let fragment, let round, let live, let residual, let start, let progress, let contributes):
                workshopCommands.add(
                    .keepSnapshot(
                        fragment, round, live: live, residual: residual, start: start, progress,
                        contributes: contributes))
            case .applied(let fragment, let round, let progress): handle(.applied(fragment, round, progress))
            case .state(let sections, let progress, let bases):
                storageCommands.add(.saveState(sections, progress, bases: bases))
            case .failed(let failure):
                logger.error("training ended", metadata: ["reason": "\(failure)"])
                log("training_failed", ["reason": .text(failure.description)])
                stop()
            case .ended:
                trainingEvents.finish()
            }
        }
        await finishQueues()
    }

    private func stepped(_ progress: TrainingProgress, loss: Float, seconds: Double) {
        latestProgress = progress
        let now = clock.now
        meter.add(step: progress, loss: loss, seconds: seconds, at: now)
        if meter.shouldLog(at: now) { runLog.append(step: progress, loss: Double(loss), seconds: seconds) }
        if !stopping, !stateSaveIsPending, now - lastStateSave >= stateSaveInterval {
            stateSaveIsPending = true
            training.requestState()
        }
        handle(.trained(progress))
    }

    private func pumpNetwork() async {
        for await command in networkCommands.stream {
            switch command {
            case .send(let peer, let message): await host.send(message, to: peer, on: Self.swarmProtocol)
            case .sendLink(let peer, let message): await host.send(message, to: peer, on: Self.linkProtocol)
            case .publish(let message, let topic): await publish(message, to: topic)
            case .admitToGossip(let peer): await host.admitToGossip(peer)
            case .dial(let peer, let addresses):
                await host.dial(peer, at: addresses, mayBeLocal: invited.contains(peer))
            case .disconnect(let peer, let reason): await host.disconnect(peer, reason: reason)
            case .protect(let peer, true): await host.protect(peer)
            case .protect(let peer, false): await host.unprotect(peer)
            }
        }
    }

    private func pumpDownloadCommands() async {
        for await command in downloadCommands.stream {
            switch command {
            case .fetch(let blob, let peers): await downloads.fetch(blob, from: peers)
            case .keep(let expert, let peers): _ = await library.fetch(expert.record.files.map(\.blob), from: peers)
            case .connected(let peer):
                await downloads.connected(peer)
                await library.connected(peer)
            case .disconnected(let peer):
                await downloads.disconnected(peer)
                await library.disconnected(peer)
            }
        }
    }

    private func pumpDownloadEvents() async {
        for await event in downloadEvents.stream {
            switch event {
            case .fetched(let blob):
                // An earlier drop may have deleted it while this was on its way.
                if setup.blobs.claim(blob.digest, byteCount: blob.byteCount) {
                    handle(.fetched(blob))
                } else {
                    handle(.fetchFailed(blob, reason: "it was deleted meanwhile"))
                }
            case .failed(let blob, let reason): handle(.fetchFailed(blob, reason: reason))
            case .transferred(let peer, let record): handle(.transferred(from: peer, record))
            case .misnamed(let blob, let byteCount): handle(.blobMisnamed(blob, byteCount: byteCount))
            case .lied(let peer, let reason):
                logger.warning("a peer sends false blobs", metadata: ["peer": "\(peer.short)", "reason": "\(reason)"])
                networkCommands.add(.disconnect(peer, "a false blob: \(reason)"))
            }
        }
    }

    private func pumpStorage() async {
        for await command in storageCommands.stream {
            do {
                switch command {
                case .persist(let record, let token):
                    do {
                        try await (record.isOfRounds ? setup.journal : setup.members).append([record])
                        handle(.persisted(token))
                    } catch {
                        handle(.persistFailed(token, reason: "\(error)"))
                    }
                case .pruneSlots(let fragment, let round): try await setup.journal.pruneSlots(fragment, through: round)
                case .forgetAdmission(let key): try await setup.members.forgetAdmission(key)
                case .dropBlob(let digest, let moment): await setup.disk.drop(digest, askedAt: moment)
                case .keepBlobs(let digests): await setup.disk.keepOnly(digests)
                case .saveState(let sections, let progress, let bases):
                    await saveState(sections, progress: progress, bases: bases)
                }
            } catch {
                logger.warning("the disk refuses: \(error)")
            }
        }
    }

    /// Saving may cost at most one percent of the node's time, and need not happen more often than every ten seconds;
    /// that holds for attempts that fail, too.
    private func saveState(_ sections: [TrainerStateSection], progress: TrainingProgress, bases: [Digest]) async {
        let began = clock.now
        do {
            try await setup.disk.saveState(sections, progress: progress, bases: bases)
            stateProblem = nil
        } catch {
            // Said once; the status shows it for as long as it lasts.
            if stateProblem == nil || stopping { logger.error("the local snapshot cannot be saved: \(error)") }
            stateProblem = "\(error)"
        }
        stateSaveIsPending = false
        lastStateSave = clock.now
        stateSaveInterval = .seconds(max(10, 100 * (lastStateSave - began).inSeconds))
    }

    private func pumpWorkshop() async {
        for await command in workshopCommands.stream {
            switch command {
            case .run(let job, let token):
                let result = await workshop.run(job)
                // From here on they are the core's: no drop that it asked for earlier may delete them.
                for blob in result.blobs { _ = setup.blobs.claim(blob.digest, byteCount: blob.byteCount) }
                handle(.computed(token, result))
            case .keepSnapshot(
                let fragment, let round, let live, let residual, let start, let progress, let contributes):
                await workshop.keepSnapshot(fragment, round, live: live, residual: residual, start: start)
                handle(.snapshotTaken(fragment, round, contributes ? progress : nil))
            case .takeSnapshot(let fragment, let round, let share):
                let (head, settled) = await workshop.takeApplication(fragment)
                training.takeSnapshot(
                    fragment, round, turn: SnapshotTurn(head: head, share: share, settled: settled))
            case .releaseSnapshot(let fragment, let round, let committed):
                await workshop.releaseSnapshot(fragment, round, committed: committed)
            case .apply(let application):
                let (head, settled) = await workshop.takeApplication(application.fragment)
                training.apply(application, head: head, settled: settled)
            }
        }
    }
}

// The core's outputs.
extension NodeDaemon {
    func handle(_ input: NodeCore.Input) {
        outputs.removeAll(keepingCapacity: true)
        switch input {
        case .started, .timerFired(.status): core.handle(.clock(Self.unixTime), at: clock.now, into: &outputs)
        default: break
        }
        core.handle(input, at: clock.now, into: &outputs)
        for output in outputs { perform(output) }
        if waitsForSwarm, !members.isEmpty, !stopping { startWithSwarm() }
    }

    /// Lets the node's owner do something with the core, and performs what follows.
    func administer<Failure: Error>(
        _ body: (inout NodeCore, Moment, inout [NodeCore.Output]) throws(Failure) -> Void
    ) throws(Failure) {
        outputs.removeAll(keepingCapacity: true)
        // A command may come before the node's first moment.
        core.handle(.clock(Self.unixTime), at: clock.now, into: &outputs)
        try body(&core, clock.now, &outputs)
        for output in outputs { perform(output) }
    }

    private func startWithSwarm() {
        let phase = core.status.phase
        guard phase != .catchingUp else { return }
        waitsForSwarm = false
        if phase == .training { training.resume() }
    }

    private func perform(_ output: NodeCore.Output) {
        switch output {
        case .send(let peer, let message): networkCommands.add(.send(peer, message))
        case .sendLink(let peer, let message): networkCommands.add(.sendLink(peer, message))
        case .publish(let message): networkCommands.add(.publish(message, to: topic))
        case .announce(let message): networkCommands.add(.publish(message, to: membersTopic))
        case .dial(let peer, let addresses): networkCommands.add(.dial(peer, addresses))
        case .disconnect(let peer, let reason): networkCommands.add(.disconnect(peer, reason))
        case .fetch(let blob, let peers):
            downloadCommands.add(.fetch(blob, from: peers.filter { $0 != setup.identity.peerID }))
        case .dropBlob(let digest): storageCommands.add(.dropBlob(digest, askedAt: setup.blobs.moment))
        case .keepBlobs(let digests): storageCommands.add(.keepBlobs(digests))
        case .persist(let record, let token): storageCommands.add(.persist(record, token))
        case .pruneSlots(let fragment, let round): storageCommands.add(.pruneSlots(fragment, round))
        case .forgetAdmission(let key): storageCommands.add(.forgetAdmission(key))
        case .compute(let job, let token): workshopCommands.add(.run(job, token))
        case .takeSnapshot(let fragment, let round, .none): training.takeSnapshot(fragment, round)
        case .takeSnapshot(let fragment, let round, .turn(let share)):
            workshopCommands.add(.takeSnapshot(fragment, round, share: share))
        case .releaseSnapshot(let fragment, let round, let committed):
            workshopCommands.add(.releaseSnapshot(fragment, round, committed: committed))
        case .apply(let application): workshopCommands.add(.apply(application))
        case .setCommittedTokens(let tokens): training.setCommittedTokens(tokens)
        case .stopTraining:
            meter.trainingEnded(at: clock.now)
            training.pause()
        case .finished:
            logger.notice("finished: the heads are the model")
            log("finished", [:])
        case .setTimer(let timer, let moment):
            if timer == .links { roundTrips.add(()) }
            alarms.set(timer, at: moment)
        case .cancelTimer(let timer): alarms.cancel(timer)
        case .event(let event): note(event)
        }
    }

    private func note(_ event: NodeCore.Event) {
        switch event {
        case .memberConnected(let peer):
            members.insert(peer)
            networkCommands.add(.protect(peer, true))
            networkCommands.add(.admitToGossip(peer))
        case .memberDisconnected(let peer):
            members.remove(peer)
            networkCommands.add(.protect(peer, false))
        case .branchClosed(let expert):
            downloadCommands.add(.keep(expert, from: holders(of: expert.publisher)))
        case .otherBranchConnected(let peer, _): networkCommands.add(.admitToGossip(peer))
        case .cannotPersist(let reason): recordProblem = reason
        case .canPersist: recordProblem = nil
        default: break
        }
        let line = EventLine(event)
        logger.log(level: line.level, "\(line.text)")
        log(line.name, line.members)
    }

    private func log(_ event: String, _ members: RunLog.Members) { runLog.append(event, members) }
}
