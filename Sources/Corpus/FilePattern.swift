import Glibc

/// Finds the plain files that a glob names.
///
/// `*`, `?` and `[…]` match within one path component as fnmatch(3) has it, hidden names only where the pattern starts
/// with a dot; `**` matches any number of folders; a leading `~/` is the home folder. A pattern that names a folder
/// stands for every file below it. Folders that are reached through symbolic links below `**` or a named folder are not
/// entered, so that loops end; links to files are followed. A prepared folder is no text: it is found where a pattern names
/// it, and passed over below `**` or a named folder.
struct FilePattern {
    /// More files than any corpus of text within the size limit needs; a bound on memory.
    static let fileCountMax = 500_000

    /// The limit on files was hit.
    struct TooMany: Error {}

    private var found: Set<String> = []
    private var prepared: Set<String> = []

    /// What the patterns of a source match, each once, in byte order of the paths; some of the two.
    static func files(of source: DomainSource) throws(CorpusError) -> (files: [String], prepared: [String]) {
        var search = FilePattern()
        do { for pattern in source.patterns { try search.expand(pattern) } } catch {
            throw .tooManyFiles(domain: source.name, limit: fileCountMax)
        }
        guard !search.found.isEmpty || !search.prepared.isEmpty else {
            throw .noFileMatched(domain: source.name, patterns: source.patterns)
        }
        return (sorted(search.found), sorted(search.prepared))
    }

    private static func sorted(_ paths: Set<String>) -> [String] {
        paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private mutating func expand(_ pattern: String) throws(TooMany) {
        var pattern = pattern
        if pattern.hasPrefix("~/"), let home = getenv("HOME") {
            pattern = String(cString: home) + pattern.dropFirst()
        }
        // A file may have a name with wildcards in it.
        if Self.kind(of: pattern) == .file { return try add(pattern) }
        let components = pattern.utf8.split(separator: UInt8(ascii: "/")).compactMap { String($0) }
        try match(components[...], in: pattern.utf8.first == UInt8(ascii: "/") ? "/" : "")
    }

    private mutating func add(_ path: String) throws(TooMany) {
        guard found.count < Self.fileCountMax else { throw TooMany() }
        found.insert(path)
    }

    /// Matches the rest of a pattern below `folder`, which is empty for the current one or ends in a slash.
    ///
    /// - Parameter isBelow: whether a `**` came before, so that prepared folders are passed over.
    private mutating func match(
        _ components: ArraySlice<String>, in folder: String, isBelow: Bool = false
    ) throws(TooMany) {
        guard let component = components.first else { return }
        let rest = components.dropFirst()
        if component == "**" {
            if rest.isEmpty { return try addAll(in: folder, depth: 0) }
            return try matchBelow(rest, in: folder, depth: 0)
        }
        guard component.utf8.contains(where: { "*?[\\".utf8.contains($0) }) else {
            return try descend(into: folder + component, rest, isBelow: isBelow)
        }
        for name in Self.names(in: folder) where fnmatch(component, name, FNM_PERIOD) == 0 {
            try descend(into: folder + name, rest, isBelow: isBelow)
        }
    }

    private mutating func descend(
        into path: String, _ rest: ArraySlice<String>, isBelow: Bool
    ) throws(TooMany) {
        switch Self.kind(of: path) {
        case .file where rest.isEmpty: try add(path)
        case .folder where rest.isEmpty && PreparedFolder.isPrepared(path): if !isBelow { prepared.insert(path) }
        case .folder where rest.isEmpty: try addAll(in: path + "/", depth: 0)
        case .folder: try match(rest, in: path + "/", isBelow: isBelow)
        case .file, .other: return
        }
    }

    /// Paths longer than the system takes end the descent at the latest.
    private static let depthMax = 256

    /// Matches `rest` in `folder` and in every folder below it.
    private mutating func matchBelow(_ rest: ArraySlice<String>, in folder: String, depth: Int) throws(TooMany) {
        guard !PreparedFolder.isPrepared(folder) else { return }
        try match(rest, in: folder, isBelow: true)
        guard depth < Self.depthMax else { return }
        for name in Self.names(in: folder) where !name.hasPrefix(".") && Self.isPlainFolder(folder + name) {
            try matchBelow(rest, in: folder + name + "/", depth: depth + 1)
        }
    }

    /// Adds every file below `folder` that is not hidden.
    private mutating func addAll(in folder: String, depth: Int) throws(TooMany) {
        let names = Self.names(in: folder)
        guard depth < Self.depthMax, !names.contains(PreparedIndex.fileName) else { return }
        for name in names where !name.hasPrefix(".") {
            let path = folder + name
            switch Self.kind(of: path) {
            case .file: try add(path)
            case .folder: if Self.isPlainFolder(path) { try addAll(in: path + "/", depth: depth + 1) }
            case .other: continue
            }
        }
    }

    private enum Kind { case file, folder, other }

    private static func kind(of path: String) -> Kind {
        var status = stat()
        guard stat(path, &status) == 0 else { return .other }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .folder
        default: return .other
        }
    }

    /// Whether it is a folder and no symbolic link to one.
    private static func isPlainFolder(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The names in a folder, in byte order; none if it cannot be read.
    private static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder.isEmpty ? "." : folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let name, name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

extension DomainSource {
    /// Whether any plain file or prepared folder matches; contents are not read.
    package var matchesFiles: Bool { (try? FilePattern.files(of: self)) != nil }
}
