package import PeerNet

/// Virtual time: events in the order of their moment and, at one moment, in the order in which they were scheduled.
package struct EventQueue<Event> {
    private struct Entry {
        let moment: Moment
        let sequence: UInt64
        /// Where the event lies: the heap moves small entries, not events.
        let slot: Int

        func precedes(_ other: Entry) -> Bool {
            moment == other.moment ? sequence < other.sequence : moment < other.moment
        }
    }

    /// A binary heap; the earliest entry is at 0.
    private var heap: [Entry] = []
    private var sequence: UInt64 = 0
    private var events: [Event?] = []
    private var freeSlots: [Int] = []
    /// The moment of the event popped last.
    package private(set) var now = Moment.zero

    /// An empty queue at moment zero.
    package init() {}

    /// The number of events that wait.
    package var count: Int { heap.count }

    /// The moment of the next event.
    package var nextMoment: Moment? { heap.first?.moment }

    /// Adds an event, now or later.
    package mutating func schedule(_ event: Event, after delay: Duration) {
        precondition(delay >= .zero, "an event cannot happen in the past")
        schedule(event, at: now + delay)
    }

    /// Adds an event at a moment; a moment that has passed means now.
    package mutating func schedule(_ event: Event, at moment: Moment) {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            events[slot] = event
        } else {
            slot = events.count
            events.append(event)
        }
        heap.append(Entry(moment: max(moment, now), sequence: sequence, slot: slot))
        sequence += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the earliest event and moves time to it.
    package mutating func pop() -> Event? {
        guard let entry = popEntry() else { return nil }
        now = entry.moment
        freeSlots.append(entry.slot)
        defer { events[entry.slot] = nil }
        return events[entry.slot]
    }

    private mutating func popEntry() -> Entry? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return last }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2)
            where child < heap.count && heap[child].precedes(heap[least]) {
                least = child
            }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
