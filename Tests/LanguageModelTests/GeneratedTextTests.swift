import LanguageModel
import Numerics
import Testing

@Suite struct GeneratedTextTests {
    /// What is passed on for each piece, and at the end.
    private func passed(_ pieces: [[UInt8]], stops: [String] = []) -> (parts: [[UInt8]], isStopped: Bool) {
        var text = GeneratedText(stops: stops.map { Array($0.utf8) })
        var parts = pieces.map { text.append($0) }
        parts.append(text.finish())
        return (parts, text.isStopped)
    }

    private func strings(_ pieces: [String], stops: [String]) -> [String] {
        passed(pieces.map { Array($0.utf8) }, stops: stops).parts.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func aStopStringMaySpanTokensAndIsNotPassedOn() {
        #expect(strings(["one E", "N", "D two"], stops: ["END"]) == ["one ", "", "", ""])
        #expect(strings(["one E", "N", "x"], stops: ["END"]) == ["one ", "", "ENx", ""])
        #expect(strings(["one EN"], stops: ["END"]) == ["one ", "EN"])
        #expect(strings(["a", "ab"], stops: ["aab"]) == ["", "", ""])
        #expect(strings(["aaaab"], stops: ["aab"]) == ["aa", ""])
        // After a false start the next one may lie inside it.
        #expect(strings(["xabab", "abc"], stops: ["ababc"]) == ["x", "ab", ""])
    }

    @Test func theFirstStopStringToBeCompleteCounts() {
        #expect(strings(["abcd"], stops: ["abcd", "bc"]) == ["a", ""])
        #expect(strings(["abc"], stops: ["bc", "abc", "", "zzz"]) == ["", ""])
        #expect(passed([Array("ab".utf8)], stops: ["ab"]).isStopped)
        #expect(!passed([Array("ab".utf8)], stops: [""]).isStopped)
    }

    @Test func charactersArePassedOnWhole() {
        let bytes = Array("aé漢😀z".utf8)
        let parts = passed(bytes.map { [$0] }).parts
        #expect(parts.joined().elementsEqual(bytes))
        #expect(parts.filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) } == ["a", "é", "漢", "😀", "z"])
    }

    @Test func bytesThatAreNoCharactersArePassedOnAsTheyAre() {
        #expect(passed([[0xFF], [0x80], [0xF5]]).parts == [[0xFF], [0x80], [0xF5], []])
        // A lead byte waits for what follows, then goes with it; at the end it goes alone.
        #expect(passed([[0xE6], [0x41], [0xE6, 0xBC]]).parts == [[], [0xE6, 0x41], [], [0xE6, 0xBC]])
        // A stop string cuts even a character in two: what was before it is not lost.
        #expect(passed([[0xE6], Array("END".utf8)], stops: ["END"]).parts == [[], [0xE6], []])
    }

    @Test func anyCutOfATextPassesOnTheSame() {
        var random = SeededRandom(seed: 1)
        for round in 0..<300 {
            let alphabet: [UInt8] = [0x61, 0x62, 0xC3, 0xA9, 0xF0, 0x9F]
            let bytes = (0..<30).map { _ in alphabet[random.nextIndex(below: alphabet.count)] }
            let stops: [[UInt8]] = [[0x61, 0x62, 0x61, 0x61], [0x62, 0xC3, 0x62], [0x61, 0x61, 0x61]]
            var expected = bytes
            for end in bytes.indices {
                let ending = stops.filter { bytes[...end].suffix($0.count).elementsEqual($0) }
                guard let longest = ending.map(\.count).max() else { continue }
                expected = Array(bytes[..<(end + 1 - longest)])
                break
            }
            var text = GeneratedText(stops: stops)
            var (result, rest) = ([UInt8](), bytes[...])
            while !rest.isEmpty {
                let part = rest.prefix(1 + random.nextIndex(below: 5))
                result += text.append(Array(part))
                rest = rest.dropFirst(part.count)
            }
            result += text.finish()
            #expect(result == expected, "round \(round)")
        }
    }
}
