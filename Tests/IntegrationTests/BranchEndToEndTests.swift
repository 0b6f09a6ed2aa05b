import Foundation
import Testing

/// Two branches in one swarm of four real processes on loopback, to the merged model.
@Suite(.serialized) struct BranchEndToEndTests {
    let swarm: SwarmPlace

    init() throws { swarm = try SwarmPlace() }

    @Test func `A branch of two nodes is closed, fetched by one that never trained it, and merged`() throws {
        for home in ["a", "b", "c", "d"] { try swarm.makeHome(home) }
        let invite = try swarm.formSwarm("a", tokens: 1_000_000_000)
        for home in ["b", "c", "d"] { try swarm.succeed(["swarm", "join", invite, "--detach"], home: home) }
        for home in ["b", "c", "d"] { try wait(home, branch: "main", rounds: 1) }
        // The rounds until here may have had fewer members: whoever leaves now must not be half of the last one's.
        try wait("a", branch: "main", rounds: try rounds("a") + 3)

        // c makes a branch and goes on in it; d joins it; a and b stay.
        let made = try swarm.succeed(["branch", "new", "law", "--from", "main", "--json"], home: "c")
        let law = try #require(SwarmPlace.object(made)?["id"] as? String)
        #expect(law.hasPrefix("law-"))
        try waitForBranch("d", law)
        // Half of the voters must not leave at once: the rest would wait for one of them.
        try wait("a", branch: "main", rounds: try rounds("a") + 3)
        let joined = try swarm.succeed(["branch", "join", "law", "--json"], home: "d")
        #expect(SwarmPlace.object(joined)?["id"] as? String == law)
        for home in ["c", "d"] { try wait(home, branch: law, rounds: 2) }
        try wait("a", branch: "main", rounds: try rounds("a") + 1)

        // Nobody but its maker and the founder may close it.
        let refused = try swarm.atoll(["branch", "close", "law"], home: "d")
        #expect(refused.status == 77 && refused.error.contains("only its maker"), "\(refused.error)")
        let closed = try swarm.succeed(["branch", "close", "law", "--json"], home: "c")
        let expert = try #require(SwarmPlace.object(closed)?["id"] as? String)
        for home in ["c", "d"] {
            try swarm.wait(home, "\(home) must hear that its branch is closed") { $0["phase"] as? String == "finished" }
        }
        let again = try swarm.atoll(["branch", "join", "law"], home: "b")
        #expect(again.status == 69 && again.error.contains("is closed"), "\(again.error)")

        // b never trained it.
        try waitForExpert("b", expert)
        #expect(try swarm.succeed(["expert", "list"], home: "b").contains(law))
        try swarm.succeed(["expert", "fetch", "law", "--out", swarm["law"]], home: "b")
        try swarm.succeed(["checkpoint", "--out", swarm["main"]], home: "a")
        let merged = try AtollProcess.run(
            "merge", swarm["main"], swarm["law"], "--weights", "0.5,0.5", "--out", swarm["merged"])
        #expect(merged.status == 0, "\(merged.error)")
        let evaluated = try AtollProcess.run(
            "eval", swarm["merged"], "--data", swarm["text"], "--held-out", "--windows", "8", "--json")
        #expect(evaluated.status == 0, "\(evaluated.error)")
        // Bytes drawn at random would cost 5.5 nats each.
        #expect((SwarmPlace.object(evaluated.output)?["loss"] as? Double ?? 9) < 5)

        // The holder gives it on although its publisher is gone, byte for byte.
        swarm.killNode("c")
        try swarm.succeed(["expert", "fetch", expert, "--out", swarm["law2"]], home: "a")
        for name in swarm.place.names(in: "law") {
            #expect(
                FileManager.default.contents(atPath: swarm["law/\(name)"])
                    == FileManager.default.contents(atPath: swarm["law2/\(name)"]))
        }
        // A merged checkpoint is offered, and a branch begins from it and main.
        let published = try swarm.succeed(
            ["expert", "publish", swarm["merged"], "--name", "mix", "--json"], home: "a")
        let mix = try #require(SwarmPlace.object(published)?["id"] as? String)
        try waitForExpert("b", "mix")
        try swarm.succeed(["expert", "fetch", "mix", "--out", swarm["mix"]], home: "b")
        let both = try swarm.succeed(["branch", "new", "both", "--from", "mix:0.7,main:0.3", "--json"], home: "b")
        let id = try #require(SwarmPlace.object(both)?["id"] as? String)
        try wait("b", branch: id, rounds: 1)
        // d begins one from both experts, which it has never held, as its text asks for them.
        try waitForExpert("d", "mix")
        let tax = try swarm.succeed(
            ["branch", "new", "tax", "--from", "posterior", "--domain", swarm["text/**"], "--json"], home: "d")
        let taxID = try #require(SwarmPlace.object(tax)?["id"] as? String)
        try wait("d", branch: taxID, rounds: 1)
        let listed = try swarm.succeed(["branch", "list", "--json"], home: "d")
        let rows = try #require(JSONSerialization.jsonObject(with: Data(listed.utf8)) as? [[String: Any]])
        let parents = try #require(rows.first { $0["id"] as? String == taxID }?["parents"] as? [[String: Any]])
        #expect(Set(parents.compactMap { $0["source"] as? String }).isSubset(of: [expert, mix]))
        let largest = parents.max { ($0["weight"] as? Double ?? 9) < ($1["weight"] as? Double ?? 9) }
        let best = try loss(of: "law") < loss(of: "mix") ? expert : mix
        #expect(largest?["source"] as? String == best)
        #expect(abs(parents.reduce(0) { $0 + ($1["weight"] as? Double ?? 9) } - 1) < 1e-9)
        // Back again, to where it was in the first branch.
        try swarm.succeed(["branch", "join", "main"], home: "b")
        try wait("b", branch: "main", rounds: 2)
    }

    /// The rounds of the fragment that has had the fewest.
    private func rounds(_ home: String) throws -> Int {
        let fragments = try #require(try swarm.status(home)?["fragments"] as? [[String: Any]])
        return fragments.compactMap { $0["round"] as? Int }.min() ?? 0
    }

    /// Waits until a node trains a branch whose fragments have had so many rounds.
    private func wait(_ home: String, branch: String, rounds: Int) throws {
        try swarm.wait(home, seconds: 120, "\(home) must advance in \(branch)") { status in
            status["branch"] as? String == branch
                && (status["fragments"] as? [[String: Any]] ?? []).allSatisfy { ($0["round"] as? Int ?? 0) >= rounds }
        }
    }

    /// The loss of a checkpoint on the place's text, in as many windows as a posterior is taken from.
    private func loss(of model: String) throws -> Double {
        let evaluated = try AtollProcess.run(
            "eval", swarm[model], "--data", swarm["text/**"], "--windows", "100", "--json")
        #expect(evaluated.status == 0, "\(evaluated.error)")
        return try #require(SwarmPlace.object(evaluated.output)?["loss"] as? Double)
    }

    private func waitForBranch(_ home: String, _ id: String) throws {
        try swarm.wait(home, "\(home) must hear of the branch \(id)") { _ in
            (try? swarm.succeed(["branch", "list"], home: home).contains(id)) == true
        }
    }

    private func waitForExpert(_ home: String, _ text: String) throws {
        try swarm.wait(home, "\(home) must hear of the expert \(text)") { _ in
            (try? swarm.succeed(["expert", "list"], home: home).contains(text)) == true
        }
    }
}
