/// Where the text of one domain comes from, and how often it is drawn.
package struct DomainSource: Hashable, Sendable {
    /// The name, unique in the corpus.
    package var name: String
    /// Globs, folders or files; see `FilePattern`.
    package var patterns: [String]
    /// The share of windows that come from this domain, relative to the other weights.
    package var weight: Double

    /// Wraps the three.
    package init(name: String, patterns: [String], weight: Double = 1) {
        self.name = name
        self.patterns = patterns
        self.weight = weight
    }
}

/// What loading a domain took and what it left out.
package struct DomainSummary: Hashable, Sendable {
    /// The domain's name.
    package var name: String
    /// Files that are trained on.
    package var trainingFileCount = 0
    /// Files that are held out for evaluation; 0 where the end of the text is.
    package var heldOutFileCount = 0
    /// Tokens that are trained on.
    package var trainingTokenCount = 0
    /// Tokens that are held out.
    package var heldOutTokenCount = 0
    /// Windows in one epoch.
    package var windowCount = 0
    /// Files that could not be read.
    package var unreadableFileCount = 0
    /// Empty files, files with the same content as another, and files that are held out for everybody.
    package var redundantFileCount = 0
    /// Files that were left out, or cut, because the domain reached the size limit.
    package var filesBeyondLimitCount = 0
}
