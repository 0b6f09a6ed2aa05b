/// Why an experiment could not be run.
package struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The cause, in words.
    package let description: String

    init(_ description: String) { self.description = description }
}
