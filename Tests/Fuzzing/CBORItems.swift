import WireFormat

// The CBOR codec by itself: any bytes, and a type that uses every kind of container and number.

enum Target: FuzzTarget {
    static let longestInput = 4096

    private struct Everything: Codable {
        var flag: Bool?
        var text: String?
        var double: Double?
        var float: Float?
        var signed: [Int]?
        var small: Small?
        var large: UInt64?
        var bytes: [UInt8]?
        var named: [String: Int32]?
        var numbered: [Int: String]?
        var kind: Kind?
        var nested: [Everything]?
    }

    private struct Small: Codable {
        var int8: Int8
        var int16: Int16
        var int32: Int32
        var int64: Int64
        var uint8: UInt8
        var uint16: UInt16
        var uint32: UInt32
        var uint: UInt
    }

    private enum Kind: Codable {
        case plain
        case one(String)
        case two(Int, label: [UInt8]?)
    }

    static func check(_ input: [UInt8]) {
        if let item = try? CBORValue(decoding: input) {
            let written = item.encoded
            hold(written.count <= input.count, "the encoding is not the shortest")
            hold((try? CBORValue(decoding: written))?.encoded == written, "an item is written in two ways")
        }
        // Not compared by value: NaN is not equal to itself.
        guard let value = try? CBORDecoder.decode(Everything.self, from: input) else { return }
        let written = try? CBOREncoder.encode(value)
        hold(written != nil, "what was read cannot be written")
        let again = written.flatMap { try? CBORDecoder.decode(Everything.self, from: $0) }
        hold(again.flatMap { try? CBOREncoder.encode($0) } == written, "a value is written in two ways")
    }

    static func seeds() throws -> [Seed] {
        let small = Small(
            int8: -128, int16: -129, int32: .min, int64: .min, uint8: 255, uint16: 256, uint32: 65_536,
            uint: .max)
        let leaf = Everything(text: "ä", signed: [0, 23, 24, -1, -25], kind: .plain)
        let full = Everything(
            flag: true, text: "text", double: 1.5, float: -0.25, signed: [], small: small, large: .max,
            bytes: Array(0..<30), named: ["a": 1, "bb": -2], numbered: [1: "one"],
            kind: .two(3, label: [1]), nested: [leaf, leaf])
        let deep = (1..<CBORLimits.depth).reduce(CBORValue.null) { item, _ in .array([item]) }
        return [
            try seed("leaf", leaf), try seed("full", full),
            try seed("kind", Everything(double: .nan, kind: .one("x"))),
            Seed(name: "deep", bytes: deep.encoded),
        ]
    }
}
