// The opposite of CBOREncoder. Unknown fields are skipped and absent optional fields read as nil: this is
// what lets nodes of neighbouring versions talk. Integers are range-checked, never truncated.

/// Decodes values from CBOR (RFC 8949). Has no state; may be used from any thread.
public enum CBORDecoder {
    /// The value that `bytes` encode.
    /// - Throws: `CBORError` for bytes that are no acceptable item, `DecodingError` for an item of another shape.
    public static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
        try decode(type, from: CBORValue(decoding: bytes), codingPath: [])
    }

    fileprivate static func decode<T: Decodable>(
        _ type: T.Type, from value: CBORValue, codingPath: [any CodingKey]
    ) throws -> T {
        if type == [UInt8].self, case .bytes(let bytes) = value, let bytes = bytes as? T { return bytes }
        return try T(from: TreeDecoder(value: value, codingPath: codingPath))
    }
}

private func mismatch(_ type: Any.Type, _ codingPath: [any CodingKey]) -> DecodingError {
    DecodingError.typeMismatch(
        type, .init(codingPath: codingPath, debugDescription: "another kind of CBOR item"))
}

private struct TreeDecoder: Decoder {
    let value: CBORValue
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .map(let fields) = value else { throw mismatch([String: Any].self, codingPath) }
        return KeyedDecodingContainer(MapContainer<Key>(fields: fields, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let items) = value else { throw mismatch([Any].self, codingPath) }
        return ArrayContainer(items: items, codingPath: codingPath)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        LeafContainer(value: value, codingPath: codingPath)
    }
}

extension CBORValue {
    fileprivate func integer<T: FixedWidthInteger>(_ codingPath: [any CodingKey]) throws -> T {
        let exact: T? =
            switch self {
            case .unsigned(let value): T(exactly: value)
            case .negative(let inverted): Int64(exactly: inverted).flatMap { T(exactly: ~$0) }
            default: nil
            }
        guard let exact else { throw mismatch(T.self, codingPath) }
        return exact
    }

    fileprivate func scalar<T: Decodable>(_ type: T.Type, _ codingPath: [any CodingKey]) throws -> T {
        let scalar: Any? =
            switch type {
            case is Bool.Type: if case .boolean(let value) = self { value } else { nil }
            case is String.Type: if case .text(let value) = self { value } else { nil }
            case is Double.Type: if case .double(let value) = self { value } else { nil }
            case is Float.Type: if case .double(let value) = self { Float(value) } else { nil }
            case is UInt64.Type: try integer(codingPath) as UInt64
            case is Int.Type: try integer(codingPath) as Int
            case is Int64.Type: try integer(codingPath) as Int64
            case is UInt.Type: try integer(codingPath) as UInt
            case is UInt8.Type: try integer(codingPath) as UInt8
            case is UInt16.Type: try integer(codingPath) as UInt16
            case is UInt32.Type: try integer(codingPath) as UInt32
            case is Int8.Type: try integer(codingPath) as Int8
            case is Int16.Type: try integer(codingPath) as Int16
            case is Int32.Type: try integer(codingPath) as Int32
            default: try CBORDecoder.decode(type, from: self, codingPath: codingPath)
            }
        guard let result = scalar as? T else { throw mismatch(type, codingPath) }
        return result
    }
}

private struct MapContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let fields: [CBORValue.Field]
    let codingPath: [any CodingKey]
    var allKeys: [Key] { fields.compactMap { Key(stringValue: $0.key) } }

    private func find(_ key: String) throws -> CBORValue {
        guard let field = fields.first(where: { $0.key == key }) else {
            throw DecodingError.valueNotFound(
                CBORValue.self, .init(codingPath: codingPath, debugDescription: "no field \(key)"))
        }
        return field.value
    }

    func contains(_ key: Key) -> Bool { fields.contains { $0.key == key.stringValue } }
    func decodeNil(forKey key: Key) throws -> Bool { try find(key.stringValue) == .null }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        try find(key.stringValue).scalar(type, codingPath + [key])
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<NestedKey> {
        try child(key.stringValue).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try child(key.stringValue).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { try child("super") }
    func superDecoder(forKey key: Key) throws -> any Decoder { try child(key.stringValue) }

    private func child(_ key: String) throws -> TreeDecoder {
        TreeDecoder(value: try find(key), codingPath: codingPath)
    }
}

private struct ArrayContainer: UnkeyedDecodingContainer {
    let items: [CBORValue]
    let codingPath: [any CodingKey]
    private(set) var currentIndex = 0
    var count: Int? { items.count }
    var isAtEnd: Bool { currentIndex >= items.count }

    init(items: [CBORValue], codingPath: [any CodingKey]) {
        self.items = items
        self.codingPath = codingPath
    }

    private mutating func next() throws -> CBORValue {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                CBORValue.self, .init(codingPath: codingPath, debugDescription: "the array is too short"))
        }
        defer { currentIndex += 1 }
        return items[currentIndex]
    }

    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, items[currentIndex] == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        try next().scalar(type, codingPath)
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type
    ) throws -> KeyedDecodingContainer<NestedKey> {
        try superDecoder().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try superDecoder().unkeyedContainer()
    }

    mutating func superDecoder() throws -> any Decoder {
        TreeDecoder(value: try next(), codingPath: codingPath)
    }
}

private struct LeafContainer: SingleValueDecodingContainer {
    let value: CBORValue
    let codingPath: [any CodingKey]
    func decodeNil() -> Bool { value == .null }
    func decode<T: Decodable>(_ type: T.Type) throws -> T { try value.scalar(type, codingPath) }
}
