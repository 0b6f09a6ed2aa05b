/// Every exception to a rule, with its reason. Keep it short: an entry is a debt.
enum AllowList {
    /// One exception: a rule, the file that may break it (path from the root) and why.
    struct Entry: Sendable {
        let rule: String
        let path: String
        let reason: String
    }

    static let entries: [Entry] = []

    /// Whether `rule` may be broken in `path`.
    static func permits(_ rule: String, in path: String) -> Bool {
        entries.contains { $0.rule == rule && $0.path == path }
    }
}
