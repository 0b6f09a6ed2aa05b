import Checkpoint
import Compression
import Glibc
import LanguageModel
import OuterSync
import Swarm
import Tokenizing

/// A checkpoint folder out of an expert's blobs, and the other way round.
enum ExpertFolder {
    /// Writes an expert as a Hugging Face folder, atomically; every byte is checked on its way.
    ///
    /// - Parameter path: must not exist, or be an empty folder.
    static func write(
        _ expert: ExpertRecord, from libraryPath: String, to path: String, charter: Charter,
        isCancelled: () -> Bool = { false }
    ) throws {
        let folder = try DurableFolder(path: path)
        for file in expert.files {
            let source = "\(libraryPath)/\(file.blob.digest)"
            guard let blob = BlobFile(source), blob.byteCount == file.blob.byteCount else {
                throw CheckpointError.damaged(path: source, reason: "it is not the expert's \(file.name)")
            }
            var leaves: [Digest] = []
            var writer = try folder.file(file.name)
            for chunk in 0..<BlobTree.chunkCount(of: blob.byteCount) {
                if isCancelled() { throw CheckpointError.cancelled(path: path) }
                let range = BlobTree.range(ofChunk: chunk, byteCount: blob.byteCount)
                guard let bytes = blob.read(from: range.lowerBound, count: range.count), bytes.count == range.count
                else { throw CheckpointError.damaged(path: source, reason: "it cannot be read to its end") }
                leaves.append(Digest(hashing: bytes))
                try writer.append(bytes)
            }
            guard BlobTree.root(of: leaves, byteCount: blob.byteCount) == file.blob.digest else {
                throw CheckpointError.damaged(path: source, reason: "its digest is not the one that was signed")
            }
            try writer.commit()
        }
        try check(folder.partialPath, shownAs: path, charter: charter)
        try folder.commit()
    }

    /// Refuses a folder that is no checkpoint of the swarm's model and tokenizer.
    static func check(_ path: String, shownAs shownPath: String, charter: Charter) throws {
        let model = try ModelFolder(path)
        guard model.configuration == (try charter.model.configuration()),
            Digest(hashing: model.tokenizer.tokenizerJSON) == charter.tokenizer
        else {
            throw UserError(
                "\(shownPath) is a checkpoint of another model or tokenizer than the swarm's",
                cure: "Experts of a swarm have its charter's architecture and tokenizer", exitCode: .badData)
        }
    }

    /// Stores the files of a checkpoint folder as blobs that are kept for good.
    static func store(_ path: String, in library: BlobFolder) throws -> [ExpertRecord.File] {
        var files: [ExpertRecord.File] = []
        for name in try SystemFiles().list(path).sorted()
        where ModelFolder.isOutput(name) && name != ModelFolder.trainingStateName {
            guard files.count < Limits.expertFilesMax else {
                throw UserError(
                    "\(path) has more than \(Limits.expertFilesMax) files", cure: "Write the model in fewer shards",
                    exitCode: .badData)
            }
            files.append(.init(name: name, blob: try library.store(fileAt: "\(path)/\(name)")))
        }
        return files
    }
}
