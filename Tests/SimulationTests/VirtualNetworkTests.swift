import PeerNet
import Simulation
import Testing

@Suite struct VirtualNetworkTests {
    let path = Path(from: NodeNumber(0), to: NodeNumber(1))

    private func network(loss: Double = 0, jitter: Duration = .zero, rate: Double = 1e6) -> VirtualNetwork {
        let access = NetworkAccess(
            delay: .milliseconds(10), jitter: jitter, uplinkBytesPerSecond: rate, lossProbability: loss)
        return VirtualNetwork(access: [access, access, access], generator: SeededGenerator(seed: 1))
    }

    @Test func `A message takes both ends' delay and its bytes' time`() {
        var network = network()
        _ = network.connect(path)
        let arrival = network.arrival(ofMessage: 1_000, over: path, at: .zero)
        #expect(arrival == Moment.zero + .milliseconds(21))
    }

    @Test func `Messages of one connection keep their order in spite of jitter`() {
        var network = network(jitter: .milliseconds(500))
        _ = network.connect(path)
        var last = Moment.zero
        for step in 0..<200 {
            let sent = Moment.zero + .milliseconds(step)
            guard let arrival = network.arrival(ofMessage: 100, over: path, at: sent) else { continue }
            #expect(arrival >= last)
            #expect(arrival - sent <= .milliseconds(20 + 500 + 700))
            last = arrival
        }
    }

    @Test func `A cut path swallows messages one way only, until it heals`() {
        var network = network()
        _ = network.connect(path)
        network.cut([path])
        #expect(network.arrival(ofMessage: 1, over: path, at: .zero) == nil)
        #expect(network.arrival(ofMessage: 1, over: path.reversed, at: .zero) != nil)
        network.heal()
        #expect(network.arrival(ofMessage: 1, over: path, at: .zero) != nil)
    }

    @Test func `The share of lost messages follows the probability`() {
        var network = network(loss: 0.2)
        _ = network.connect(path)
        let lost = (0..<2_000).filter { _ in network.arrival(ofMessage: 1, over: path, at: .zero) == nil }.count
        #expect((300...500).contains(lost))
        network.lossFactor = 0
        #expect((0..<100).allSatisfy { _ in network.arrival(ofMessage: 1, over: path, at: .zero) != nil })
    }

    @Test func `Bulk transfers of one node queue for its uplink`() {
        var network = network(rate: 1_000)
        let first = network.arrival(ofBulk: 1_000, over: path, at: .zero)
        let second = network.arrival(ofBulk: 1_000, over: Path(from: path.from, to: NodeNumber(2)), at: .zero)
        #expect(first == Moment.zero + .milliseconds(1_020))
        #expect(second == Moment.zero + .milliseconds(2_020))
    }

    @Test func `A new connection has a new name and an ended one has none`() {
        var network = network()
        let first = network.connect(path)
        #expect(network.connection(over: path.reversed) == first)
        #expect(network.peers(of: path.from) == [path.to])
        network.disconnect(path.reversed)
        #expect(network.connection(over: path) == nil)
        #expect(network.connect(path) != first)
    }
}
