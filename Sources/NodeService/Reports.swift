package import JSONText

extension HomeSummary: CommandReport {
    package var text: String {
        let domains = domains.isEmpty ? "none yet: name some in config.yaml" : domains.joined(separator: ", ")
        return "home     \(path)\nnode     \(peerID)\ntext     \(domains)"
    }
    package var json: JSONValue {
        ["home": .text(path), "peer_id": .text(peerID), "domains": .array(domains.map(JSONValue.text))]
    }
}

extension SwarmFormation.Membership: CommandReport {
    package var text: String {
        let verb = wasMember ? "already in" : "in"
        let line = "\(verb) swarm \(name) (\(swarmID.prefix(8)))"
        return invite.map { "\(line)\non another machine: atoll swarm join \($0.text)" } ?? line
    }
    package var json: JSONValue {
        [
            "swarm_name": .text(name), "swarm_id": .text(swarmID),
            "invite": invite.map { .text($0.line) } ?? .null,
            "was_member": .bool(wasMember),
        ]
    }
}

extension SwarmFormation.Departure: CommandReport {
    package var text: String { "left swarm \(swarmID.prefix(8))" + (deleted ? " and deleted what was held of it" : "") }
    package var json: JSONValue { ["swarm_id": .text(swarmID), "deleted": .bool(deleted)] }
}

extension NodeControl.InviteLine: CommandReport {
    package var text: String {
        limits.map { "\(line)\n\($0.text); to end it: atoll swarm revoke \($0.serial)" } ?? line
    }
    package var json: JSONValue {
        guard let limits else { return ["invite": .text(line)] }
        return [
            "invite": .text(line), "serial": .text(limits.serial), "uses": .integer(Int64(limits.uses)),
            "expires": .integer(Int64(clamping: limits.expires)),
        ]
    }
}

extension NodeControl.DelegationLine: CommandReport {
    package var text: String {
        "\(delegate) may issue invites: \(limits.text); to end it: atoll swarm revoke \(limits.serial)"
    }
    package var json: JSONValue {
        [
            "delegate": .text(delegate), "serial": .text(limits.serial), "uses": .integer(Int64(limits.uses)),
            "expires": .integer(Int64(clamping: limits.expires)),
        ]
    }
}

extension NodeControl.RevocationLine: CommandReport {
    package var text: String {
        isPeer
            ? "revoked \(target): members drop it as they hear of it"
            : "revoked \(target), and with it the membership of all who came by it"
    }
    package var json: JSONValue { ["revoked": .text(target), "kind": .text(isPeer ? "peer" : "serial")] }
}

extension NetworkKeyFile: CommandReport {
    package var text: String {
        "wrote \(path)\nput it on every machine of the network and name it in config.yaml as private_network"
    }
    package var json: JSONValue { ["path": .text(path)] }
}

extension SwarmCheckpoint.Summary: CommandReport {
    package var text: String { "wrote \(parameters) parameters to \(path)" }
    package var json: JSONValue {
        [
            "path": .text(path), "parameters": .integer(Int64(parameters)), "heads": .array(heads.map(JSONValue.text)),
        ]
    }
}

extension SwarmRegistry.Listing: CommandReport {
    package var text: String {
        entries.isEmpty
            ? "no swarm yet: atoll swarm new, or atoll swarm join INVITE"
            : entries.map { "\($0.isActive ? "*" : " ") \($0.name)  \($0.swarmID)" }.joined(separator: "\n")
    }
    package var json: JSONValue {
        .array(
            entries.map { ["swarm_name": .text($0.name), "swarm_id": .text($0.swarmID), "active": .bool($0.isActive)] })
    }
}

extension NodeReport: CommandReport {
    package var text: String {
        let loss = loss.map { Self.decimal($0, places: 4) } ?? "-"
        let share = tokenBudget > 0 ? Double(committedTokens) / Double(tokenBudget) * 100 : 0
        var lines = [
            "swarm        \(swarmName) (\(swarmID.prefix(8)))",
            "node         \(peerID)",
            "phase        \(phase)",
            "steps        \(steps), \(tokens) tokens here",
            "loss         \(loss)",
            "speed        \(Int(tokensPerSecond)) tokens/s, \(Self.decimal(utilisation * 100, places: 1)) % of the time in steps",
            "committed    \(committedTokens) of \(tokenBudget) tokens (\(Self.decimal(share, places: 1)) %)",
            "bytes        \(Self.bytes(bytesSent)) sent, \(Self.bytes(bytesReceived)) received",
        ]
        if let diskProblem {
            lines.append("disk         \(diskProblem); training goes on, nothing is signed until there is room")
        }
        if let refusal { lines.append("admission    refused: \(refusal)") }
        for (index, fragment) in fragments.enumerated() {
            let state = fragment.closed ? ", closed" : ""
            lines.append("fragment \(index)   round \(fragment.round), head \(fragment.head.prefix(8))\(state)")
        }
        for peer in peers {
            let time = peer.roundTripMilliseconds.map { ", \(Self.decimal($0, places: 1)) ms" } ?? ""
            lines.append("peer         \(peer.peerID) at \(peer.address)\(time)")
        }
        return lines.joined(separator: "\n")
    }
}
