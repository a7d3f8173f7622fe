import ClusterModel

// Everything that leaves a process or lands on a disk is CBOR (RFC 8949): self-describing, so that unknown
// fields of a newer version can be skipped, and readable with any CBOR tool. Only the part that Codable
// needs is accepted: definite lengths, text keys, no tags. The decoder trusts nothing: depth, counts and
// lengths are checked against what is really there before anything is allocated.

/// One CBOR data item (RFC 8949 §2).
public indirect enum CBORValue: Hashable, Sendable {
    /// Major type 0.
    case unsigned(UInt64)
    /// Major type 1: the value is −1 − `inverted`.
    case negative(inverted: UInt64)
    /// Major type 2.
    case bytes([UInt8])
    /// Major type 3.
    case text(String)
    /// Major type 4.
    case array([CBORValue])
    /// Major type 5, with text keys, in the order of encoding.
    case map([Field])
    /// Simple values false and true.
    case boolean(Bool)
    /// Simple value null.
    case null
    /// A double-precision float.
    case double(Double)

    /// One entry of a map.
    public struct Field: Hashable, Sendable {
        /// The key.
        public var key: String
        /// The value.
        public var value: CBORValue
        /// Puts an entry together.
        public init(key: String, value: CBORValue) {
            self.key = key
            self.value = value
        }
    }
}

/// Why bytes are not an acceptable CBOR item.
public enum CBORError: Error, Hashable, Sendable {
    /// The item ends in the middle.
    case truncated
    /// Bytes follow the item.
    case trailingBytes
    /// Nested deeper than `CBORLimits.depth`.
    case tooDeep
    /// A kind of item that this format does not use (tags, indefinite lengths, non-text keys).
    case unsupported(initialByte: UInt8)
    /// A text string that is not UTF-8.
    case invalidText
    /// The same key twice in one map.
    case duplicateKey
}

/// Bounds of the decoder.
public enum CBORLimits {
    /// The deepest nesting.
    public static let depth = 32
}

// MARK: - Writing

extension CBORValue {
    /// The shortest encoding of this item (RFC 8949 §4.1).
    public var encoded: [UInt8] {
        var output: [UInt8] = []
        write(into: &output)
        return output
    }

    private func write(into output: inout [UInt8]) {
        switch self {
        case .unsigned(let value): Self.writeHead(major: 0, value, into: &output)
        case .negative(let inverted): Self.writeHead(major: 1, inverted, into: &output)
        case .bytes(let bytes):
            Self.writeHead(major: 2, UInt64(bytes.count), into: &output)
            output.append(contentsOf: bytes)
        case .text(let text):
            let utf8 = text.utf8
            Self.writeHead(major: 3, UInt64(utf8.count), into: &output)
            output.append(contentsOf: utf8)
        case .array(let items):
            Self.writeHead(major: 4, UInt64(items.count), into: &output)
            for item in items { item.write(into: &output) }
        case .map(let fields):
            Self.writeHead(major: 5, UInt64(fields.count), into: &output)
            for field in fields {
                CBORValue.text(field.key).write(into: &output)
                field.value.write(into: &output)
            }
        case .boolean(let value): output.append(value ? 0xF5 : 0xF4)
        case .null: output.append(0xF6)
        case .double(let value):
            output.append(0xFB)
            output.append(contentsOf: ByteOrder.bigEndian(value.bitPattern))
        }
    }

    private static func writeHead(major: UInt8, _ value: UInt64, into output: inout [UInt8]) {
        let top = major << 5
        switch value {
        case 0..<24: output.append(top | UInt8(value))
        case 24...0xFF: output.append(contentsOf: [top | 24, UInt8(value)])
        case 0x100...0xFFFF:
            output.append(contentsOf: [top | 25, UInt8(value >> 8), UInt8(value & 0xFF)])
        case 0x1_0000...0xFFFF_FFFF:
            output.append(top | 26)
            output.append(contentsOf: ByteOrder.bigEndian(value)[4...])
        default:
            output.append(top | 27)
            output.append(contentsOf: ByteOrder.bigEndian(value))
        }
    }
}

