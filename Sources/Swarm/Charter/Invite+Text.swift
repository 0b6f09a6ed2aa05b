import Compression
import PeerNet
internal import SwiftProtobuf

// An invite line: `atoll1`, then base58btc of the protobuf bytes followed by the first four bytes of their BLAKE2b-256.
extension Invite {
    private static let version: UInt32 = 1
    private static let checksumByteCount = 4

    /// The line of text. Addresses beyond `bootstrapMax`, and those that would make the line too long, are left out.
    package var text: String {
        var message = WireInvite()
        message.version = Self.version
        message.swarmID = wire(swarmID.bytes)
        message.bootstrap = bootstrap.prefix(Self.bootstrapMax).map { wire($0.bytes) }
        message.heads = heads.prefix(Limits.fragmentsMax).map { wire($0.bytes) }
        if let credential { message.credential = credential.message }
        while true {
            let bytes = Self.withChecksum(message)
            // Base58 needs 1.37 characters per byte.
            if Self.prefix.utf8.count + bytes.count * 138 / 100 < Self.textBytesMax {
                return Self.prefix + Base58.encode(bytes, countMax: Self.textBytesMax)
            }
            // Heads only narrow what a joiner accepts; a way in is what an invite is for.
            if !message.heads.isEmpty { message.heads.removeAll() } else { message.bootstrap.removeLast() }
        }
    }

    private static func withChecksum(_ message: WireInvite) -> [UInt8] {
        guard let bytes = try? message.serializedBytes() as [UInt8] else {
            preconditionFailure("a message without required fields always serializes")
        }
        return bytes + Digest(hashing: bytes).bytes.prefix(checksumByteCount)
    }

    /// Reads a line; blanks around it do not matter. What is wrong is told apart: no invite at all, a character that
    /// cannot be in one, a missing or mistyped part, another version.
    package static func parse(_ line: String) throws(InviteError) -> Invite {
        guard line.utf8.count <= textBytesMax + 64 else { throw .tooLong }
        let trimmed = line.drop(while: \.isWhitespace)
        let text = String(trimmed.prefix(trimmed.count - trimmed.reversed().prefix(while: \.isWhitespace).count))
        guard text.hasPrefix(prefix) else { throw .notAnInvite }
        guard text.utf8.count <= textBytesMax else { throw .tooLong }
        let body = text.dropFirst(prefix.count)
        for (index, character) in body.enumerated() where !Base58.contains(character) {
            throw .character(character, position: prefix.count + index + 1)
        }
        guard let bytes = Base58.decode(body.utf8, countMax: textBytesMax), bytes.count > checksumByteCount else {
            throw .damaged
        }
        let content = Array(bytes.dropLast(checksumByteCount))
        guard Digest(hashing: content).bytes.prefix(checksumByteCount).elementsEqual(bytes.suffix(checksumByteCount))
        else { throw .damaged }
        guard let message = try? WireInvite(serializedBytes: content) else { throw .malformed("it does not decode") }
        guard message.version == version else { throw .version(message.version) }
        guard let swarmID = Digest(bytes: array(message.swarmID)) else { throw .malformed("it names no swarm") }
        guard (1...bootstrapMax).contains(message.bootstrap.count) else {
            throw .malformed("it must name 1 to \(bootstrapMax) addresses")
        }
        var invite = Invite(swarmID: swarmID, bootstrap: [])
        for bytes in message.bootstrap {
            guard let address = try? Multiaddr(bytes: array(bytes)), address.peerID != nil else {
                throw .malformed("an address does not end in /p2p")
            }
            invite.bootstrap.append(address)
        }
        guard message.heads.count <= Limits.fragmentsMax else { throw .malformed("it names too many heads") }
        for bytes in message.heads {
            guard let head = Digest(bytes: array(bytes)) else { throw .malformed("a head is no digest") }
            invite.heads.append(head)
        }
        if message.hasCredential {
            do throws(Refusal) {
                invite.credential = try Credential(message.credential, swarmID: swarmID)
            } catch {
                throw .malformed(error.reason)
            }
        }
        return invite
    }
}
