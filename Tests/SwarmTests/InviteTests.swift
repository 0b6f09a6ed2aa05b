import Compression
import PeerNet
import Swarm
import Testing

@Suite struct InviteTests {
    private func sample(addresses: Int = 2) throws -> Invite {
        let identity = try #require(Identity(seed: Array(repeating: 7, count: 32)))
        let bootstrap = try (0..<addresses).map { index in
            try Multiaddr("/ip4/127.0.0.1/tcp/\(4000 + index)").encapsulating(p2p: identity.peerID)
        }
        return Invite(swarmID: Digest(hashing: [1]), bootstrap: bootstrap, heads: [Digest(hashing: [2])])
    }

    @Test func `an invite is one line and reads back`() throws {
        let invite = try sample()
        #expect(invite.text.hasPrefix("atoll1"))
        #expect(!invite.text.contains { $0.isWhitespace })
        #expect(try Invite.parse(invite.text) == invite)
        #expect(try Invite.parse("  \(invite.text)\n") == invite)
    }

    @Test func `too many addresses are left out and the line stays short`() throws {
        let text = try sample(addresses: 40).text
        #expect(text.utf8.count <= Invite.textBytesMax)
        #expect(try Invite.parse(text).bootstrap.count == Invite.bootstrapMax)
    }

    @Test func `every truncation and every changed character is refused`() throws {
        let text = try sample().text
        for count in 0..<text.count {
            #expect(throws: InviteError.self) { try Invite.parse(String(text.prefix(count))) }
        }
        var characters = Array(text)
        for index in characters.indices {
            let old = characters[index]
            characters[index] = old == "2" ? "3" : "2"
            #expect(throws: InviteError.self) { try Invite.parse(String(characters)) }
            characters[index] = old
        }
    }

    @Test func `what is wrong is told apart`() throws {
        let text = try sample().text
        #expect(throws: InviteError.notAnInvite) { try Invite.parse("hello") }
        #expect(throws: InviteError.damaged) { try Invite.parse(String(text.dropLast(5))) }
        #expect(throws: InviteError.character("0", position: 7)) { try Invite.parse("atoll10" + text.dropFirst(7)) }
        #expect(throws: InviteError.tooLong) { try Invite.parse("atoll1" + String(repeating: "2", count: 5000)) }
    }
}
