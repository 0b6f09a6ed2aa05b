package import Compression
package import PeerNet

/// What is wrong with an invite line.
package enum InviteError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text does not begin like an invite.
    case notAnInvite
    /// The text is longer than any invite.
    case tooLong
    /// A character that base58 does not have, and its position from 1.
    case character(Character, position: Int)
    /// The checksum does not match: a typing error, or part of the line is missing.
    case damaged
    /// A version that this program does not know.
    case version(UInt32)
    /// The checksum matches but the content breaks a rule.
    case malformed(String)

    /// The cause in words.
    package var description: String {
        switch self {
        case .notAnInvite: "this is not an invite: an invite begins with \(Invite.prefix)"
        case .tooLong: "this is not an invite: it has more than \(Invite.textBytesMax) characters"
        case .character(let character, let position):
            "the invite has a character that cannot be in one, '\(character)' at position \(position)"
        case .damaged: "the invite is damaged: its checksum does not match, so part of it is missing or mistyped"
        case .version(let version): "the invite has version \(version); this program knows version 1"
        case .malformed(let reason): "the invite is malformed: \(reason)"
        }
    }
}

/// One line of text that lets a node find and verify a swarm.
package struct Invite: Hashable, Sendable {
    /// The swarm.
    package var swarmID: Digest
    /// Where to begin; each address ends in `/p2p/…`.
    package var bootstrap: [Multiaddr]
    /// Heads that the swarm's history must contain; empty asks for none.
    package var heads: [Digest]
    /// What its receiver is let in by, where the swarm asks for it.
    package var credential: Credential?

    /// What every invite begins with.
    package static let prefix = "atoll1"
    /// The most characters of an invite.
    package static let textBytesMax = 4_096
    /// The most bootstrap addresses; further ones are left out of the text.
    package static let bootstrapMax = 16

    /// Wraps the fields.
    package init(swarmID: Digest, bootstrap: [Multiaddr], heads: [Digest] = [], credential: Credential? = nil) {
        self.swarmID = swarmID
        self.bootstrap = bootstrap
        self.heads = heads
        self.credential = credential
    }
}
