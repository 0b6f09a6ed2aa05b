/// The version of this build.
package enum AtollVersion {
    /// As shown by --version and told to peers.
    package static let text = "0.1.0"
    /// As told to peers by identify.
    static let agent = "atoll/\(text)"
}
