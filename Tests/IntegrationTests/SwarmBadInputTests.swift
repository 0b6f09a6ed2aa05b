import Foundation
import Glibc
import Swarm
import Testing

/// Every mistake with homes, swarms and nodes ends with one line that names cause and cure, a documented exit code, and
/// nothing left behind. Serialized: several of these run nodes, which train on whatever cores there are.
@Suite(.serialized) struct SwarmBadInputTests {
    let swarm: SwarmPlace
    /// More than any test trains.
    private let endless = 1_000_000_000

    init() throws { swarm = try SwarmPlace() }

    @Test func `A specification that cannot be used`() throws {
        try swarm.makeHome("old")
        let garbage = Data((0..<300).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 130) })
        try garbage.write(to: URL(fileURLWithPath: swarm["garbage.yaml"]))
        for (name, text) in [
            ("key.yaml", "nam: x\n"), ("nested.yaml", "sync:\n  steps: 3\n"), ("open.yaml", "a: [\n"),
            ("list.yaml", "- a\n"), ("model.yaml", "model: huge\n"), ("range.yaml", "token_budget: 0\n"),
            ("twice.yaml", "name: a\nname: b\n"), ("control.yaml", "name: \u{1}\u{7}\n"),
        ] { try swarm.place.write(name, text) }
        // A home that is there stays as it is, one that is not is not made.
        for home in ["old", "fresh"] {
            func new(_ spec: String, _ status: Int32, _ words: String...) throws {
                try swarm.expectFailure(["swarm", "new", swarm[spec]], home: home, status, words)
            }
            try new("none.yaml", 66, "none.yaml", "no such file", "Check the path")
            try new("text", 66, "it is a folder", "Name a file")
            try new("garbage.yaml", 65, "garbage.yaml", "not a text file", "Mend the file")
            try new("control.yaml", 65, "control.yaml", "control characters")
            try new("key.yaml", 65, "unknown key 'nam'", "Mend the file")
            try new("nested.yaml", 65, "'sync'", "unknown key 'steps'")
            try new("open.yaml", 65, "open.yaml", "line 2", "Mend the file")
            try new("list.yaml", 65, "expected keys and values")
            try new("model.yaml", 65, "huge", "nano and micro")
            try new("range.yaml", 65, "'token_budget' (line 1)", "whole number")
            try new("twice.yaml", 65, "'name'", "twice")
        }
    }

    @Test func `Choices that make no sense`() throws {
        try swarm.expectFailure(["init", "--threads", "5000"], home: "n", 64, ["--threads 5000", "0 (one per core)"])
        try swarm.expectFailure(["init", "--listen", "here"], home: "n", 64, ["here", "/ip4/0.0.0.0/tcp/4650"])
        try swarm.expectFailure(["init", "--domain", "x"], home: "n", 64, ["NAME=GLOB"])
        try swarm.place.write("file", "not a folder")
        try swarm.expectFailure(["init"], home: "file", 66, ["file", "not a folder"])
    }

    @Test func `No text to train on`() throws {
        let invite = try swarm.formSwarm(home("founder"), tokens: endless)
        try swarm.place.write("tiny/a.txt", "too short")
        try swarm.makeHome("nothing", domain: swarm["missing/**"])
        try swarm.makeHome("little", domain: swarm["tiny/**"])
        try swarm.makeHome("none")
        try swarm.place.write("none/config.yaml", "listen: /ip4/127.0.0.1/tcp/0\n")
        for command in [["swarm", "new"], ["swarm", "join", invite]] {
            try swarm.expectFailure(
                command, home: "nothing", 66, ["no file matches", "Check the pattern", "config.yaml"])
            try swarm.expectFailure(command, home: "little", 65, ["9 bytes", "Name more files", "config.yaml"])
            try swarm.expectFailure(command, home: "none", 66, ["no text", "atoll init --domain"])
        }
        #expect(try swarm.atoll(["swarm", "list", "--json"], home: "nothing").output == "[]\n")
    }

    @Test func `An invite that is damaged or none`() throws {
        let invite = try swarm.formSwarm(home("founder"), tokens: endless)
        var typo = Array(invite)
        typo[invite.count - 9] = typo[invite.count - 9] == "z" ? "y" : "z"
        func join(_ text: String, _ words: String...) throws {
            try swarm.expectFailure(["swarm", "join", text], home: "n", 65, words + ["atoll swarm invite"])
        }
        try join("nonsense", "not an invite", "begins with atoll1")
        try join("", "not an invite")
        try join(String(invite.dropLast(20)), "checksum", "missing or mistyped")
        try join(String(typo), "checksum", "missing or mistyped")
        try join(String(invite.dropLast(4)) + "0OIl", "cannot be in one", "'0'")
        try join(invite + String(repeating: "a", count: 5000), "not an invite", "characters")
    }

    @Test func `An invite whose peer is gone, or is in another swarm`() throws {
        let first = try swarm.formSwarm(home("first"), tokens: endless)
        let second = try swarm.formSwarm(home("second"), tokens: endless)
        var mixed = try Invite.parse(second)
        mixed.bootstrap = try Invite.parse(first).bootstrap
        try swarm.expectFailure(
            ["swarm", "join", mixed.text], home: "n", 65, ["is not in the swarm", "Ask for a new invite"])
        try swarm.succeed(["node", "stop"], home: "first")
        try swarm.expectFailure(
            ["swarm", "join", first], home: "n", 69, ["connection refused", "Check that the inviting node runs"])
        try swarm.expectFailure(["swarm", "join", first], home: "second", 73, ["already trains", "atoll swarm leave"])
    }

    @Test func `A port that is taken`() throws {
        let taken = try TakenPort()
        _ = try swarm.formSwarm(home("n"), tokens: endless)
        try swarm.succeed(["node", "stop"], home: "n")
        let words = ["127.0.0.1/tcp/\(taken.port)", "in use"]
        for command in ["run", "start"] {
            try swarm.expectFailure(["node", command, "--port", "\(taken.port)"], home: "n", 69, words + ["--port"])
        }
        try swarm.makeHome("fixed", listen: taken.port)
        try swarm.expectFailure(["swarm", "new"], home: "fixed", 69, words + ["'listen'", "config.yaml"])
        // The home's last port is only a wish.
        try swarm.place.write("n/port", "\(taken.port)\n")
        try swarm.succeed(["node", "start"], home: "n")
    }

    @Test func `A home whose path no socket can have`() throws {
        let long = String(repeating: "x", count: 100)
        let invite = try swarm.formSwarm(home("founder"), tokens: endless)
        for command in [["init"], ["swarm", "new"], ["swarm", "join", invite], ["node", "run"]] {
            try swarm.expectFailure(command, home: long, 64, ["too long", "at most 94 bytes"])
        }
        #expect(!FileManager.default.fileExists(atPath: swarm[long]))
    }

    @Test func `Two nodes in one home`() throws {
        let invite = try swarm.formSwarm(home("n"), tokens: endless)
        try swarm.expectFailure(["node", "run"], home: "n", 69, ["another node runs", "atoll node stop"])
        try swarm.expectFailure(["swarm", "new"], home: "n", 73, ["already trains", "atoll swarm leave"])
        // Both of these ask for what is there already.
        let processes = SwarmPlace.processes(naming: swarm["n"])
        try swarm.succeed(["node", "start"], home: "n")
        let again = try swarm.succeed(["swarm", "join", invite, "--detach", "--json"], home: "n")
        #expect(SwarmPlace.object(again)?["was_member"] as? Bool == true)
        #expect(SwarmPlace.processes(naming: swarm["n"]) == processes)
    }

    @Test func `Commands for a node that is not there`() throws {
        try swarm.makeHome("made")
        let out = ["checkpoint", "--out", swarm["out"]]
        try swarm.expectFailure(["node", "run"], home: "n", 66, ["no node's home", "atoll init"])
        try swarm.expectFailure(["node", "start"], home: "n", 66, ["no node's home", "atoll init"])
        try swarm.expectFailure(out, home: "n", 66, ["no node's home", "atoll init"])
        for home in ["n", "made"] {
            for command in [
                ["node", "status"], ["node", "status", "--follow"], ["node", "stop"], ["swarm", "invite"],
            ] {
                try swarm.expectFailure(command, home: home, 69, ["no node runs", "atoll node start"])
            }
            try swarm.expectFailure(["node", "logs"], home: home, 66, ["in the background", "atoll node start"])
            try swarm.expectFailure(["swarm", "leave"], home: home, 69, ["in no swarm"])
        }
        for command in [["node", "run"], ["node", "start"], out] {
            try swarm.expectFailure(command, home: "made", 69, ["in no swarm", "atoll swarm join INVITE"])
        }
    }

    @Test func `Damaged files in a home`() throws {
        _ = try swarm.formSwarm(home("n"), tokens: endless)
        try swarm.wait("n", "a round must become final") { Self.rounds($0) >= 1 }
        try swarm.succeed(["node", "stop"], home: "n")
        let folder = try #require(swarm.place.names(in: "n/swarms").first)
        for (file, words) in [
            ("n/swarms/\(folder)/journal", ["journal is damaged", "swarm leave --delete"]),
            ("n/swarms/\(folder)/heads/0", ["heads/0 is damaged", "swarm leave --delete"]),
            ("n/swarms/\(folder)/state", ["state is damaged", "Delete the file"]),
            ("n/swarms/\(folder)/charter", ["charter is damaged", "swarm leave --delete"]),
            ("n/active", ["no swarm id", "Delete the file"]),
            ("n/config.yaml", ["config.yaml", "Mend the file"]),
            ("n/identity.key", ["identity.key", "Restore the file"]),
        ] {
            let url = URL(fileURLWithPath: swarm[file])
            let good = try Data(contentsOf: url)
            // A file of something else, and a flipped bit in the middle where that can be told from what is meant.
            var flipped = good
            flipped[good.count / 2] ^= 0x80
            for bad in [Data("\u{1}: garbage".utf8), flipped] {
                try bad.write(to: url)
                for command in ["run", "start"] { try swarm.expectFailure(["node", command], home: "n", 65, words) }
            }
            try good.write(to: url)
        }
        // As the cure says.
        try FileManager.default.removeItem(atPath: swarm["n/swarms/\(folder)/state"])
        try swarm.succeed(["node", "start"], home: "n")
        try swarm.wait("n", "the node must train on") { ($0["steps"] as? Int ?? 0) >= 1 }
    }

    // MARK: Disks

    @Test(.enabled(if: mayMount, "needs the right to mount a file system")) func `A home on a read-only disk`() throws {
        try #require(swarm.place.mountMemory("disk", bytes: 64 << 20))
        _ = try swarm.formSwarm(home("disk/n"), tokens: endless)
        try swarm.makeHome("disk/made")
        try swarm.succeed(["node", "stop"], home: "disk/n")
        try #require(swarm.place.remountReadOnly("disk"))
        for command in [["init"], ["swarm", "new"]] {
            try swarm.expectFailure(command, home: "disk/fresh", 73, ["read-only file system", "writable"])
        }
        try swarm.expectFailure(["swarm", "new"], home: "disk/made", 73, ["read-only file system", "writable"])
        for command in ["run", "start"] {
            try swarm.expectFailure(["node", command], home: "disk/n", 73, ["read-only file system", "writable"])
        }
        try swarm.expectFailure(
            ["checkpoint", "--out", swarm["disk/out"]], home: "disk/n", 73, ["read-only file system", "writable"])
        try swarm.expectFailure(["swarm", "leave"], home: "disk/n", 73, ["read-only file system", "writable"])
        // Reading is no trouble.
        try swarm.succeed(["checkpoint", "--out", swarm["out"]], home: "disk/n")
    }

    @Test(.enabled(if: mayMount, "needs the right to mount a file system")) func `A full disk under a command`() throws
    {
        try #require(swarm.place.mountMemory("disk", bytes: 32 << 20))
        let invite = try swarm.formSwarm(home("founder"), tokens: endless)
        try swarm.makeHome("disk/made")
        let words = ["no space left on device", "Free some space"]
        let out = ["checkpoint", "--out", swarm["disk/out"]]
        let full = Filling(swarm["disk/filling"])
        try swarm.expectFailure(["init"], home: "disk/fresh", 74, words)
        try swarm.expectFailure(["swarm", "new"], home: "disk/fresh", 74, words)
        try swarm.expectFailure(["swarm", "new"], home: "disk/made", 74, words)
        try swarm.expectFailure(["swarm", "join", invite], home: "disk/made", 74, words)
        let before = swarm.place.names(in: "disk")
        try swarm.expectFailure(out, home: "founder", 74, words + ["disk/out/config.json"])
        #expect(swarm.place.names(in: "disk") == before)
        // Room for the records, none for the heads.
        full.remove()
        try swarm.place.write("disk/part", String(repeating: " ", count: 28 << 20))
        try swarm.expectFailure(["swarm", "new"], home: "disk/made", 74, words)
        try swarm.expectFailure(["swarm", "join", invite], home: "disk/made", 74, words)
    }

    @Test(.enabled(if: mayMount, "needs the right to mount a file system"))
    func `A disk that fills up under a node that trains`() throws {
        try #require(swarm.place.mountMemory("disk", bytes: 64 << 20))
        _ = try swarm.formSwarm(home("disk/n"), tokens: endless)
        try swarm.wait("disk/n", "a round must become final") { Self.rounds($0) >= 1 }
        let full = Filling(swarm["disk/filling"])
        // The node deletes what it needs no more, and records fit into little: what becomes free is taken as well.
        let stuck = try swarm.wait("disk/n", "the node must report a record that it cannot write") { status in
            full.fill()
            let problem = status["disk_problem"] as? String ?? ""
            return problem.contains("journal") && problem.contains("no space left on device")
        }
        #expect(try swarm.succeed(["node", "status"], home: "disk/n").contains("training goes on"))
        let steps = stuck["steps"] as? Int ?? 0
        let later = try swarm.wait("disk/n", "training must go on") { status in
            full.fill()
            return (status["steps"] as? Int ?? 0) >= steps + 15
        }
        #expect(later["disk_problem"] is String)
        full.remove()
        try swarm.wait("disk/n", "rounds must go on once there is room") {
            $0["disk_problem"] is NSNull && Self.rounds($0) >= Self.rounds(later) + 5
        }
        try swarm.succeed(["node", "stop"], home: "disk/n")
        // The run log has lost lines, but none of those that it has is broken.
        let folder = try #require(swarm.place.names(in: "disk/n/swarms").first)
        let log = try String(contentsOfFile: swarm["disk/n/swarms/\(folder)/run.jsonl"], encoding: .utf8)
        let lines = log.split(separator: "\n")
        #expect(lines.allSatisfy { SwarmPlace.object(String($0)) != nil })
        #expect(lines.contains { $0.contains("\"can_persist\"") })
        try swarm.succeed(["node", "start"], home: "disk/n")
    }

    // MARK: Helpers

    /// Makes a home and gives its name back.
    private func home(_ name: String) throws -> String {
        try swarm.makeHome(name)
        return name
    }

    /// The rounds of all fragments together.
    private static func rounds(_ status: [String: Any]) -> Int {
        let fragments = status["fragments"] as? [[String: Any]] ?? []
        return fragments.reduce(0) { $0 + ($1["round"] as? Int ?? 0) }
    }
}
