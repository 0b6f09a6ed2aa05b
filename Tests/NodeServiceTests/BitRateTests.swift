import Testing

@testable import NodeService

@Suite struct BitRateTests {
    @Test(arguments: [
        ("20Mbit/s", 2_500_000), ("1.5 Gbit/s", 187_500_000), ("64 kbit/s", 8000), ("250 kB/s", 250_000),
        ("3MB/s", 3_000_000), ("3mbit/s", 375_000), ("63 kbit/s", nil), ("1001 Gbit/s", nil), ("1e3 kbit/s", nil),
        ("Mbit/s", nil), ("20 Mb/s", nil), ("20", nil), ("nan Mbit/s", nil), ("1..2 Mbit/s", nil), ("", nil),
    ])
    func `a rate is a number with a unit that leaves nothing open`(text: String, bytesPerSecond: Int?) {
        #expect(BitRate(text)?.bytesPerSecond == bytesPerSecond)
    }

    @Test(arguments: [8000, 1_234_567, 2_500_000, 125_000_000_000])
    func `a rate reads back what it wrote`(bytesPerSecond: Int) {
        let rate = BitRate(bytesPerSecond: bytesPerSecond)
        #expect(rate.flatMap { BitRate($0.description) } == rate)
    }
}
