import Compression
import Swarm
import Testing

@testable import NodeService

@Suite struct GossipEnvelopeTests {
    @Test(arguments: [1, 2, 1022, 1023, 1024, 5000, Limits.messageBytesMax])
    func messagesTravelWholeOrAreAnnounced(byteCount: Int) {
        let message = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0) }
        let envelope = GossipEnvelope(for: message)
        #expect(envelope.encoded.count <= GossipEnvelope.byteCountMax)
        #expect(GossipEnvelope(envelope.encoded) == envelope)
        switch envelope {
        case .message(let bytes): #expect(bytes == message && byteCount < 1024)
        case .announcement(let digest, let count):
            #expect(digest == Digest(hashing: message) && count == byteCount && byteCount >= 1024)
        }
    }

    @Test func whatIsNoEnvelopeIsRefused() {
        #expect(GossipEnvelope([]) == nil)
        #expect(GossipEnvelope([1]) == nil)
        #expect(GossipEnvelope([3, 0]) == nil)
        let announcement = GossipEnvelope(for: [UInt8](repeating: 7, count: 2000)).encoded
        #expect(GossipEnvelope(Array(announcement.dropLast())) == nil)
        #expect(GossipEnvelope(announcement + [0]) == nil)
        for (count, isGood) in [(0, false), (1023, false), (1024, true), (65536, true), (65537, false), (-1, false)] {
            let bytes = withUnsafeBytes(of: Int32(count).littleEndian) { Array($0) }
            #expect((GossipEnvelope(Array(announcement.dropLast(4)) + bytes) != nil) == isGood)
        }
        #expect(GossipEnvelope([1] + [UInt8](repeating: 0, count: 1024)) == nil)
    }

    @Test func bodiesAreForgottenInTheirOrder() async {
        let bodies = GossipBodies()
        let first = [UInt8](repeating: 0, count: 64 << 10)
        await bodies.keep(first, as: Digest(hashing: first))
        for index in 1...64 {
            #expect(await bodies[Digest(hashing: first)] == first)
            let body = [UInt8](repeating: UInt8(index), count: 64 << 10)
            await bodies.keep(body, as: Digest(hashing: body))
        }
        #expect(await bodies[Digest(hashing: first)] == nil)
        let last = [UInt8](repeating: 64, count: 64 << 10)
        #expect(await bodies[Digest(hashing: last)] == last)
    }
}
