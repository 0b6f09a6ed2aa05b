import Compression
import Glibc
import PeerNet
import Testing

@testable import Swarm

/// protocols/vectors/admission.txt, which admission.py beside it made without any of this code.
@Suite("Admission's golden vectors")
struct AdmissionVectorTests {
    private let entries: [String: [UInt8]]
    private let context: AdmissionContext

    init() throws {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let stream = try #require(fopen("/\(folder)/protocols/vectors/admission.txt", "r"))
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var byte = fgetc(stream)
        while byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
            byte = fgetc(stream)
        }
        var entries: [String: [UInt8]] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            try #require(words.count == 3 && words[1] == "=")
            let digits = Array(words[2].utf8)
            func nibble(_ digit: UInt8) -> UInt8 { digit < 0x3A ? digit - 0x30 : digit - 0x57 }
            entries[String(words[0])] = stride(from: 0, to: digits.count, by: 2).map {
                nibble(digits[$0]) << 4 | nibble(digits[$0 + 1])
            }
        }
        self.entries = entries
        let swarm = try #require(entries["swarm"].flatMap { Digest(bytes: $0) })
        context = AdmissionContext(swarmID: swarm, founder: testIdentity(1).peerID)
    }

    private func bytes(_ key: String) throws -> [UInt8] { try #require(entries[key]) }

    private func check<Content: SignedContent>(_ content: Content, by signer: UInt8, _ key: String) throws {
        let signed = Signed(content, by: testIdentity(signer), in: context.signing)
        #expect(encode(signed.message) == (try bytes(key)))
        let read = try Signed<Content>(try decode(WireSigned.self, try bytes(key)), in: context.signing)
        #expect(read == signed)
    }

    private let delegation = Delegation(delegate: testIdentity(2).peerID, expires: 1_800_100_000, uses: 20)
    private let capability = Capability(
        holder: testIdentity(3).peerID, isBound: false, expires: 1_800_000_600, uses: 2)

    @Test func whatIsSignedHasTheseBytes() throws {
        let digest = Digest(hashing: capability.body)
        let peer = testIdentity(4).peerID
        try check(delegation, by: 1, "delegation")
        try check(capability, by: 2, "capability")
        try check(
            Capability(holder: peer, isBound: true, expires: 1_800_000_600, uses: 1), by: 1, "capability.bound")
        try check(Claim(capability: digest, peer: peer), by: 3, "claim")
        try check(Welcome(capability: digest, peer: peer, time: 1_800_000_000), by: 1, "welcome")
        let serial = try #require(CapabilitySerial(bytes: try bytes("capability.serial")))
        #expect(Signed(capability, by: testIdentity(2), in: context.signing).serial == serial)
        #expect(CapabilitySerial("\(serial)") == serial)
        try check(Revocation(.serial(serial)), by: 2, "revocation.serial")
        try check(Revocation(.peer(peer)), by: 1, "revocation.peer")
    }

    @Test func aVoucherAndASummaryHaveTheseBytes() throws {
        let voucher = try Voucher(bytes: try bytes("voucher"), in: context)
        #expect(voucher.bytes == (try bytes("voucher")))
        #expect(voucher.peer == testIdentity(4).peerID)
        #expect(encode(AdmissionNotice(presenting: [voucher]).message) == (try bytes("presentation")))
        var book = AdmissionBook(rule: .invite, context: context)
        let change = book.take([voucher])
        #expect(change.added == [.voucher(voucher)])
        let serial = try #require(CapabilitySerial(bytes: try bytes("capability.serial")))
        // Its signer is a delegate once the delegation is known; that record has a key of its own.
        let revocation = Signed(Revocation(.serial(serial)), by: testIdentity(2), in: context.signing)
        let isEarly = book.take(revocation)
        #expect(!isEarly)
        let signed = Signed(delegation, by: testIdentity(1), in: context.signing)
        let isTaken = (book.take(signed), book.take(revocation))
        #expect(isTaken.0 && isTaken.1)
        #expect(!book.admits(testIdentity(4).peerID))
        var summary = book.summary
        summary.toggle(AdmissionRecord.delegation(signed).key)
        #expect(summary.bytes == (try bytes("summary")))
    }

    @Test func everyTruncationAndChangedByteIsRefused() throws {
        let whole = try bytes("voucher")
        for position in whole.indices {
            // Cut right before the welcome it is a voucher that nobody has stood for, which admits nobody.
            if let cut = try? Voucher(bytes: Array(whole.prefix(position)), in: context) { #expect(cut.welcome == nil) }
            for bit in 0..<8 {
                var changed = whole
                changed[position] ^= 1 << bit
                if let read = try? Voucher(bytes: changed, in: context) { #expect(read.welcome == nil) }
            }
        }
    }
}
