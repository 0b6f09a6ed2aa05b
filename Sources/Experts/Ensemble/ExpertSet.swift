import Checkpoint
package import LanguageModel
package import Numerics
package import Tokenizing

/// Checkpoints that share a tokenizer, open as the experts of an ensemble.
///
/// Parameters are read when they are needed and not mapped. A score needs no more of an expert than the probabilities
/// that it gives to the tokens that came, so experts are evaluated one per thread, and there are never more in memory than
/// threads; a mapping would save one copy of pages that are read once, and a file that another program cuts short
/// would end the process (see `SafetensorsFile`). Generation needs every expert for every token: there the ones that take
/// part lie in memory as float32, whatever their files hold, because products read weights in the order of
/// `ParameterLayout`.
package struct ExpertSet {
    /// The folders.
    package let paths: [String]
    /// The tokenizer of all.
    package let tokenizer: Tokenizer
    /// Token ids are 0 ..< this.
    package let vocabularySize: Int
    /// The shortest context of all.
    package let contextLength: Int
    private let folders: [ModelFolder]

    /// One expert in memory.
    package struct Loaded: Sendable {
        /// Its shape.
        package let layout: ParameterLayout
        /// Its parameters.
        package let parameters: FloatBuffer

        /// Wraps the two.
        package init(layout: ParameterLayout, parameters: FloatBuffer) {
            self.layout = layout
            self.parameters = parameters
        }
    }

    /// Opens checkpoint folders and checks that they speak of the same tokens.
    package init(_ paths: [String]) throws(EnsembleError) {
        var folders: [ModelFolder] = []
        for path in paths {
            do { folders.append(try ModelFolder(path)) } catch { throw .checkpoint(error) }
        }
        guard let first = folders.first else { throw .noExperts }
        for other in folders.dropFirst() {
            guard other.tokenizer == first.tokenizer else {
                throw .different(first.path, other.path, what: "the tokenizer")
            }
            guard other.configuration.vocabularySize == first.configuration.vocabularySize else {
                throw .different(first.path, other.path, what: "the vocabulary size")
            }
        }
        self.paths = paths
        self.folders = folders
        tokenizer = first.tokenizer
        vocabularySize = first.configuration.vocabularySize
        contextLength = folders.reduce(Int.max) { min($0, $1.configuration.contextLength) }
    }

    /// How many there are.
    package var count: Int { folders.count }

    /// Reads the parameters of the experts with a share above 0.
    package func load(_ shares: [Double]) throws(EnsembleError) -> [Loaded] {
        var experts: [Loaded] = []
        for (folder, share) in zip(folders, shares) where share > 0 {
            do { experts.append(Loaded(layout: folder.layout, parameters: try folder.readParameters())) } catch {
                throw .checkpoint(error)
            }
        }
        return experts
    }

    /// The loss of each expert on each token of sequences but the first: [experts][sequences][tokens], in nats.
    ///
    /// Windows are those of `TokenLosses` with the shortest context of all experts. Experts are evaluated at once, one per
    /// thread, and share the threads that are left; the losses do not depend on their number.
    package func tokenLosses(_ sequences: [[Int32]], threads: Int) throws(EnsembleError) -> [[[Double]]] {
        let pool = WorkerPool(threadCount: min(threads, count))
        let inner = (0..<pool.threadCount).map { _ in WorkerPool(threadCount: max(1, threads / pool.threadCount)) }
        var results = [Result<[[Double]], EnsembleError>](repeating: .success([]), count: count)
        results.withUnsafeMutableBufferPointer { results in
            // Every task has an expert and a place of its own, and every worker a pool of its own.
            let results = results
            pool.run(count) { task, worker in
                results[task] = evaluate(folders[task], sequences, inner[worker])
            }
        }
        var losses: [[[Double]]] = []
        for result in results { losses.append(try result.get()) }
        return losses
    }

    private func evaluate(
        _ folder: ModelFolder, _ sequences: [[Int32]], _ pool: WorkerPool
    ) -> Result<[[Double]], EnsembleError> {
        let parameters: FloatBuffer
        do { parameters = try folder.readParameters() } catch { return .failure(.checkpoint(error)) }
        do {
            return .success(
                try TokenLosses(
                    layout: folder.layout, parameters: parameters, sequences: sequences, contextLength: contextLength,
                    pool: pool
                ).sequences)
        } catch { return .failure(.model(error)) }
    }
}
