package import Compression
package import OuterSync
package import PeerNet

/// One link of a node, for people.
package struct LinkStatus: Hashable, Sendable {
    /// A codec table in short.
    package struct Table: Hashable, Sendable {
        /// Its version.
        package var version: UInt32
        /// The codecs in it, ascending.
        package var codecs: [Codec]

        /// Wraps the two.
        package init(version: UInt32, codecs: [Codec]) {
            self.version = version
            self.codecs = codecs
        }
    }

    /// Who is at the other end.
    package var peer: PeerID
    /// What the peer receives from this node, as it says; 0: not known.
    package var sentKilobits: UInt32
    /// What this node receives from the peer; 0: not known.
    package var receivedKilobits: UInt32
    /// A ping and its answer.
    package var roundTrip: Duration?
    /// How the last contribution to the peer was encoded; nil where there was none or the charter has no ladder.
    package var table: Table?
    /// The newest table of the peer for this node.
    package var theirTable: Table?
    /// The round of the last contribution.
    package var round: RoundIndex?
    /// What its table said that it would take at most.
    package var predictedBytes: Int?
    /// What it took.
    package var realBytes: Int?

    /// Wraps the fields.
    package init(
        peer: PeerID, sentKilobits: UInt32, receivedKilobits: UInt32, roundTrip: Duration?, table: Table?,
        theirTable: Table?, round: RoundIndex?, predictedBytes: Int?, realBytes: Int?
    ) {
        self.peer = peer
        self.sentKilobits = sentKilobits
        self.receivedKilobits = receivedKilobits
        self.roundTrip = roundTrip
        self.table = table
        self.theirTable = theirTable
        self.round = round
        self.predictedBytes = predictedBytes
        self.realBytes = realBytes
    }
}
