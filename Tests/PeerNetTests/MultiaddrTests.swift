import PeerNet
import Testing

@Suite struct MultiaddrTests {
    static let peerA = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    static let peerB = "12D3KooWJ1TsijH7H5F74hfAD5XishQz3sxrmAtVY37GtNd9CqYf"
    static let vectors: [(String, String)] = [
        ("/ip4/127.0.0.1/tcp/4001", "047f000001060fa1"),
        (
            "/ip4/127.0.0.1/tcp/4001/p2p/\(peerA)",
            "047f000001060fa1a503260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
        ),
        ("/ip4/127.0.0.1/udp/1234", "047f000001910204d2"),
        ("/ip6/2001:db8::1/tcp/4001", "2920010db8000000000000000000000001060fa1"),
        ("/dns4/example.com/tcp/443", "360b6578616d706c652e636f6d0601bb"),
        ("/dnsaddr/bootstrap.libp2p.io", "3813626f6f7473747261702e6c69627032702e696f"),
        ("/ip4/192.0.2.1/udp/4001/quic-v1", "04c000020191020fa1cd03"),
        (
            "/ip4/192.0.2.1/tcp/4001/p2p/\(peerA)/p2p-circuit/p2p/\(peerB)",
            "04c0000201060fa1a503260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27ea202a5032600240801122079b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad049664"
        ),
    ]

    @Test(arguments: vectors)
    func textAndBinaryMatchTheVectors(text: String, binary: String) throws {
        let address = try Multiaddr(text)
        #expect(address.bytes == hex(binary))
        #expect(try Multiaddr(bytes: hex(binary)).description == text)
    }

    @Test(arguments: [
        "/unix/run/atoll.sock", "/ip4/1.2.3.4/ipcidr/24", "/memory/7", "/ip6/::/tcp/0", "/ip6/::1/tcp/1",
        "/ip6/1:0:0:2::3/tcp/1", "/ip6/fe80::/tcp/1", "/ip6/1:2:3:4:5:6:7:8/tcp/65535", "/dns/a.b/tcp/1/ws",
        "/dns6/a/tcp/443/tls/sni/a/ws", "/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uEiAAAQID",
        "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234",
    ])
    func everyProtocolOfTheTableRoundTrips(text: String) throws {
        let address = try Multiaddr(text)
        #expect(address.description == text)
        #expect(try Multiaddr(bytes: address.bytes) == address)
    }

    @Test(arguments: [
        "", "/", "//", "ip4/1.2.3.4", "/ip4", "/ip4/1.2.3", "/ip4/1.2.3.256", "/ip4/1.2.3.04", "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/65536", "/ip4/1.2.3.4/tcp/-1", "/ip4/1.2.3.4/tcp/+1", "/ip4/1.2.3.4/nonsense/1",
        "/ip6/1::2::3/tcp/1", "/ip6/:1/tcp/1", "/ip6/12345::/tcp/1", "/ip6/::1%eth0/tcp/1", "/p2p/x", "/p2p/1",
        "/dns4//tcp/1", "/tcp/ 1", "/ip4/1.2.3.4//tcp/1", "/dns4/a\u{7}b/tcp/1",
        "/" + String(repeating: "tcp/1/", count: 17), "/dns4/" + String(repeating: "a", count: 1100) + "/tcp/1",
    ])
    func nonsenseIsRefused(text: String) {
        #expect(throws: MultiaddrError.self) { try Multiaddr(text) }
    }

    @Test func everyTruncationAndByteChangeIsTotal() throws {
        for (_, binary) in Self.vectors {
            let bytes = hex(binary)
            for count in 0..<bytes.count {
                if let address = try? Multiaddr(bytes: Array(bytes.prefix(count))) {
                    #expect(try Multiaddr(address.description) == address)
                }
            }
            for index in bytes.indices {
                for change in [UInt8(1), 2, 0x10, 0x80, 0xff] {
                    var changed = bytes
                    changed[index] ^= change
                    if let address = try? Multiaddr(bytes: changed) {
                        _ = (address.tcpEndpoint?.port, address.peerID, address.withoutPeerID, address.isLoopback)
                        #expect(try Multiaddr(address.description).bytes == changed)
                    }
                }
            }
        }
    }

    @Test func accessorsFindHostPortAndPeer() throws {
        let peer = try PeerID(Self.peerA)
        let address = try Multiaddr("/ip4/192.0.2.1/tcp/4001")
        #expect(address.tcpEndpoint?.host == .ip4([192, 0, 2, 1]))
        #expect(address.tcpEndpoint?.port == 4001)
        #expect(address.peerID == nil)
        let full = address.encapsulating(p2p: peer)
        #expect(full.description == "/ip4/192.0.2.1/tcp/4001/p2p/\(Self.peerA)")
        #expect(full.peerID == peer)
        #expect(full.withoutPeerID == address)
        #expect(full.encapsulating(p2p: try PeerID(Self.peerB)).peerID == (try PeerID(Self.peerB)))
        #expect(try Multiaddr("/dns/a.example/tcp/1").tcpEndpoint?.host == .dns("a.example", .any))
        #expect(try Multiaddr("/ip4/1.2.3.4/tcp/1/ws").tcpEndpoint == nil)
        #expect(try Multiaddr("/ip4/1.2.3.4/udp/1/quic-v1").tcpEndpoint == nil)
        #expect(try Multiaddr(Self.vectors[7].0).tcpEndpoint == nil)
        #expect(try Multiaddr("/ip4/0.0.0.0/tcp/1").isUnspecifiedOrMulticast)
        #expect(try Multiaddr("/ip6/ff02::1/tcp/1").isUnspecifiedOrMulticast)
        #expect(Multiaddr(ipBytes: [127, 0, 0, 1], tcpPort: 4001)?.description == "/ip4/127.0.0.1/tcp/4001")
        #expect(Multiaddr(ipBytes: [127, 0, 0], tcpPort: 4001) == nil)
    }
}
