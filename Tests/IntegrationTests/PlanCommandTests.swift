import Foundation
import Testing

@Suite struct PlanCommandTests {
    let place: SwarmPlace

    init() throws {
        place = try SwarmPlace()
        try place.makeHome("node")
    }

    private func plan(_ sync: String, _ more: String...) throws -> [String: Any] {
        try place.place.write("spec.yaml", "token_budget: 1000000\nbatch_sequences: 2\nsync:\n\(sync)")
        let output = try place.succeed(["plan", place["spec.yaml"], "--steps", "2", "--json"] + more, home: "node")
        return try #require(SwarmPlace.object(output))
    }

    private func fragments(_ plan: [String: Any], _ key: String) throws -> [Double] {
        try #require(plan["fragments"] as? [[String: Any]]).map { try #require($0[key] as? Double) }
    }

    @Test func `What is planned follows from the specification`() throws {
        let raw = try plan("  codec: float32\n  result_codec: float32\n  inner_steps_per_round: 20", "--members", "4")
        // Exponents pack, random bits of fractions do not.
        for (parameters, bytes) in zip(
            try fragments(raw, "parameters"), try fragments(raw, "contribution_bytes"))
        {
            #expect(bytes > 2 * parameters && bytes < 4.1 * parameters)
        }
        let sent = try fragments(raw, "sent_bytes")
        let perCycle = try #require(raw["bytes_per_cycle"] as? Double)
        #expect(abs(sent.reduce(0, +) - perCycle) < 1e-6 * perCycle)
        let cycles = try #require(raw["cycles"] as? Double)
        #expect(cycles == (1_000_000.0 / (4 * 20 * 2 * 128)).rounded(.up))
        #expect(raw["total_bytes"] as? Double == cycles * perCycle)

        let packed = try plan("  codec: e3m0\n  result_codec: e3m0\n  inner_steps_per_round: 20", "--members", "4")
        let ratio = try #require(packed["bytes_per_cycle"] as? Double) / perCycle
        #expect(ratio > 0.08 && ratio < 0.25)
    }

    @Test func `Sparse contributions are gathered in a small swarm and scattered in a large one`() throws {
        let sync = "  codec: topk:64\n  inner_steps_per_round: 20"
        #expect(try plan(sync, "--members", "4")["gathers"] as? Bool == true)
        #expect(try plan(sync, "--members", "40")["gathers"] as? Bool == false)
    }

    @Test func `A slow link is said to hold training back`() throws {
        let rich = try plan("  inner_steps_per_round: 20", "--members", "4", "--link", "10 Gbit/s")
        let poor = try plan("  inner_steps_per_round: 20", "--members", "4", "--link", "64 kbit/s", "--rtt", "200")
        let (high, low) = (rich["link_utilisation"] as? Double ?? 0, poor["link_utilisation"] as? Double ?? 1)
        #expect(high > 0.99 && low < 0.5)
    }

    @Test(arguments: [
        ["--members", "0"], ["--members", "100000"], ["--steps", "0"], ["--rtt", "-1"], ["--link", "fast"],
    ]) func `Flags out of range are refused`(flags: [String]) throws {
        let result = try place.atoll(["plan"] + flags, home: "node")
        #expect(result.status == 64)
        #expect(result.lastErrorLine.contains(flags[0]) || result.error.contains(flags[0]))
        #expect(result.output.isEmpty)
    }

    @Test func `A specification that is none is refused`() throws {
        try place.place.write("spec.yaml", "sync:\n  codek: e3m0\n")
        let result = try place.atoll(["plan", place["spec.yaml"]], home: "node")
        #expect(result.status == 65)
        #expect(result.error.contains("codek"))
    }
}
