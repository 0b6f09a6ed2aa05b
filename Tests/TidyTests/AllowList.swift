/// Every exception to a rule, with its reason. Keep it short: an entry is a debt.
enum AllowList {
    /// One exception: a rule, the file that may break it (path from the root) and why.
    struct Entry: Sendable {
        let rule: String
        let path: String
        let reason: String
    }

    static let entries: [Entry] = [
        Entry(
            rule: "@unchecked Sendable", path: "Sources/Numerics/FloatBuffer.swift",
            reason: "tensor storage: one owner writes at a time, by the rules of its users"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/Numerics/Lock.swift",
            reason: "the lock itself: a pthread mutex guards the state"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/Numerics/WorkerPool.swift",
            reason: "the pool's threads share one state behind its lock"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/Transport/Loop/Loop.swift",
            reason: "the libuv loop: its state belongs to its one thread, the inbox is locked"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/Transport/Loop/Lock.swift",
            reason: "a pthread mutex that ThreadSanitizer understands"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/NodeService/ThreadExecutor.swift",
            reason: "an executor with a thread of its own; its queue is locked"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/NodeService/AlarmThread.swift",
            reason: "one thread that waits for the next alarm; its list is locked"),
        Entry(
            rule: "@unchecked Sendable", path: "Sources/NodeService/Training/TrainingThread.swift",
            reason: "the trainer's state belongs to its one thread; requests to it are locked"),
        Entry(
            rule: "sleep", path: "Sources/NodeService/NodeFollower.swift",
            reason: "a command that asks another process again and again; there is no loop to set a timer on"),
        Entry(
            rule: "sleep", path: "Sources/NodeService/NodeLauncher.swift",
            reason: "a command that waits for a daemon's socket to appear"),
        Entry(
            rule: "sleep", path: "Sources/NodeService/Testnet/DemoSwarm.swift",
            reason: "the demo watches its node processes"),
        Entry(
            rule: "sleep", path: "Sources/NodeService/Testnet/LinksRun.swift",
            reason: "the comparison watches its node processes for a given time"),
        Entry(
            rule: "sleep", path: "Sources/NodeService/Daemon/NodeDaemon+Discovery.swift",
            reason: "a wait of a minute that must end at once when the node stops; the loop's timers know no task"),
        Entry(
            rule: "import FoundationEssentials", path: "Sources/Swarm/Wire/Wire+Bytes.swift",
            reason: "generated messages hold `bytes` fields as Data; this file alone turns them into [UInt8]"),
    ]

    /// Whether `rule` may be broken in `path`.
    static func permits(_ rule: String, in path: String) -> Bool {
        entries.contains { $0.rule == rule && $0.path == path }
    }
}
