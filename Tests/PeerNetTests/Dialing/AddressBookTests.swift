import Testing

@testable import PeerNet

@Suite struct AddressBookTests {
    static let peer = peer(1)
    static let start = Moment(nanoseconds: 1_000_000_000)

    static func peer(_ seed: UInt8) -> PeerID { Identity(seed: [UInt8](repeating: seed, count: 32))!.peerID }

    static func numbered(_ number: Int) -> PeerID {
        PeerID(publicKey: [UInt8](repeating: 0, count: 30) + [UInt8(number >> 8), UInt8(number & 255)])!
    }

    static func addresses(_ texts: String...) -> [Multiaddr] { texts.map { try! Multiaddr($0) } }

    private func ranked(_ book: AddressBook, at now: Moment = start, near: String? = nil) -> [String] {
        let groups = near.flatMap { try! Multiaddr($0).ipGroup }
        return book.ranked(Self.peer, at: now, near: Set([groups].compactMap { $0 })).map(\.description)
    }

    @Test func whatWorkedGoesBeforeWhatIsNewAndThatBeforeWhatFailed() {
        var book = AddressBook()
        let (a, b, c, d) = ("/ip4/1.1.1.1/tcp/1", "/ip4/2.2.2.2/tcp/1", "/ip4/3.3.3.3/tcp/1", "/ip4/4.4.4.4/tcp/1")
        book.learn(Self.addresses(d, c, b, a), of: Self.peer)
        #expect(ranked(book) == [a, b, c, d])
        book.failed(Self.addresses(a)[0], of: Self.peer, at: Self.start, jitter: 0)
        book.succeeded(Self.addresses(d)[0], of: Self.peer, latency: .milliseconds(90), unixTime: 100)
        book.succeeded(Self.addresses(c)[0], of: Self.peer, latency: .milliseconds(20), unixTime: 90)
        #expect(ranked(book) == [c, d, b], "the one that failed waits")
        #expect(ranked(book, at: Self.start + .seconds(1)) == [c, d, b, a])
        book.succeeded(Self.addresses(a)[0], of: Self.peer, latency: .milliseconds(5), unixTime: 200)
        #expect(ranked(book) == [a, c, d, b])
    }