// MARK: - Reading

extension CBORValue {
    /// Reads exactly one item that fills `bytes`.
    /// - Throws: `CBORError`.
    public init(decoding bytes: [UInt8]) throws(CBORError) {
        var reader = Reader(bytes: bytes)
        self = try reader.item(depth: 0)
        guard reader.isAtEnd else { throw .trailingBytes }
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var isAtEnd: Bool { position == bytes.count }
        private var remaining: Int { bytes.count - position }

        mutating func item(depth: Int) throws(CBORError) -> CBORValue {
            guard depth < CBORLimits.depth else { throw .tooDeep }
            let initial = try byte()
            switch initial >> 5 {
            case 0: return .unsigned(try argument(initial))
            case 1: return .negative(inverted: try argument(initial))
            case 2: return .bytes(try string(initial))
            case 3: return .text(try text(initial))
            case 4: return try array(initial, depth: depth)
            case 5: return try map(initial, depth: depth)
            case 7: return try simple(initial)
            default: throw .unsupported(initialByte: initial)
            }
        }

        private mutating func byte() throws(CBORError) -> UInt8 {
            guard remaining >= 1 else { throw .truncated }
            defer { position += 1 }
            return bytes[position]
        }

        private mutating func bigEndian(_ count: Int) throws(CBORError) -> UInt64 {
            guard remaining >= count else { throw .truncated }
            defer { position += count }
            return bytes[position..<(position + count)].reduce(0) { $0 << 8 | UInt64($1) }
        }

        private mutating func argument(_ initial: UInt8) throws(CBORError) -> UInt64 {
            switch initial & 31 {
            case let small where small < 24: return UInt64(small)
            case 24: return try bigEndian(1)
            case 25: return try bigEndian(2)
            case 26: return try bigEndian(4)
            case 27: return try bigEndian(8)
            default: throw .unsupported(initialByte: initial)
            }
        }

        private mutating func string(_ initial: UInt8) throws(CBORError) -> [UInt8] {
            let count = try argument(initial)
            guard count <= UInt64(remaining) else { throw .truncated }
            defer { position += Int(count) }
            return Array(bytes[position..<(position + Int(count))])
        }

        private mutating func text(_ initial: UInt8) throws(CBORError) -> String {
            let utf8 = try string(initial)
            guard let text = String(validating: utf8, as: UTF8.self) else { throw .invalidText }
            return text
        }

        private mutating func array(_ initial: UInt8, depth: Int) throws(CBORError) -> CBORValue {
            let count = try argument(initial)
            // Every item takes at least one byte, so a count beyond the rest is a lie.
            guard count <= UInt64(remaining) else { throw .truncated }
            var items: [CBORValue] = []
            for _ in 0..<count { items.append(try item(depth: depth + 1)) }
            return .array(items)
        }

        private mutating func map(_ initial: UInt8, depth: Int) throws(CBORError) -> CBORValue {
            let count = try argument(initial)
            guard count <= UInt64(remaining / 2) else { throw .truncated }
            var fields: [Field] = []
            var keys: Set<String> = []
            for _ in 0..<count {
                let initial = try byte()
                guard initial >> 5 == 3 else { throw .unsupported(initialByte: initial) }
                let key = try text(initial)
                guard keys.insert(key).inserted else { throw .duplicateKey }
                fields.append(Field(key: key, value: try item(depth: depth + 1)))
            }
            return .map(fields)
        }

        private mutating func simple(_ initial: UInt8) throws(CBORError) -> CBORValue {
            switch initial {
            case 0xF4: .boolean(false)
            case 0xF5: .boolean(true)
            case 0xF6: .null
            case 0xFB: .double(Double(bitPattern: try bigEndian(8)))
            default: throw .unsupported(initialByte: initial)
            }
        }
    }
}
