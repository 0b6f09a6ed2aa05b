import Compression
import OuterSync
import PeerNet
import Swarm

/// Whatever the virtual clock can bring.
enum SimulationEvent {
    /// A node is switched on, for the first time or after a crash.
    case start(NodeNumber)
    /// Something that was on its way to a core arrives there.
    case input(Life, NodeCore.Input)
    /// A control message arrives.
    case message(Path, ConnectionID, bytes: [UInt8], summary: String)
    /// A message about a link arrives.
    case linkMessage(Path, ConnectionID, bytes: [UInt8])
    /// A dial's handshakes are through.
    case dialed(Path)
    /// The node at the path's start learns that its connection to the end is gone.
    case connectionGone(Path, Life, ConnectionID)
    /// A connection over a cut path has waited long enough.
    case cutTimeout(Path, ConnectionID)
    /// A training step ends.
    case step(Life)
    /// Work for a step boundary came after training stopped.
    case boundary(Life)
    /// A sync of the journal ends.
    case synced(Life)
    /// A local snapshot is durable.
    case saved(Life, LocalSnapshot)
    /// A timer fires, if it was not set again.
    case timer(Life, NodeCore.Timer, setting: UInt64)
    /// A job's arithmetic is done.
    case jobEnded(Life, Job, Token)
    /// A request for a blob arrives at the server.
    case blobRequested(BlobTransfer)
    /// The last byte of an answer arrives.
    case blobArrived(BlobTransfer, [UInt8])
    /// A blob whose chunks have all arrived is synced.
    case blobStored(Life, BlobReference, [UInt8])
    /// A transfer did not work out.
    case blobFailed(BlobTransfer, BlobFetcher.Failure)
    /// The fetcher of a life waits no longer.
    case fetcherDue(Life, Moment)
    /// Something breaks or is mended.
    case fault(Fault)
}

/// A pull of a part of a blob over one connection.
struct BlobTransfer {
    /// Who asked, and in which life.
    var asker: Life
    /// Who is asked.
    var server: NodeNumber
    /// Over which connection; nil: there is none.
    var connection: ConnectionID?
    /// The asker's name for it.
    var id: BlobFetcher.RequestID
    /// For what.
    var request: BlobRequest

    /// The way of the request.
    var path: Path { Path(from: asker.node, to: server) }
}
