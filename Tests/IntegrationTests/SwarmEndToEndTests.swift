import Foundation
import Glibc
import Testing

/// A swarm of real processes on loopback, from forming it to the model.
@Suite(.serialized) struct SwarmEndToEndTests {
    let swarm: SwarmPlace

    init() throws { swarm = try SwarmPlace() }

    @Test func `Two nodes finish one model although one is killed in between`() throws {
        try swarm.makeHome("a")
        try swarm.makeHome("b")
        let invite = try swarm.formSwarm("a", tokens: 60_000)
        let joined = try swarm.succeed(["swarm", "join", invite, "--detach", "--json"], home: "b")
        #expect(SwarmPlace.object(joined)?["was_member"] as? Bool == false)
        try swarm.wait("b", "the second node must train") {
            ($0["steps"] as? Int ?? 0) > 0 && ($0["committed_tokens"] as? Int ?? 0) > 20_000
        }
        swarm.killNode("b")
        #expect(try swarm.status("b") == nil)
        try swarm.succeed(["node", "start"], home: "b")

        let (a, b) = (try finish("a"), try finish("b"))
        #expect(a == b)
        #expect(a.count == 5)

        let written = try swarm.succeed(["checkpoint", "--out", swarm["model"], "--json"], home: "b")
        #expect(SwarmPlace.object(written)?["heads"] as? [String] == a)
        let evaluated = try AtollProcess.run(
            "eval", swarm["model"], "--data", swarm["text"], "--held-out", "--windows", "32", "--json")
        #expect(evaluated.status == 0, "\(evaluated.error)")
        // Bytes drawn at random would cost 5.5 nats each.
        #expect((SwarmPlace.object(evaluated.output)?["loss"] as? Double ?? 9) < 4)

        #expect(try swarm.succeed(["swarm", "leave"], home: "b").hasPrefix("left swarm"))
        #expect(SwarmPlace.processes(naming: swarm["b"]).isEmpty)
        let listed = try swarm.succeed(["swarm", "list"], home: "b")
        #expect(listed.contains("  a  ") && !listed.contains("*"))
        #expect(try swarm.succeed(["swarm", "leave", "--delete"], home: "a").contains("deleted"))
        #expect(swarm.place.names(in: "a/swarms") == [])
    }

    @Test func `Ctrl-C detaches from a node, which goes on`() throws {
        try swarm.makeHome("a")
        try swarm.makeHome("b")
        let invite = try swarm.formSwarm("a", tokens: 1_000_000_000)
        for arguments in [["swarm", "join", invite], ["node", "status", "--follow"]] {
            let result = try AtollProcess.run(
                arguments + ["--home", swarm["b"]], interruptAfter: "committed", on: .output)
            #expect(result.status == 0, "\(result.error)")
            #expect(result.output.contains("detached; the node goes on"))
            #expect(result.error.isEmpty)
        }
        #expect(SwarmPlace.processes(naming: swarm["b"]).count == 1)
        let steps = try swarm.wait("b", "the node must train") { ($0["steps"] as? Int ?? 0) > 0 }["steps"] as? Int ?? 0
        try swarm.wait("b", "the node must go on") { ($0["steps"] as? Int ?? 0) > steps }
        let peers = try swarm.succeed(["peers", "--json"], home: "b")
        let peer = try #require(
            (JSONSerialization.jsonObject(with: Data(peers.utf8)) as? [[String: Any]])?.first)
        #expect((peer["agent"] as? String)?.hasPrefix("atoll/") == true)
        let id = try #require(peer["peer_id"] as? String)
        #expect(try swarm.succeed(["peers"], home: "b").contains(id))
        let pinged = try swarm.succeed(["ping", String(id.suffix(8)), "--count", "2", "--json"], home: "b")
        #expect((SwarmPlace.object(pinged)?["milliseconds"] as? [Double])?.count == 2)
        let missed = try AtollProcess.run("ping", "nobody", "--home", swarm["b"])
        #expect(missed.status == 69)
        #expect(missed.lastErrorLine.contains("no connected peer's id has 'nobody' in it"))

        try swarm.succeed(["node", "stop"], home: "b")
        #expect(SwarmPlace.processes(naming: swarm["b"]).isEmpty)
    }

    /// Waits until a node has the model; returns its heads.
    private func finish(_ home: String) throws -> [String] {
        let status = try swarm.wait(home, seconds: 120, "\(home) must finish") { $0["phase"] as? String == "finished" }
        return (status["fragments"] as? [[String: Any]] ?? []).compactMap { $0["head"] as? String }
    }
}
