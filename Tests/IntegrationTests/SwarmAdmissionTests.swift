import Foundation
import Testing

/// A swarm by invite, and a private network, as their users meet them. Serialized: these run nodes.
@Suite(.serialized) struct SwarmAdmissionTests {
    let swarm: SwarmPlace
    /// More than any test trains.
    private let endless = 1_000_000_000

    init() throws { swarm = try SwarmPlace() }

    /// Forms a swarm by invite; returns the invite that `swarm new` prints, which is for one node.
    private func formSwarm(_ home: String) throws -> String {
        try swarm.makeHome(home)
        try swarm.place.write(
            "\(home).yaml",
            """
            token_budget: \(endless)
            batch_sequences: 2
            admission: invite
            sync:
              inner_steps_per_round: 10
            """)
        let output = try swarm.succeed(["swarm", "new", swarm["\(home).yaml"], "--detach", "--json"], home: home)
        return try #require(SwarmPlace.object(output)?["invite"] as? String)
    }

    private func printed(_ arguments: [String], home: String) throws -> [String: Any] {
        try #require(SwarmPlace.object(try swarm.succeed(arguments + ["--json"], home: home)))
    }

    private func refuses(_ invite: String, home: String, _ words: String...) throws {
        try swarm.expectFailure(["swarm", "join", invite], home: home, 77, words)
    }

    @Test func `Invites let in whom they name, as often and as long as they say, and no longer`() throws {
        let once = try formSwarm("f")
        for home in ["a", "b", "c"] { try swarm.makeHome(home) }
        let joined = try swarm.succeed(["swarm", "join", once, "--detach", "--json"], home: "a")
        #expect(SwarmPlace.object(joined)?["invite"] is NSNull)
        try swarm.wait("f", "the newcomer is let in and trains") {
            ($0["peers"] as? [Any])?.count == 1 && ($0["committed_tokens"] as? Int ?? 0) > 0
        }
        try refuses(once, home: "b", "used as often as it may be", "new invite")
        try swarm.expectFailure(["swarm", "invite"], home: "a", 77, ["neither the swarm's founder nor a delegate"])

        // For one node, revoked, damaged limits.
        let id = try #require(
            SwarmPlace.object(try swarm.succeed(["init", "--json"], home: "b"))?["peer_id"] as? String)
        let bound = try #require(try printed(["swarm", "invite", "--peer", id], home: "f")["invite"] as? String)
        try refuses(bound, home: "c", "the invite is for the node \(id)")
        let many = try printed(["swarm", "invite", "--uses", "5", "--expires", "1h"], home: "f")
        #expect(many["uses"] as? Int == 5)
        let serial = try #require(many["serial"] as? String)
        _ = try printed(["swarm", "revoke", serial], home: "f")
        try refuses(try #require(many["invite"] as? String), home: "c", "revoked", "Ask the founder")
        for (arguments, words) in [
            (["swarm", "invite", "--uses", "0"], ["1 to 1000"]), (["swarm", "invite", "--expires", "soon"], ["7d"]),
            (["swarm", "invite", "--peer", "me"], ["'me' is no peer id"]), (["swarm", "revoke", "me"], ["'me'"]),
        ] { try swarm.expectFailure(arguments, home: "f", 64, words) }

        // A delegate invites.
        let member = try #require(try swarm.status("a")?["peer_id"] as? String)
        _ = try printed(["swarm", "invite", "--delegate", member, "--uses", "3"], home: "f")
        var invite: String?
        for _ in 0..<200 where invite == nil {
            let result = try swarm.atoll(["swarm", "invite", "--json"], home: "a")
            invite = SwarmPlace.object(result.output)?["invite"] as? String
        }
        try swarm.succeed(["swarm", "join", try #require(invite), "--detach"], home: "c")
        try swarm.wait("c", "the delegate's guest meets both members") { ($0["peers"] as? [Any])?.count == 2 }

        // A membership ends.
        _ = try printed(["swarm", "revoke", member], home: "f")
        try swarm.wait("a", "the member hears that it was revoked") {
            ($0["refusal"] as? String)?.contains("revoked") == true
        }
        try swarm.wait("f", "the founder has dropped it") { status in
            (status["peers"] as? [[String: Any]])?.contains { $0["peer_id"] as? String == member } == false
        }
    }

    @Test func `A private network's nodes speak to each other only`() throws {
        let key = swarm["network.key"]
        #expect(try AtollProcess.run(["swarm", "key", "--out", key]).status == 0)
        let again = try AtollProcess.run(["swarm", "key", "--out", key])
        #expect(again.status == 73 && again.error.contains("exists"))
        for home in ["f", "a"] {
            try swarm.makeHome(home)
            try swarm.succeed(["init", "--private-network", key], home: home)
        }
        try swarm.makeHome("b")
        let invite = try swarm.formSwarm("f", tokens: endless)
        try swarm.succeed(["swarm", "join", invite, "--detach"], home: "a")
        try swarm.wait("a", "members of one private network meet") { ($0["peers"] as? [Any])?.count == 1 }
        try swarm.expectFailure(["swarm", "join", invite], home: "b", 69, ["nobody that the invite names answers"])
        try swarm.place.write("bad.key", "/key/swarm/psk/1.0.0/\n/base16/\n00\n")
        try swarm.expectFailure(
            ["init", "--private-network", swarm["bad.key"]], home: "b", 65, ["bad.key", "32 bytes", "atoll swarm key"])
    }
}
