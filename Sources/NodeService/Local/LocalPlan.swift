import Checkpoint
import Compression
import Corpus
import LanguageModel
import Numerics
import OuterSync
import PeerNet
import Swarm
import Tokenizing

/// `atoll plan`: what a swarm will send and how long it will take, from steps and outer gradients measured here.
package struct LocalPlan {
    /// What the command line asks for.
    package struct Request: Sendable {
        /// Whose text and swarm.
        package var home: NodeHome
        /// The specification; nil: the home's swarm, else the defaults.
        package var specificationPath: String?
        /// Nodes that train; nil: those of the swarm now, else 4.
        package var members: Int?
        /// A node's link.
        package var link: String?
        /// Round trip between nodes.
        package var roundTripMilliseconds: Double
        /// Inner steps to measure; nil: H, at most `stepsDefaultMax`.
        package var steps: Int?

        /// Wraps the fields.
        package init(
            home: NodeHome, specificationPath: String?, members: Int?, link: String?, roundTripMilliseconds: Double,
            steps: Int?
        ) {
            self.home = home
            self.specificationPath = specificationPath
            self.members = members
            self.link = link
            self.roundTripMilliseconds = roundTripMilliseconds
            self.steps = steps
        }
    }

    /// Steps beyond which neither the time of a step nor the bytes of a gradient change much.
    private static let stepsDefaultMax = 60
    /// Steps that are not measured: the first ones fill caches and buffers.
    private static let stepsUnmeasured = 2

    private let request: Request

    /// Plans what the request says.
    package init(_ request: Request) { self.request = request }

    /// Measures, and works out the plan.
    ///
    /// - Parameter report: receives lines of progress.
    package func run(_ report: (String) -> Void) async throws(UserError) -> PlanReport {
        do {
            let link = try link()
            guard (0...60_000).contains(request.roundTripMilliseconds) else {
                throw UserError("--rtt is out of range", cure: "Give 0 to 60000 milliseconds", exitCode: .usage)
            }
            let (charter, running) = try await charterAndNode()
            let members = request.members ?? running.map { min($0.peers.count + 1, Limits.roundMembersMax) } ?? 4
            guard (1...Limits.roundMembersMax).contains(members) else {
                throw UserError(
                    "--members \(members) is out of range", cure: "Give 1 to \(Limits.roundMembersMax)",
                    exitCode: .usage)
            }
            let steps = request.steps ?? min(charter.innerStepsPerRound, Self.stepsDefaultMax)
            guard (1...10_000).contains(steps) else {
                throw UserError("--steps is out of range", cure: "Give 1 to 10000", exitCode: .usage)
            }
            return PlanReport(
                charter: charter, measured: try measure(charter, steps: steps, report), members: members, link: link,
                roundTrip: request.roundTripMilliseconds / 1000, node: running)
        } catch {
            throw UserError(wrapping: error)
        }
    }

    private func link() throws(UserError) -> BitRate? {
        guard let text = request.link else { return nil }
        guard let rate = BitRate(text) else {
            throw UserError("--link is '\(text)'", cure: "Give \(BitRate.expectation)", exitCode: .usage)
        }
        return rate
    }

    /// The charter to plan, and what the home's node says if it runs in that swarm.
    private func charterAndNode() async throws -> (Charter, NodeReport?) {
        if let path = request.specificationPath {
            let bytes = try DurableFile.read(path, byteCountMax: 1 << 20)
            return (
                try charter(SwarmSpecification.parse(try YAMLMapping.text(bytes, name: path), name: path)), nil
            )
        }
        let registry = SwarmRegistry(home: request.home)
        guard request.home.isInitialized, try registry.activeID() != nil else {
            return (try charter(SwarmSpecification()), nil)
        }
        let isRunning = await NodeLauncher(home: request.home).isRunning()
        return (try registry.active().charter, isRunning ? try await NodeControl(home: request.home).status() : nil)
    }

    /// A specification's charter; sealing checks it as `swarm new` would.
    private func charter(_ specification: SwarmSpecification) throws -> Charter {
        guard let founder = Identity(seed: [UInt8](repeating: 1, count: 32)) else {
            preconditionFailure("any 32 bytes are a seed")
        }
        let charter = specification.charter(
            founder: founder.peerID, tokenizer: Digest(hashing: Tokenizer.bytes.tokenizerJSON))
        _ = try charter.sealed(by: founder)
        return charter
    }

    /// Trains from the swarm's initial model on this machine's text.
    private func measure(_ charter: Charter, steps: Int, _ report: (String) -> Void) throws -> PlanReport.Measured {
        let model = try charter.model.configuration()
        let parameterLayout = ParameterLayout(model)
        let layout = try FragmentLayout(parameterLayout, rule: charter.fragmentRule)
        let configuration =
            request.home.isInitialized ? try request.home.loadConfiguration() : NodeHome.defaultConfiguration()
        let corpus = try NodeSetup.openCorpus(configuration, home: request.home, model: model, charter: charter)
        let threads = NodeSetup.threadCount(configuration.threads)
        let heads = layout.fragments.map { fragment in
            let parameters = parameterLayout.initialParameters(seed: charter.seed)
            return FragmentHead(
                genesis: parameters.withUnsafeBufferPointer { fragment.gather(from: $0) }, scalars: [],
                fragment: fragment)
        }
        let trainer = BuiltInTrainer(
            BuiltInTrainer.Materials(
                layout: layout, model: model, inner: charter.inner, tokenBudget: charter.tokenBudget, corpus: corpus,
                cursor: CorpusCursor(seed: charter.seed), threads: threads,
                parameters: NodeSetup.flatParameters(heads, layout: layout, count: parameterLayout.count)))
        let clock = ContinuousClock()
        var times: [Double] = []
        for step in 0..<Self.stepsUnmeasured + steps {
            if Interruption.isRequested { throw UserError.interrupted }
            let began = clock.now
            // As in the middle of a run: at its start the rate is 0 and gradients have nothing to say.
            _ = try trainer.step(committedTokens: charter.tokenBudget / 2)
            if step >= Self.stepsUnmeasured { times.append((clock.now - began).inSeconds) }
            if step % 10 == 0 { report("step \(step + 1) of \(Self.stepsUnmeasured + steps)") }
        }
        var boundary = 0.0
        var fragments: [PlanReport.Fragment] = []
        for (fragment, head) in zip(layout.fragments, heads) {
            let began = clock.now
            var live = [Float](repeating: 0, count: fragment.parameterCount)
            live.withUnsafeMutableBufferPointer { trainer.readFragment(fragment.index, into: $0) }
            head.theta.withUnsafeBufferPointer { theta in
                trainer.blendFragment(
                    fragment.index, tiles: fragment.tiles.indices.map(TileIndex.init), theta: theta,
                    alpha: charter.blendAlpha)
            }
            boundary += (clock.now - began).inSeconds
            func payload(_ codec: Codec) throws -> Int {
                try encodeContribution(
                    head: head, live: live, tiles: fragment.tiles.indices.map(TileIndex.init), of: fragment,
                    codec: codec
                ).count
            }
            fragments.append(
                PlanReport.Fragment(
                    parameterCount: fragment.parameterCount,
                    contribution: try payload(charter.encoding.contribution),
                    result: try payload(charter.encoding.result)))
        }
        return PlanReport.Measured(
            stepSeconds: times.sorted()[times.count / 2], boundarySeconds: boundary, threads: threads, steps: steps,
            fragments: fragments)
    }
}