    @Test func theNearestGoesFirstAmongEquals() {
        var book = AddressBook()
        let told = Self.addresses(
            "/ip4/127.0.0.1/tcp/1", "/ip4/10.9.9.9/tcp/1", "/dns4/example.org/tcp/1", "/ip4/9.9.9.9/tcp/1",
            "/ip4/192.168.7.5/tcp/1")
        book.learn(told, of: Self.peer)
        #expect(
            ranked(book, near: "/ip4/192.168.7.77/tcp/4") == [
                "/ip4/192.168.7.5/tcp/1", "/ip4/9.9.9.9/tcp/1", "/dns4/example.org/tcp/1", "/ip4/10.9.9.9/tcp/1",
                "/ip4/127.0.0.1/tcp/1",
            ])
        #expect(ranked(book, near: "/ip4/127.0.0.1/tcp/9").first == "/ip4/127.0.0.1/tcp/1")
    }

    @Test func backoffDoublesWithJitterUpToAMinuteAndASuccessEndsIt() {
        var book = AddressBook()
        let address = Self.addresses("/ip4/1.1.1.1/tcp/1")[0]
        book.learn([address], of: Self.peer)
        for (round, seconds) in [1, 2, 4, 8, 16, 32, 60, 60, 60].enumerated() {
            for jitter in [0.0, 0.5, 0.999] {
                var tried = book
                tried.failed(address, of: Self.peer, at: Self.start, jitter: jitter)
                let wait = tried.nextDial(of: Self.peer)! - Self.start
                #expect(abs(wait.inSeconds - Double(seconds) * (0.5 + jitter)) < 0.001, "round \(round)")
            }
            book.failed(address, of: Self.peer, at: Self.start, jitter: 0.5)
        }
        book.succeeded(address, of: Self.peer, latency: .zero, unixTime: 1)
        #expect(book.nextDial(of: Self.peer) == .zero)
    }

    @Test func anAddressWhereAnotherPeerLivesLosesItsPlace() {
        var book = AddressBook()
        let (a, b) = ("/ip4/1.1.1.1/tcp/1", "/ip4/2.2.2.2/tcp/1")
        book.learn(Self.addresses(a, b), of: Self.peer)
        book.succeeded(Self.addresses(a)[0], of: Self.peer, latency: .zero, unixTime: 9)
        book.wrong(Self.addresses(a)[0], of: Self.peer, at: Self.start, jitter: 0)
        #expect(ranked(book, at: Self.start + .seconds(9)) == [b, a])
    }

    @Test func foreignAndUndialableAddressesAreIgnored() throws {
        var book = AddressBook()
        let base = try Multiaddr("/ip4/1.1.1.1/tcp/1")
        book.learn(
            [
                base.encapsulating(p2p: Self.peer(2)), base.encapsulating(p2p: Self.peer),
                try Multiaddr("/ip4/0.0.0.0/tcp/1"), try Multiaddr("/ip4/1.1.1.1/tcp/0"),
                try Multiaddr("/ip4/1.1.1.1/udp/1"),
            ], of: Self.peer)
        #expect(ranked(book) == ["/ip4/1.1.1.1/tcp/1"])
    }

    @Test func floodsOfAddressesAndPeersPushOutNothingThatWorked() throws {
        var book = AddressBook()
        let good = Self.addresses("/ip4/9.9.9.9/tcp/1")[0]
        book.succeeded(good, of: Self.peer, latency: .zero, unixTime: 5)
        for port in 1...100 { book.learn([try Multiaddr("/ip4/1.1.1.1/tcp/\(port)")], of: Self.peer) }
        #expect(ranked(book).count == AddressBook.addressesPerPeerMax)
        #expect(ranked(book).first == "\(good)")
        // Ones that failed give way to new ones; the one that worked does not, even if it fails now.
        for address in book.ranked(Self.peer, at: Self.start, near: []) {
            book.failed(address, of: Self.peer, at: .zero, jitter: 0)
        }
        for port in 200...300 { book.learn([try Multiaddr("/ip4/2.2.2.2/tcp/\(port)")], of: Self.peer) }
        #expect(ranked(book, at: Self.start + .seconds(9)).contains("\(good)"))
        #expect(ranked(book, at: Self.start + .seconds(9)).count == AddressBook.addressesPerPeerMax)
        for number in 0..<3000 {
            book.learn(Self.addresses("/ip4/3.3.3.3/tcp/1"), of: Self.numbered(number))
            book.seen(Self.numbered(number), unixTime: 1000)
        }
        #expect(book.peerCount == AddressBook.peersMax)
        #expect(!ranked(book).isEmpty)
        #expect(book.contacts(countMax: 1, near: []).map(\.peer) == [Self.peer])
    }

    // MARK: The store

    private func sample() -> AddressBook {
        var book = AddressBook()
        for number in 0..<40 {
            for port in 1...(1 + number % 5) {
                let address = try! Multiaddr("/ip4/1.2.3.\(number)/tcp/\(port)")
                book.learn([address], of: Self.numbered(number))
                if port == 1 {
                    book.succeeded(
                        address, of: Self.numbered(number), latency: .microseconds(number * 77), unixTime: 1000)
                } else {
                    book.failed(address, of: Self.numbered(number), at: .zero, jitter: 0)
                }
            }
        }
        book.learn(Self.addresses("/ip4/5.5.5.5/tcp/1"), of: Self.peer)
        return book
    }

    @Test func whatIsStoredComesBackWithoutThoseNeverSeen() throws {
        let book = sample()
        let read = try AddressBook(bytes: book.encoded)
        #expect(read.peerCount == 40)
        #expect(read.encoded == book.encoded)
        for number in 0..<40 {
            let (before, after) = (book.peers[Self.numbered(number)], read.peers[Self.numbered(number)])
            #expect(before?.lastSeen == after?.lastSeen)
            #expect(before?.entries.map(\.failures) == after?.entries.map(\.failures))
            #expect(before?.entries.map(\.latency) == after?.entries.map(\.latency))
            #expect(after?.entries.allSatisfy { $0.notBefore == .zero } == true)
        }
        #expect(try AddressBook(bytes: AddressBook().encoded).peerCount == 0)
    }

    @Test func theStoreKeepsTheBestAndStaysSmall() throws {
        var book = AddressBook()
        for number in 0..<1024 {
            for port in 1...16 {
                let name = String(repeating: "x", count: 200)
                book.learn([try Multiaddr("/dns4/\(name)/tcp/\(port)")], of: Self.numbered(number))
            }
            book.seen(Self.numbered(number), unixTime: UInt64(number + 1))
        }
        let bytes = book.encoded
        #expect(bytes.count <= AddressBook.byteCountMax)
        let read = try AddressBook(bytes: bytes)
        #expect(read.peerCount > 100)
        #expect(read.peers[Self.numbered(1023)] != nil && read.peers[Self.numbered(0)] == nil)
    }

    @Test func damagedStoresThrowAndNeverTrap() throws {
        let bytes = sample().encoded
        #expect(throws: AddressBookError.unknownFormat) { _ = try AddressBook(bytes: []) }
        #expect(throws: AddressBookError.unknownFormat) { _ = try AddressBook(bytes: Array("atoll peers 2\n".utf8)) }
        #expect(throws: AddressBookError.damaged) { _ = try AddressBook(bytes: bytes.dropLast(1)) }
        #expect(throws: AddressBookError.damaged) {
            _ = try AddressBook(bytes: bytes + [UInt8](repeating: 0, count: AddressBook.byteCountMax))
        }
        var random = TestRandom(state: 21)
        for _ in 0..<20_000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                changed[Int.random(in: 14..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let book = try? AddressBook(bytes: changed) {
                #expect(book.peerCount <= 41)
                // Whatever is accepted can be written and read again.
                _ = try AddressBook(bytes: book.encoded)
            }
        }
    }
}
