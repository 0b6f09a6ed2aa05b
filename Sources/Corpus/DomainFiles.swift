import Numerics

/// The files of one domain after the first pass: in the order of their hashes, each content once.
struct DomainFiles: Sendable {
    var files: [ScannedFile] = []
    /// What was found and left out.
    var summary: DomainSummary

    var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }

    private init(_ name: String) { summary = DomainSummary(name: name) }

    /// Reads the files in path order until the size limit.
    static func scan(
        _ paths: [String], of source: DomainSource, byteCountMax: Int, excluded: Set<[UInt8]>
    ) throws(CorpusError) -> DomainFiles {
        var domain = DomainFiles(source.name)
        var seen = excluded
        var bytesLeft = byteCountMax
        for path in paths {
            guard bytesLeft > 0 else {
                domain.summary.filesBeyondLimitCount += 1
                continue
            }
            let result: Result<ScannedFile, Unreadable>
            do throws(Unreadable) { result = .success(try ScannedFile.scan(path, byteCountMax: bytesLeft)) } catch {
                result = .failure(error)
            }
            bytesLeft -= domain.add(result, path: path, seen: &seen)
        }
        try domain.finish(source, pathCount: paths.count)
        return domain
    }

    /// Reads all files, on all threads of the pool.
    static func scan(
        _ paths: [String], of source: DomainSource, pool: WorkerPool, observer: any PreparationObserver
    ) throws(CorpusError) -> DomainFiles {
        var results = [Result<ScannedFile, Unreadable>?](repeating: nil, count: paths.count)
        results.withUnsafeMutableBufferPointer { results in
            // Every task writes one element, its own, and nobody reads before all are done.
            pool.run(paths.count) { task, _ in
                do throws(Unreadable) {
                    results[task] = .success(try ScannedFile.scan(paths[task], observer: observer))
                } catch { results[task] = .failure(error) }
            }
        }
        guard !observer.isCancelled else { throw .cancelled }
        var domain = DomainFiles(source.name)
        var seen: Set<[UInt8]> = []
        for (path, result) in zip(paths, results) {
            guard let result else { continue }
            _ = domain.add(result, path: path, seen: &seen)
        }
        try domain.finish(source, pathCount: paths.count)
        return domain
    }

    /// Takes a file over or counts why not; gives the bytes that it adds.
    private mutating func add(
        _ result: Result<ScannedFile, Unreadable>, path: String, seen: inout Set<[UInt8]>
    ) -> Int {
        switch result {
        case .failure(let failure):
            summary.unreadableFileCount += 1
            if summary.unreadableExample == nil { summary.unreadableExample = "\(path): \(failure.reason)" }
            return 0
        case .success(let file):
            if file.isCut { summary.filesBeyondLimitCount += 1 }
            guard file.byteCount > 0, seen.insert(file.hash.bytes).inserted else {
                summary.redundantFileCount += 1
                return 0
            }
            files.append(file)
            return file.byteCount
        }
    }

    private mutating func finish(_ source: DomainSource, pathCount: Int) throws(CorpusError) {
        if files.isEmpty, let example = summary.unreadableExample {
            throw .nothingReadable(domain: source.name, fileCount: pathCount, example: example)
        }
        files.sort { $0.hash < $1.hash }
        summary.fileCount = files.count
    }
}
