import Testing

@testable import PeerNet

@Suite struct AutoNATMessageTests {
    private let address = try! Multiaddr("/ip4/1.2.3.4/tcp/4001")

    @Test func `messages have the bytes that the specification's schema gives`() {
        // Written by hand from the .proto: tag, length, value.
        #expect(
            AutoNATMessage.dialRequest(addresses: [address], nonce: 0x0102_0304_0506_0708).encoded
                == hex("0a13" + "0a08" + "0401020304060fa1" + "11" + "0807060504030201"))
        #expect(
            AutoNATMessage.dialResponse(.ok, addressIndex: 3, .dialError).encoded
                == hex("1207" + "08c801" + "1003" + "1864"))
        #expect(
            AutoNATMessage.dialDataRequest(addressIndex: 1, byteCount: 30_000).encoded
                == hex("1a06" + "0801" + "10b0ea01"))
        #expect(AutoNATMessage.dialData(byteCount: 3).encoded == hex("2205" + "0a03" + "000000"))
        #expect(AutoNATDialBack.message(nonce: 5) == hex("09" + "0500000000000000"))
    }

    @Test func `every message comes back`() {
        let messages: [AutoNATMessage] = [
            .dialRequest(addresses: [address, nil, address], nonce: .max), .dialRequest(addresses: [], nonce: 0),
            .dialResponse(.ok, addressIndex: 0, .ok), .dialResponse(.internalError, addressIndex: 0, .unused),
            .dialResponse(.dialRefused, addressIndex: 7, .dialBackError),
            .dialDataRequest(addressIndex: 49, byteCount: .max), .dialData(byteCount: 4096), .dialData(byteCount: 0),
        ]
        for message in messages { #expect(AutoNATMessage(decoding: message.encoded) == message) }
        #expect(AutoNATDialBack.nonce(of: AutoNATDialBack.message(nonce: 77)) == 77)
        #expect(AutoNATDialBack.isResponse([]) && AutoNATDialBack.isResponse(hex("0800")))
        #expect(!AutoNATDialBack.isResponse(hex("0801")))
    }

    @Test func `an address that does not decode keeps its place, and those beyond the limit are left out`() {
        let many = AutoNATMessage.dialRequest(addresses: Array(repeating: address, count: 60), nonce: 1)
        guard case .dialRequest(let addresses, 1)? = AutoNATMessage(decoding: many.encoded) else {
            Issue.record("a long request must decode")
            return
        }
        #expect(addresses.count == AutoNATLimits.addressesMax)
        let garbage = hex("0a08" + "0a02ffff" + "0a00" + "1000")
        #expect(AutoNATMessage(decoding: garbage) == .dialRequest(addresses: [nil, nil], nonce: 0))
    }

    @Test(arguments: ["", "0a", "0a05", "12020804", "120318f407", "2a00", "0aff", "09", "1206ffffffffffff"])
    func `malformed bytes and unknown statuses are refused`(text: String) {
        #expect(AutoNATMessage(decoding: hex(text)) == nil)
    }
}
