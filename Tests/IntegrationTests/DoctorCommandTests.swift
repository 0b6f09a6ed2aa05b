import Foundation
import Glibc
import Testing

/// `atoll doctor` as a user runs it.
@Suite(.serialized) struct DoctorCommandTests {
    let swarm: SwarmPlace
    private static let endless = 1_000_000_000

    init() throws { swarm = try SwarmPlace() }

    /// The findings of a subject, as `level: cause`.
    private func findings(_ output: String, _ subject: String) throws -> [String] {
        let report = try #require(SwarmPlace.object(output), "\(output)")
        let all = try #require(report["findings"] as? [[String: Any]])
        return all.filter { $0["subject"] as? String == subject }.map { "\($0["level"] ?? ""): \($0["cause"] ?? "")" }
    }

    @Test func `A home without a swarm is examined, and a bad target is refused`() throws {
        try swarm.makeHome("n")
        let result = try swarm.atoll(["doctor", "--json"], home: "n")
        #expect(result.status == 0, "\(result.output)\(result.error)")
        #expect(try findings(result.output, "home").first?.contains("in no swarm") == true)
        #expect(try findings(result.output, "disk").first?.hasPrefix("ok: ") == true)
        #expect(try findings(result.output, "peers").first?.hasPrefix("warning: no peer is connected") == true)
        let text = try swarm.atoll(["doctor"], home: "n")
        #expect(text.status == 0 && text.output.contains("0 faults"))
        try swarm.expectFailure(["doctor", "nonsense"], home: "n", 64, ["neither an invite nor a multiaddr"])
    }

    @Test func `Two nodes that run are found well, in less than ten seconds`() throws {
        for home in ["a", "b"] { try swarm.makeHome(home) }
        let invite = try swarm.formSwarm("a", tokens: Self.endless)
        try swarm.succeed(["swarm", "join", invite, "--detach"], home: "b")
        try swarm.wait("b", "the nodes must meet") { ($0["peers"] as? [Any])?.isEmpty == false }
        let begin = ContinuousClock.now
        let result = try swarm.atoll(["doctor", "--json"], home: "b")
        #expect(ContinuousClock.now - begin < .seconds(10))
        #expect(result.status == 0, "\(result.output)\(result.error)")
        #expect(try findings(result.output, "port").first?.contains("is reachable: 1 peer") == true, "\(result.output)")
        #expect(try findings(result.output, "clock").first?.hasPrefix("ok: agrees with 1 peer") == true)
        #expect(try findings(result.output, "version").first?.hasPrefix("ok: ") == true)
        // And from outside, with the invite alone.
        try swarm.makeHome("c")
        let outside = try swarm.atoll(["doctor", "--json", invite], home: "c")
        #expect(outside.status == 0, "\(outside.output)\(outside.error)")
        #expect(try findings(outside.output, "peers") == ["ok: 1 peer answers"])
    }

    @Test(.enabled(if: mayMount, "needs the right to mount a file system")) func `A full disk is named`() throws {
        try #require(swarm.place.mountMemory("disk", bytes: 24 << 20))
        try swarm.makeHome("disk/n")
        let full = Filling(swarm["disk/filling"])
        let result = try swarm.atoll(["doctor", "--json"], home: "disk/n")
        full.remove()
        #expect(result.status == 1, "\(result.output)\(result.error)")
        let causes = try findings(result.output, "disk")
        #expect(causes.contains { $0.hasPrefix("fault: the disk is full") }, "\(causes)")
        #expect(causes.contains { $0.contains("no space left on device") }, "\(causes)")
        #expect(!swarm.place.names(in: "disk/n").contains { $0.contains("doctor") })
    }

    /// In a network of its own, whose rules drop connections to one port: no firewall tool is needed.
    @Test(.enabled(if: mayBlockPorts, "needs a network namespace with rules")) func `A blocked port is named`() throws {
        let script = """
            set -e
            atoll=$1; place=$2
            \(Namespace.blocking(port: 4702))
            for node in a b; do
                port=4701; if [ $node = b ]; then port=4702; fi
                $atoll init --home $place/$node --listen /ip4/127.0.0.1/tcp/$port --threads 1 --domain "x=$place/text/**" >&2
            done
            printf 'token_budget: \(Self.endless)\\nbatch_sequences: 2\\n' > $place/spec.yaml
            $atoll swarm new $place/spec.yaml --detach --json --home $place/a > $place/new
            invite=$(sed 's/.*"invite":"\\([^"]*\\)".*/\\1/' $place/new)
            $atoll swarm join "$invite" --detach --home $place/b >&2
            for try in $(seq 200); do
                if $atoll peers --json --home $place/b | grep -q peer_id; then break; fi
            done
            $atoll doctor --json --home $place/b || echo "status $?" >&2
            for node in a b; do $atoll node stop --home $place/$node >&2; done
            """
        // So that the place kills them whatever happens.
        for home in ["a", "b"] { _ = try swarm.atoll(["peers"], home: home) }
        let result = try Namespace.run(script, AtollProcess.path, swarm.place.path)
        #expect(result.error.contains("status 1"), "\(result.output)\(result.error)")
        let causes = try findings(result.output, "port")
        #expect(
            causes == ["fault: /ip4/127.0.0.1/tcp/4702 is blocked: 1 peer could not connect to it"],
            "\(result.output)\(result.error)")
    }
}

/// A network namespace of a child process.
private enum Namespace {
    /// Lines that bring loopback up and make a port unreachable, whoever listens there.
    static func blocking(port: Int) -> String {
        """
        ip link set lo up
        ip rule add pref 10 ipproto tcp dport \(port) unreachable
        ip rule add pref 20 lookup local
        ip rule del pref 0
        """
    }

    /// Runs a shell script with arguments in a network of its own.
    static func run(_ script: String, _ arguments: String...) throws -> (status: Int32, output: String, error: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["unshare", "-rn", "sh", "-c", script, "sh"] + arguments
        process.standardInput = FileHandle.nullDevice
        // Files, not pipes: nodes in the background may outlive the script with its streams.
        let place = Workplace()
        let (output, error) = (place["output"], place["error"])
        for file in [output, error] { #expect(FileManager.default.createFile(atPath: file, contents: nil)) }
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = FileHandle(forWritingAtPath: error)
        try process.run()
        process.waitUntilExit()
        func text(_ file: String) -> String {
            String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
        }
        return (process.terminationStatus, text(output), text(error))
    }
}

/// Whether this process may make a network namespace with routing rules.
let mayBlockPorts: Bool = (try? Namespace.run("set -e\n" + Namespace.blocking(port: 4702)))?.status == 0
