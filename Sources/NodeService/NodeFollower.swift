import Transport

/// Watches a running node from another process.
package struct NodeFollower: Sendable {
    /// Why following ended.
    package enum Ending: Sendable {
        /// The swarm's model is done.
        case finished
        /// Ctrl-C: the node goes on.
        case detached
        /// The node is gone.
        case stopped
    }

    private static let interval: Duration = .seconds(1)
    private let home: NodeHome
    private let show: @Sendable (NodeReport) -> Void

    /// Prepares to show the node's state every second.
    package init(home: NodeHome, show: @escaping @Sendable (NodeReport) -> Void) {
        self.home = home
        self.show = show
    }

    /// Shows until there is nothing more to see.
    package func run() async throws(UserError) -> Ending {
        // Ctrl-C detaches from the first line on.
        let signals = SignalWaiter()
        await signals.start()
        // The first answer decides whether there is a node at all.
        do { show(try await NodeControl(home: home).status()) } catch {
            await signals.stop()
            throw error
        }
        let ending = await withTaskGroup(of: Ending.self) { group in
            group.addTask { await signals.next() == nil ? .stopped : .detached }
            group.addTask { await self.watch() }
            let first = await group.next() ?? .stopped
            group.cancelAll()
            await signals.stop()
            return first
        }
        return ending
    }

    private func watch() async -> Ending {
        while !Task.isCancelled {
            // A cancelled sleep ends the loop at its next test.
            try? await Task.sleep(for: Self.interval)
            guard let report = try? await NodeControl(home: home).status() else { return .stopped }
            show(report)
            if report.phase == "finished" { return .finished }
        }
        return .detached
    }
}
