import Compression
package import OuterSync
package import PeerNet
package import Swarm

/// One start of a node, up to its crash.
package struct Life: Hashable, Sendable, CustomStringConvertible {
    /// The node.
    package var node: NodeNumber
    /// Counts its starts, from 1.
    package var incarnation: UInt64
    /// Node and incarnation.
    package var description: String { "\(node)#\(incarnation)" }
}

/// A node of the simulation: what survives a crash, and the running life, if there is one.
package final class SimulatedNode {
    /// Its place in the scenario.
    package let number: NodeNumber
    /// Its rates.
    package let description: NodeDescription
    /// Its key.
    package let identity: Identity
    /// Where it listens.
    package let address: Multiaddr
    /// What survives a crash.
    package let disk = VirtualDisk()
    /// Counts the starts.
    package var incarnation: UInt64 = 0
    /// Everything that a crash takes; nil while the node is down.
    package var running: RunningNode?
    /// Set when the node is gone for good.
    package var isDead = false
    /// Set while the node is not, or no longer, let into the swarm: nothing is asked of it.
    package var isOutside = false
    /// Multiplies the time of a step.
    package var slowness = 1
    /// The node's own chance: disk latencies, torn writes.
    package var generator: SeededGenerator

    /// A node that has never run.
    init(number: NodeNumber, description: NodeDescription, identity: Identity, address: Multiaddr, seed: UInt64) {
        self.number = number
        self.description = description
        self.identity = identity
        self.address = address
        generator = SeededGenerator(seed: seed, stream: 1_000 + UInt64(number.value))
    }

    /// The current life.
    var life: Life { Life(node: number, incarnation: incarnation) }

    /// The latency of the next sync.
    func syncLatency() -> Duration { generator.draw(.microseconds(100)...description.syncLatencyMax) }
}

/// A copy of a live fragment that a core wants.
struct WantedSnapshot {
    var fragment: FragmentIndex
    var round: RoundIndex
    /// What replaces the live value behind the copy: head, share of a mean, and what was settled of the residual.
    var turn: (head: FragmentHead, share: Float, settled: SettledResidual)?
}

/// The memory of a running node.
package final class RunningNode {
    /// The shipped protocol.
    package var core: NodeCore
    /// The shipped arithmetic.
    package let workshop: FragmentWorkshop
    /// The stand-in for training.
    package var trainer: SimulatedTrainer
    /// Per timer the number of its last setting; a timer that is not here is not set.
    var timers: [NodeCore.Timer: UInt64] = [:]
    var timerSettings: UInt64 = 0
    /// Copies asked for and not yet made, in the order of asking.
    var snapshotsWanted: [WantedSnapshot] = []
    /// Heads to apply, the newest per fragment.
    var applications: [FragmentIndex: HeadApplication] = [:]
    /// Where means come late, the heads that these applications put in place.
    var appliedHeads: [FragmentIndex: FragmentHead] = [:]
    /// Per fragment the moment at which its job queue is empty.
    var jobsEnd: [FragmentIndex: Moment] = [:]
    /// The shipped fetching of blobs.
    var fetcher = BlobFetcher()
    /// Chunks of blobs that are not complete, in order of arrival.
    var arriving: [BlobReference: [Int: [UInt8]]] = [:]
    /// The last moment for which the fetcher has an event in the queue.
    var fetcherDeadline: Moment?
    /// Cleared by `.stopTraining`.
    var isTraining = true
    /// Set by `.finished`.
    package var isFinished = false
    /// Peers that this node's core believes to be connected.
    var connectedPeers: Set<NodeNumber> = []
    /// Reused for the core's outputs.
    var outputs: [NodeCore.Output] = []

    init(core: NodeCore, workshop: FragmentWorkshop, trainer: SimulatedTrainer) {
        self.core = core
        self.workshop = workshop
        self.trainer = trainer
    }
}
