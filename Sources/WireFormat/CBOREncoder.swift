// Turns any Encodable value into one CBOR item. Structs become maps with text keys, so a field can be added
// later; [UInt8] becomes a byte string. The tree is built first and written in one go: containers may be
// filled in any order.

/// Encodes values as CBOR (RFC 8949). Has no state; may be used from any thread.
public enum CBOREncoder {
    /// The encoding of `value`.
    /// - Throws: `EncodingError` when `value` refuses to be encoded.
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        try tree(value, codingPath: []).encoded
    }

    fileprivate static func tree(_ value: some Encodable, codingPath: [any CodingKey]) throws -> CBORValue {
        // The type is asked first: an empty array of anything casts to an empty [UInt8].
        if type(of: value) == [UInt8].self, let bytes = value as? [UInt8] { return .bytes(bytes) }
        let encoder = TreeEncoder(codingPath: codingPath)
        try value.encode(to: encoder)
        return encoder.node.value
    }
}

/// A place in the tree that is filled later. Confined to one `encode` call.
private final class Node {
    enum Content {
        case empty
        case leaf(CBORValue)
        case array([Node])
        case map([(key: String, node: Node)])
    }

    var content = Content.empty

    init() {}
    init(_ value: CBORValue) { content = .leaf(value) }

    var value: CBORValue {
        switch content {
        case .empty: .map([])
        case .leaf(let value): value
        case .array(let nodes): .array(nodes.map(\.value))
        case .map(let fields):
            // Shorter keys first, then by bytes (RFC 8949 §4.2.1): equal values give equal bytes, whatever
            // order a dictionary was walked in.
            .map(
                fields.map { CBORValue.Field(key: $0.key, value: $0.node.value) }.sorted { left, right in
                    let (first, second) = (left.key.utf8, right.key.utf8)
                    guard first.count == second.count else { return first.count < second.count }
                    return first.lexicographicallyPrecedes(second)
                })
        }
    }

    func append(_ node: Node) {
        guard case .array(var nodes) = content else { return content = .array([node]) }
        content = .empty
        nodes.append(node)
        content = .array(nodes)
    }

    func set(_ key: String, _ node: Node) {
        guard case .map(var fields) = content else { return content = .map([(key, node)]) }
        content = .empty
        fields.append((key, node))
        content = .map(fields)
    }
}

private struct TreeEncoder: Encoder {
    let node: Node
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(codingPath: [any CodingKey], node: Node = Node()) {
        self.codingPath = codingPath
        self.node = node
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(MapContainer<Key>(node: node, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.content = .array([])
        return ArrayContainer(node: node, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer {
        LeafContainer(node: node, codingPath: codingPath)
    }
}

extension CBORValue {
    fileprivate init(signed value: Int64) {
        self = value >= 0 ? .unsigned(UInt64(value)) : .negative(inverted: UInt64(bitPattern: ~value))
    }
}

/// Where one value goes; the containers share the conversions.
private protocol ValueSink {
    var codingPath: [any CodingKey] { get }
}

extension ValueSink {
    func item<T: Encodable>(_ value: T) throws -> CBORValue {
        switch value {
        case let value as Bool: .boolean(value)
        case let value as String: .text(value)
        case let value as Double: .double(value)
        case let value as Float: .double(Double(value))
        case let value as UInt64: .unsigned(value)
        case let value as Int: CBORValue(signed: Int64(value))
        case let value as Int64: CBORValue(signed: value)
        case let value as UInt: .unsigned(UInt64(value))
        case let value as UInt8: .unsigned(UInt64(value))
        case let value as UInt16: .unsigned(UInt64(value))
        case let value as UInt32: .unsigned(UInt64(value))
        case let value as Int8: CBORValue(signed: Int64(value))
        case let value as Int16: CBORValue(signed: Int64(value))
        case let value as Int32: CBORValue(signed: Int64(value))
        default: try CBOREncoder.tree(value, codingPath: codingPath)
        }
    }
}

private struct MapContainer<Key: CodingKey>: KeyedEncodingContainerProtocol, ValueSink {
    let node: Node
    let codingPath: [any CodingKey]

    init(node: Node, codingPath: [any CodingKey]) {
        self.node = node
        self.codingPath = codingPath
        if case .empty = node.content { node.content = .map([]) }
    }

    func encodeNil(forKey key: Key) { node.set(key.stringValue, Node(.null)) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        node.set(key.stringValue, Node(try item(value)))
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> {
        let child = Node()
        node.set(key.stringValue, child)
        return KeyedEncodingContainer(MapContainer<NestedKey>(node: child, codingPath: codingPath + [key]))
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        let child = Node()
        child.content = .array([])
        node.set(key.stringValue, child)
        return ArrayContainer(node: child, codingPath: codingPath + [key])
    }

    func superEncoder() -> any Encoder { child("super") }
    func superEncoder(forKey key: Key) -> any Encoder { child(key.stringValue) }

    private func child(_ key: String) -> any Encoder {
        let child = Node()
        node.set(key, child)
        return TreeEncoder(codingPath: codingPath, node: child)
    }
}

private struct ArrayContainer: UnkeyedEncodingContainer, ValueSink {
    let node: Node
    let codingPath: [any CodingKey]
    private(set) var count = 0

    init(node: Node, codingPath: [any CodingKey]) {
        self.node = node
        self.codingPath = codingPath
    }

    mutating func encodeNil() { append(Node(.null)) }
    mutating func encode<T: Encodable>(_ value: T) throws { append(Node(try item(value))) }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type
    ) -> KeyedEncodingContainer<NestedKey> {
        let child = Node()
        append(child)
        return KeyedEncodingContainer(MapContainer<NestedKey>(node: child, codingPath: codingPath))
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        let child = Node()
        child.content = .array([])
        append(child)
        return ArrayContainer(node: child, codingPath: codingPath)
    }

    mutating func superEncoder() -> any Encoder {
        let child = Node()
        append(child)
        return TreeEncoder(codingPath: codingPath, node: child)
    }

    private mutating func append(_ child: Node) {
        node.append(child)
        count += 1
    }
}

private struct LeafContainer: SingleValueEncodingContainer, ValueSink {
    let node: Node
    let codingPath: [any CodingKey]
    func encodeNil() { node.content = .leaf(.null) }
    func encode<T: Encodable>(_ value: T) throws { node.content = .leaf(try item(value)) }
}
