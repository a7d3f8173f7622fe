import ClusterModel
import Testing
import WireFormat

@Suite struct CBORTests {
    struct Inner: Codable, Hashable {
        var name: String
        var raw: [UInt8]
        var maybe: Int?
        var list: [Int64]
    }

    enum Shape: Codable, Hashable {
        case none
        case one(UInt64)
        case many(inner: [Inner], flag: Bool)
    }

    @Test func everyShapeComesBackAsItWent() throws {
        let shapes: [Shape] = [
            .none, .one(.max), .one(0),
            .many(
                inner: [
                    Inner(
                        name: "é", raw: [0, 255], maybe: nil, list: [.min, -1, 0, 23, 24, 255, 65_536, .max]),
                    Inner(name: "", raw: [], maybe: -5, list: []),
                ], flag: true),
        ]
        for shape in shapes {
            let bytes = try CBOREncoder.encode(shape)
            #expect(try CBORDecoder.decode(Shape.self, from: bytes) == shape)
        }
    }

    @Test func theExamplesOfRFC8949AppendixAEncodeAsPrinted() {
        let examples: [(CBORValue, String)] = [
            (.unsigned(0), "00"), (.unsigned(23), "17"), (.unsigned(24), "1818"), (.unsigned(100), "1864"),
            (.unsigned(1000), "1903e8"), (.unsigned(1_000_000), "1a000f4240"),
            (.unsigned(.max), "1bffffffffffffffff"), (.negative(inverted: 0), "20"),
            (.negative(inverted: 999), "3903e7"), (.boolean(false), "f4"), (.null, "f6"),
            (.bytes([1, 2, 3, 4]), "4401020304"), (.text("IETF"), "6449455446"),
            (.double(1.1), "fb3ff199999999999a"),
            (.array([.unsigned(1), .array([.unsigned(2), .unsigned(3)])]), "8201820203"),
            (.map([.init(key: "a", value: .unsigned(1))]), "a1616101"),
        ]
        for (value, hex) in examples {
            #expect(Hex.encode(value.encoded) == hex)
            #expect(Hex.decode(hex).flatMap { try? CBORValue(decoding: $0) } == value)
        }
    }

    @Test func unknownFieldsAreSkippedAndAbsentOptionalsAreNil() throws {
        struct Newer: Codable { var name = "x", raw: [UInt8] = [], list: [Int64] = [1], added = "later" }
        let inner = try CBORDecoder.decode(Inner.self, from: CBOREncoder.encode(Newer()))
        #expect(inner == Inner(name: "x", raw: [], maybe: nil, list: [1]))
    }

    @Test func integersOutOfRangeAreRefused() throws {
        let bytes = try CBOREncoder.encode(UInt64(300))
        #expect(throws: DecodingError.self) { try CBORDecoder.decode(UInt8.self, from: bytes) }
        #expect(throws: DecodingError.self) { try CBORDecoder.decode(Bool.self, from: bytes) }
    }

    @Test(arguments: [
        ("", CBORError.truncated), ("1b00", .truncated), ("5affffffff00", .truncated),
        ("9affffffff00", .truncated), ("bbffffffffffffffff", .truncated), ("0000", .trailingBytes),
        ("c000", .unsupported(initialByte: 0xC0)), ("9fff", .unsupported(initialByte: 0x9F)),
        ("61ff", .invalidText), ("a2616101616102", .duplicateKey), ("a10001", .unsupported(initialByte: 0)),
    ])
    func hostileBytesGiveANamedError(hex: String, error: CBORError) throws {
        let bytes = try #require(Hex.decode(hex))
        #expect(throws: error) { try CBORValue(decoding: bytes) }
    }

    @Test func nestingIsBounded() {
        let bytes = [UInt8](repeating: 0x81, count: 100_000)
        #expect(throws: CBORError.tooDeep) { try CBORValue(decoding: bytes) }
    }

    @Test func randomBytesNeverCrashTheDecoder() throws {
        var generator = SeededGenerator(seed: 1)
        let valid = try CBOREncoder.encode(
            Shape.many(inner: [Inner(name: "a", raw: [1], maybe: 2, list: [3])], flag: false))
        for _ in 0..<20_000 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator))
            _ = try? CBORDecoder.decode(Shape.self, from: bytes)
        }
    }
}
