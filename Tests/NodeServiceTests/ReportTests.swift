import JSONText
import Testing

@testable import NodeService

@Suite struct ReportTests {
    @Test func `a report survives its JSON`() throws {
        let report = NodeReport(
            swarmName: "demo", swarmID: "ab", peerID: "12D3", phase: "training", addresses: ["/ip4/127.0.0.1/tcp/1"],
            steps: 5, tokens: 6, loss: 1.5, tokensPerSecond: 10, utilisation: 0.5, committedTokens: 7, tokenBudget: 8,
            bytesSent: 9, bytesReceived: 10, fragments: [.init(round: 1, head: "cd", closed: true)],
            peers: [
                .init(
                    peerID: "x", address: "y", isOutbound: true, agent: "", roundTripMilliseconds: nil, bytesSent: 1,
                    bytesReceived: 2),
                .init(
                    peerID: "x", address: "y", isOutbound: false, agent: "atoll/1", roundTripMilliseconds: 0.25,
                    bytesSent: 1, bytesReceived: 2),
            ])
        let line = report.json.line
        #expect(!line.contains(UInt8(ascii: "\n")))
        #expect(NodeReport(json: try JSONValue(parsing: line)) == report)
        #expect(NodeReport(json: ["swarm_name": "demo"]) == nil)
    }

    @Test(arguments: [
        (0.0, 2, "0.00"), (1.005, 1, "1.0"), (-1.26, 1, "-1.3"), (0.999, 2, "1.00"), (12.5, 0, "13"),
        (-0.001, 2, "0.00"),
    ])
    func `decimals are rounded and padded`(value: Double, places: Int, expected: String) {
        #expect(NodeReport.decimal(value, places: places) == expected)
    }

    @Test func `bytes are shown in the unit that suits them`() {
        #expect(NodeReport.bytes(999) == "999 B")
        #expect(NodeReport.bytes(1_500) == "1.5 kB")
        #expect(NodeReport.bytes(25_000_000) == "25.0 MB")
        #expect(NodeReport.bytes(2_500_000_000) == "2.50 GB")
    }
}
