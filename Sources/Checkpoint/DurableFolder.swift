/// A folder of files that comes into being all at once when it is committed. If it is dropped before, by an error or a
/// cancelled command, everything written is removed.
package struct DurableFolder: ~Copyable {
    /// Where the files are written until the commit.
    package let partialPath: String
    private let path: String
    private let parent: String
    private let layer: any FileLayer
    private let replaced: ((_ name: String) -> Bool)?
    private var isCommitted = false

    /// Starts a partial folder beside `path`.
    ///
    /// `path` must not exist, or be an empty folder: a used folder is never written into. Its parent must exist. What
    /// killed processes may have left of the same output is removed.
    ///
    /// With `replacing` a used folder is allowed: the commit puts the new one in its place in one step. Of the old one's
    /// files those that `replacing` is true for go; all others are somebody's own and stay. A folder in it is an error.
    package init(
        path: String, replacing: ((_ name: String) -> Bool)? = nil, layer: any FileLayer = SystemFiles()
    ) throws(FileError) {
        let (parent, name) = splitPath(path)
        let replaced = (try? layer.list(path)) == nil ? nil : replacing
        if replaced == nil { try Self.checkUnused(path, layer: layer) }
        for stale in stalePartials(of: name, among: try layer.list(parent)) {
            Self.remove("\(parent)/\(stale)", layer: layer)
        }
        let partial = "\(parent)/\(partialName(name))"
        do { try layer.createFolder(partial) } catch {
            throw FileError(error.operation, path, errno: error.reason.number)
        }
        do { try Self.carryOver(from: path, to: partial, unless: replaced, layer: layer) } catch {
            Self.remove(partial, layer: layer)
            throw error
        }
        partialPath = partial
        self.replaced = replaced
        self.path = parent == "." ? name : parent == "/" ? "/\(name)" : "\(parent)/\(name)"
        self.parent = parent
        self.layer = layer
    }

    /// Gives the files that are nobody's output but the user's a second name in the new folder.
    private static func carryOver(
        from path: String, to partial: String, unless replaced: ((_ name: String) -> Bool)?, layer: any FileLayer
    ) throws(FileError) {
        guard let replaced else { return }
        let here = Set(try layer.list(partial))
        for name in try layer.list(path) where !replaced(name) && !here.contains(name) {
            try layer.link("\(path)/\(name)", as: "\(partial)/\(name)")
        }
    }

    /// Throws unless `path` does not exist or is an empty folder.
    package static func checkUnused(_ path: String, layer: any FileLayer = SystemFiles()) throws(FileError) {
        let names: [String]
        do { names = try layer.list(path) } catch {
            if error.reason.name == "ENOENT" { return }
            if error.reason.name == "ENOTDIR" { throw FileError(.create, path, errno: SystemErrorNumber.exists.number) }
            throw error
        }
        guard names.isEmpty else { throw FileError(.create, path, errno: SystemErrorNumber.notEmpty.number) }
    }

    /// The path of a file in the folder, until the commit.
    package func path(of name: String) -> String { "\(partialPath)/\(name)" }

    /// Writes a whole file into the folder.
    package func write(_ bytes: [UInt8], as name: String) throws(FileError) {
        var writer = try file(name)
        try writer.append(bytes)
        try writer.commit()
    }

    /// Starts a file in the folder.
    package func file(_ name: String) throws(FileError) -> DurableWriter {
        try DurableWriter(path: path(of: name), shownAs: "\(path)/\(name)", layer: layer)
    }

    /// Puts the folder in its place. Every file in it must be committed.
    package consuming func commit() throws(FileError) {
        // Also what came since the start.
        try Self.carryOver(from: path, to: partialPath, unless: replaced, layer: layer)
        try layer.syncFolder(partialPath)
        if replaced != nil {
            try layer.exchange(partialPath, with: path)
            try layer.syncFolder(parent)
            // The partial path names the old folder now; what is left of it is removed as a partial folder is.
            return
        }
        try layer.rename(partialPath, to: path)
        isCommitted = true
        try layer.syncFolder(parent)
    }

    deinit {
        if !isCommitted { Self.remove(partialPath, layer: layer) }
    }

    /// Removes a partial folder, as far as that is possible; partial folders hold plain files only.
    private static func remove(_ path: String, layer: any FileLayer) {
        guard let names = try? layer.list(path) else { return }
        for name in names { try? layer.removeFile("\(path)/\(name)") }
        try? layer.removeFolder(path)
    }
}
