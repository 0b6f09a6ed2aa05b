package import Compression
package import OuterSync
package import PeerNet

extension NodeCore {
    /// What the core waits for.
    package enum Timer: Hashable, Sendable {
        /// Tell a random peer where we stand; dial who is missing.
        case status
        /// The fragment's next round may be due, or its coordinator may be gone.
        case due(FragmentIndex)
        /// The coordinator's current phase has lasted long enough.
        case phase(FragmentIndex)
        /// The coordinator repeats its last message to those who have not answered.
        case nudge(FragmentIndex)
        /// The owner aggregates with what has arrived.
        case aggregate(FragmentIndex)
        /// Ask again for what is needed to catch up.
        case catchUp(FragmentIndex)
        /// Try failed fetches and writes again.
        case retry
        /// Tell members what was measured of the links to them.
        case links
    }

    /// What is worth telling people.
    package enum Event: Hashable, Sendable {
        /// A peer of this swarm said hello.
        case memberConnected(PeerID)
        /// The last connection to a member is gone.
        case memberDisconnected(PeerID)
        /// A member of this swarm that trains another branch said hello.
        case otherBranchConnected(PeerID, branch: String)
        /// Another member has made a branch.
        case branchKnown(Branch)
        /// Another member offers an expert.
        case expertKnown(Expert)
        /// The branch of this node was closed: it trains no more.
        case branchClosed(Expert)
        /// A round is being run with this node among those asked; sent when its snapshot is requested.
        case roundStarted(FragmentIndex, RoundIndex)
        /// This node coordinates an attempt.
        case coordinating(FragmentIndex, RoundIndex, attempt: UInt32)
        /// A round's final commit is verified; the head follows.
        case roundFinal(RoundSummary)
        /// A head was adopted: this node holds it durably.
        case adopted(FragmentIndex, RoundIndex, head: Digest)
        /// This node's contribution is in a final commit for the first time since the core started.
        case firstContribution(FragmentIndex, RoundIndex)
        /// A final commit does not list this node's contribution though it had trained; `inARow` counts.
        case leftOut(FragmentIndex, RoundIndex, inARow: Int)
        /// What this node's last result left over is lost; its feedback begins from nothing.
        case feedbackLost(FragmentIndex, RoundIndex)
        /// The live value is behind the head and will be overwritten by it.
        case overwriting(FragmentIndex, RoundIndex, reason: String)
        /// Catching up: the head held and the newest round known.
        case catchingUp(FragmentIndex, head: RoundIndex, known: RoundIndex)
        /// A snapshot is being fetched.
        case fetchingSnapshot(FragmentIndex, RoundIndex, tiles: Int)
        /// Every fragment holds the newest head known; sent each time this becomes true.
        case caughtUp
        /// A contribution was refused by its owner (this node) with the reason.
        case contributionRefused(FragmentIndex, RoundIndex, from: PeerID, reason: String)
        /// A plan was not followed.
        case planRefused(FragmentIndex, RoundIndex, attempt: UInt32, reason: String)
        /// A commit was not acked.
        case commitRefused(FragmentIndex, RoundIndex, attempt: UInt32, reason: String)
        /// This node let a peer in by a capability.
        case peerAdmitted(PeerID, CapabilitySerial)
        /// A peer was not let in, or is let in no longer.
        case peerRefused(PeerID, AdmissionRefusal)
        /// A peer does not let this node in.
        case refusedBy(PeerID, AdmissionRefusal)
        /// A peer broke a rule.
        case violation(PeerID, reason: String)
        /// A record could not be written; nothing is signed until one can be.
        case cannotPersist(reason: String)
        /// Records can be written again.
        case canPersist
        /// A job failed or gave what the ledger contradicts.
        case jobFailed(FragmentIndex, reason: String)
        /// The token budget is reached.
        case budgetReached(committedTokens: UInt64)
    }

    /// A final commit in numbers.
    package struct RoundSummary: Hashable, Sendable {
        /// The fragment.
        package var fragment: FragmentIndex
        /// The round.
        package var round: RoundIndex
        /// The attempt that succeeded.
        package var attempt: UInt32
        /// Members listed.
        package var members: Int
        /// Members whose contribution is in at least one payload.
        package var contributors: Int
        /// Bytes of all payloads.
        package var payloadBytes: Int
        /// Tokens that the round committed.
        package var tokens: UInt64
        /// From when this node saw the round become due or planned; nil for rounds learnt from the ledger.
        package var duration: Duration?
        /// The new head.
        package var head: Digest
        /// Whether it is the fragment's last round.
        package var closing: Bool

        /// Wraps the fields.
        package init(
            fragment: FragmentIndex, round: RoundIndex, attempt: UInt32, members: Int, contributors: Int,
            payloadBytes: Int, tokens: UInt64, duration: Duration?, head: Digest, closing: Bool
        ) {
            self.fragment = fragment
            self.round = round
            self.attempt = attempt
            self.members = members
            self.contributors = contributors
            self.payloadBytes = payloadBytes
            self.tokens = tokens
            self.duration = duration
            self.head = head
            self.closing = closing
        }
    }
}

/// Where a node stands, for people and tests.
package struct NodeStatus: Hashable, Sendable {
    /// What the node is doing, in one word.
    package enum Phase: String, Hashable, Sendable {
        /// Some fragment is behind the newest round known.
        case catchingUp
        /// Rounds run as they become due.
        case training
        /// The token budget is reached; last rounds run.
        case closing
        /// Every fragment had its last round.
        case finished
    }

    /// Where one fragment stands.
    package struct Fragment: Hashable, Sendable {
        /// Final commits verified.
        package var ledgerRound: RoundIndex
        /// The round of the head that is held.
        package var headRound: RoundIndex
        /// The digest of the head that is held.
        package var head: Digest
        /// The digest of the last final commit (of genesis before any).
        package var commit: Digest
        /// Those who decide the next round.
        package var voters: [PeerID]
        /// Tokens behind the ledger's last head.
        package var tokens: UInt64
        /// Whether the last round is final.
        package var closed: Bool
        /// The round under way here: what this node does in it, in words; nil between rounds.
        package var activity: String?
    }

    /// In one word.
    package var phase: Phase
    /// Per fragment.
    package var fragments: [Fragment]
    /// The branch's committed tokens.
    package var committedTokens: UInt64
    /// The tokens at which training ends.
    package var tokenBudget: UInt64
    /// Members connected, ascending.
    package var connectedMembers: [PeerID]
    /// Members known, connected or not.
    package var knownMembers: Int
    /// Why this node was not let in when it last asked; nil once somebody has let it in.
    package var refusal: AdmissionRefusal?
    /// Whether records can be written.
    package var canPersist: Bool
}
