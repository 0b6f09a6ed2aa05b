import Checkpoint
import Compression
import OuterSync
import Swarm

/// What a branch starts from: per fragment a blob of little-endian float32.
enum BranchStart {
    /// The blob's bytes.
    static func bytes(of theta: [Float]) -> [UInt8] {
        theta.map(\.bitPattern.littleEndian).withUnsafeBytes { Array($0) }
    }

    /// Refuses a branch whose blobs do not have the sizes of the swarm's fragments, before anything is fetched.
    static func check(_ branch: Branch, layout: FragmentLayout) throws(UserError) {
        let sizes = layout.fragments.map { 4 * $0.parameterCount }
        guard branch.record.starts.map(\.byteCount) == sizes else {
            throw UserError(
                "the branch \(branch.id) starts from parameters of another model", cure: "Choose another branch",
                exitCode: .badData)
        }
    }

    /// The head before a fragment's first round in a branch; every bit of it follows from the branch's record.
    static func head(
        of branch: Branch, _ fragment: FragmentLayout.Fragment, charter: Charter, library: BlobFolder
    ) throws -> FragmentHead {
        let starts = branch.record.starts
        let path = "\(library.path)/\(starts[fragment.index.value].digest)"
        guard let bytes = library.read(starts[fragment.index.value].digest),
            Digest(ofBlob: bytes) == starts[fragment.index.value].digest, bytes.count == 4 * fragment.parameterCount
        else {
            throw CheckpointError.damaged(path: path, reason: "it is not the start of fragment \(fragment.index.value)")
        }
        let theta = bytes.withUnsafeBytes { buffer in
            (0..<fragment.parameterCount).map { index in
                Float(
                    bitPattern: UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)))
            }
        }
        guard theta.allSatisfy(\.isFinite) else {
            throw CheckpointError.damaged(path: path, reason: "it holds values that are no numbers")
        }
        return FragmentHead(
            genesis: theta,
            scalars: NodeCore.genesisScalars(charter: charter, maker: branch.maker, fragment: fragment.index),
            fragment: fragment)
    }
}
