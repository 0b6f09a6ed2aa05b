import JSONText
import Testing

private func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), limits: limits)
}

private func rule(_ text: String, limits: JSONLimits = JSONLimits()) -> JSONError.Rule? {
    rule(Array(text.utf8), limits: limits)
}

private func rule(_ bytes: [UInt8], limits: JSONLimits = JSONLimits()) -> JSONError.Rule? {
    do {
        _ = try JSONValue(parsing: bytes, limits: limits)
        return nil
    } catch { return error.rule }
}

@Suite struct JSONReaderTests {
    @Test func readsEveryKindOfValue() throws {
        let value = try parse(#" {"a": [null, true, false, -12, 1.5, 1e3, "x"], "b": {}} "#)
        #expect(value == ["a": [nil, true, false, -12, 1.5, .number(1000), "x"], "b": [:]])
    }

    @Test func keepsTheOrderOfKeys() throws {
        let keys = try parse(#"{"z":1,"a":2,"m":3}"#).object?.members.map(\.key)
        #expect(keys == ["z", "a", "m"])
    }

    @Test func keepsIntegersExact() throws {
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775808") == .number(0x1p63))
        #expect(try parse("9007199254740993") == .integer(9_007_199_254_740_993))
        #expect(try parse("1.0") == .number(1))
        #expect(try parse("1.0").integer == nil)
        #expect(try parse("7").double == 7)
    }

    @Test func refusesDuplicateKeysAfterUnescaping() {
        #expect(rule(#"{"a":1,"b":2,"a":3}"#) == .duplicateKey("a"))
        #expect(rule(#"{"a":1,"\u0061":3}"#) == .duplicateKey("a"))
    }

    @Test func keepsCanonicallyEquivalentKeysApart() throws {
        let object = try #require(try parse("{\"\u{e9}\":1,\"e\u{301}\":2}").object)
        #expect(object["\u{e9}"] == 1)
        #expect(object["e\u{301}"] == 2)
    }

    @Test func readsEscapes() throws {
        let text = try parse(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000""#).string
        #expect(text?.bytes == Array("\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}\0".utf8))
    }

    @Test(arguments: [
        #""\ud800""#, #""\udc00""#, #""\ud800\u0041""#, #""\ud800x""#, #""\x""#, #""\u12g4""#,
    ]) func refusesMalformedEscapes(_ text: String) {
        #expect(rule(text) == .malformedEscape)
    }

    @Test(arguments: ["01", "-01", "1.", ".5", "+1", "1e", "1e+", "-", "0x1", "1_0", "NaN", "Infinity", "--1", "00"])
    func refusesMalformedNumbers(_ text: String) {
        #expect(rule(text) != nil)
    }

    @Test func refusesNumbersBeyondADouble() throws {
        #expect(rule("1e400") == .numberOutOfRange)
        #expect(rule(String(repeating: "9", count: 2000)) == .numberOutOfRange)
        #expect(try parse("1e-400") == .number(0))
    }

    @Test(arguments: [
        "", " ", "[1,]", "{,}", "{\"a\":1,}", "[1 2]", "{\"a\" 1}", "{a:1}", "[", "]", "nul", "tru", "// c\n1", "1 1",
        "{\"a\":}", "'a'", "\u{feff}1",
    ])
    func refusesWhatIsNotJSON(_ text: String) {
        #expect(rule(text) != nil)
    }

    @Test func refusesControlCharactersAndInvalidUTF8() {
        #expect(rule("\"\n\"") == .unescapedControlCharacter)
        #expect(rule([0x22, 0xff, 0x22]) == .invalidUTF8)
        #expect(rule([0x22, 0xc0, 0x80, 0x22]) == .invalidUTF8)
        #expect(rule([0x22, 0xed, 0xa0, 0x80, 0x22]) == .invalidUTF8)
        #expect(rule([0x22, 0xf5, 0x80, 0x80, 0x80, 0x22]) == .invalidUTF8)
    }

    @Test func capsDepthSizeAndCount() {
        let nested = String(repeating: "[", count: 100_000)
        #expect(rule(nested) == .tooDeep(limit: 64))
        #expect(rule("[[1]]", limits: JSONLimits(depthMax: 2)) == nil)
        #expect(rule("[[[1]]]", limits: JSONLimits(depthMax: 2)) == .tooDeep(limit: 2))
        #expect(rule("[1,2]", limits: JSONLimits(byteCountMax: 4)) == .tooLong(bytes: 5, limit: 4))
        #expect(rule("[1,2]", limits: JSONLimits(valueCountMax: 2)) == .tooManyValues(limit: 2))
    }

    @Test func tellsWhereItStopped() {
        #expect(throws: JSONError.self) { try parse("[1,x]") }
        do { _ = try parse("[1,x]") } catch {
            #expect(error.offset == 3)
            #expect(error.description == "not valid JSON: unexpected byte 0x78, at byte 3")
        }
    }

    static let samples = [
        #"{"a":[1,-2.5e3,"x\u00e9\n",null,true,false,{"b":{}}],"é":"\ud83d\ude00"}"#,
        #"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#,
    ]

    @Test(arguments: samples) func refusesEveryTruncation(_ sample: String) {
        let bytes = Array(sample.utf8)
        for count in 0..<bytes.count { #expect(rule(Array(bytes.prefix(count))) != nil) }
    }

    @Test(arguments: samples) func survivesEveryChangeOfOneByte(_ sample: String) throws {
        let bytes = Array(sample.utf8)
        for index in bytes.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = bytes
                changed[index] = byte
                guard let value = try? JSONValue(parsing: changed) else { continue }
                #expect(try JSONValue(parsing: value.encoded()) == value)
            }
        }
    }
}

@Suite struct JSONWriterTests {
    @Test func writesOneLine() throws {
        let value: JSONValue = ["b": [1, 2.5, nil, true], "a": ["x\n\"\\\u{1}é": [:]], "e": []]
        #expect(
            String(decoding: try value.encoded(), as: UTF8.self)
                == #"{"b":[1,2.5,null,true],"a":{"x\n\"\\\u0001é":{}},"e":[]}"#)
    }

    @Test func writesIndented() throws {
        let value: JSONValue = ["a": [1, 2], "b": [:]]
        #expect(
            String(decoding: try value.encoded(.indented), as: UTF8.self)
                == "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}\n")
    }

    @Test func refusesNonFiniteNumbersOrWritesNull() throws {
        for number in [Double.nan, .infinity, -.infinity] {
            #expect(throws: NonFiniteNumber.self) { try JSONValue.number(number).encoded() }
            #expect(JSONValue.array([.number(number)]).line == Array("[null]".utf8))
        }
    }

    @Test(arguments: [0.1, 1e-5, 1e300, Double.leastNonzeroMagnitude, -0.0, 123456789.125, 1e22, 0x1p63])
    func numbersReadBackTheSame(_ number: Double) throws {
        let read = try JSONValue(parsing: JSONValue.number(number).encoded()).double
        #expect(read?.bitPattern == number.bitPattern)
    }

    @Test func floatsAreWrittenWithFewDigits() throws {
        #expect(String(decoding: try JSONValue.number(float: 1e-5).encoded(), as: UTF8.self) == "1e-05")
    }

    @Test func objectsReplaceAndRemoveMembers() {
        var object = JSONObject()
        object["a"] = 1
        object["b"] = 2
        object["c"] = 3
        object["a"] = 4
        object["b"] = nil
        #expect(object.members.map(\.key) == ["a", "c"])
        #expect(object["c"] == 3)
        #expect(object["a"] == 4)
    }
}
