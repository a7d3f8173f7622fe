import WireFormat

// What every type that travels as CBOR promises: what was read can be written, reads as the same value again,
// and equal values have equal bytes.

/// Reads the bytes and checks the promise; nil when they are refused.
func checkedDecoding<Value: Codable & Equatable>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
    guard let value = try? CBORDecoder.decode(type, from: bytes) else { return nil }
    guard let written = try? CBOREncoder.encode(value) else {
        hold(false, "\(type) can be read but not written")
        return nil
    }
    guard let again = try? CBORDecoder.decode(type, from: written) else {
        hold(false, "\(type) is refused when it is read again")
        return nil
    }
    hold(again == value, "\(type) reads as another value")
    hold((try? CBOREncoder.encode(again)) == written, "\(type) is written in two ways")
    return value
}

/// A seed that is one encoded value after a prefix; its field names become words.
func seed(_ name: String, after prefix: [UInt8] = [], _ value: some Encodable) throws -> Seed {
    let bytes = try CBOREncoder.encode(value)
    return Seed(name: name, bytes: prefix + bytes, words: words(in: try CBORValue(decoding: bytes)))
}

/// Every text in the item, as it is encoded.
func words(in item: CBORValue) -> [[UInt8]] {
    switch item {
    case .text: [item.encoded]
    case .array(let items): items.flatMap { words(in: $0) }
    case .map(let fields): fields.flatMap { words(in: .text($0.key)) + words(in: $0.value) }
    default: []
    }
}
