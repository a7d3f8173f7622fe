// A list of attributes (PKCS#11 v2.40 §4): what an object is to be, what is searched for, or what an object is. Keys
// carry their value's type, so `template[.label] = "a"` compiles and `template[.label] = true` doesn't. The C array
// of pointers exists only inside `withCKAttributes`.

internal import CP11Kit

/// A value that an attribute may hold, and its form in memory.
public protocol AttributeValue: Sendable {
    /// The bytes that Cryptoki expects.
    var attributeBytes: [UInt8] { get }
    /// Reads the bytes that a module gave; nil when they have the wrong form.
    init?(attributeBytes: [UInt8])
}

/// Names an attribute and its value's type.
public struct AttributeKey<Value: AttributeValue>: Sendable {
    /// The attribute's number.
    public let type: AttributeType
    /// A key for an attribute that has no constant here.
    public init(_ type: AttributeType) { self.type = type }
    init(_ rawValue: UInt) { type = AttributeType(rawValue) }
}

/// Attributes with their values, each at most once, in the order they were set.
public struct Template: Hashable, Sendable {
    struct Attribute: Hashable, Sendable {
        var type: AttributeType
        var bytes: [UInt8]
    }

    var attributes: [Attribute] = []

    /// A template without attributes; as a search, it matches every object.
    public init() {}

    /// Builds a template in one expression.
    public init(_ build: (inout Template) -> Void) { build(&self) }

    /// The value of an attribute; nil when it is absent or has another form. Setting nil removes it.
    public subscript<Value>(key: AttributeKey<Value>) -> Value? {
        get {
            attributes.first { $0.type == key.type }.flatMap { Value(attributeBytes: $0.bytes) }
        }
        set {
            let index = attributes.firstIndex { $0.type == key.type }
            switch (index, newValue) {
            case (let index?, let value?): attributes[index].bytes = value.attributeBytes
            case (nil, let value?): attributes.append(Attribute(type: key.type, bytes: value.attributeBytes))
            case (let index?, nil): attributes.remove(at: index)
            case (nil, nil): break
            }
        }
    }

    /// The attributes that are set, in order.
    public var types: [AttributeType] { attributes.map(\.type) }

    /// Lends the C form for the length of a call. The copy of the values made for it is zeroed afterwards.
    func withCKAttributes<Result>(_ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> Result) -> Result
    {
        var storage = AttributeStorage(lengths: attributes.map(\.bytes.count))
        defer { storage.wipe() }
        return storage.withCKAttributes(types: types) { pointer, count in
            for (index, attribute) in attributes.enumerated() {
                guard let value = pointer?[index].pValue else { continue }
                UnsafeMutableRawBufferPointer(start: value, count: attribute.bytes.count)
                    .copyBytes(from: attribute.bytes)
            }
            return body(pointer, count)
        }
    }
}

extension Template: CustomStringConvertible, CustomReflectable {
    /// The names of the attributes, never their values.
    public var description: String { "[" + types.map(\.description).joined(separator: ", ") + "]" }
    /// The names of the attributes, never their values.
    public var customMirror: Mirror { Mirror(self, children: ["types": types]) }
}

/// One block of memory for several attribute values, each aligned for any of Cryptoki's types.
struct AttributeStorage {
    private var bytes: [UInt8]
    private let lengths: [Int]

    init(lengths: [Int]) {
        self.lengths = lengths
        bytes = [UInt8](repeating: 0, count: lengths.reduce(0) { $0 + Self.aligned($1) })
    }

    private static func aligned(_ length: Int) -> Int { (length + 15) & ~15 }

    mutating func wipe() { bytes.withUnsafeMutableBytes { PKCS11.wipe($0) } }

    /// Lends an array of attributes whose values point into this block; an empty value has no pointer.
    mutating func withCKAttributes<Result>(
        types: [AttributeType], _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> Result
    ) -> Result {
        let lengths = lengths
        return bytes.withUnsafeMutableBytes { block in
            var offset = 0
            var attributes: [CK_ATTRIBUTE] = []
            for (type, length) in zip(types, lengths) {
                let start = length > 0 ? block.baseAddress?.advanced(by: offset) : nil
                attributes.append(
                    CK_ATTRIBUTE(type: type.rawValue, pValue: start, ulValueLen: CK_ULONG(length)))
                offset += Self.aligned(length)
            }
            return attributes.withUnsafeMutableBufferPointer { body($0.baseAddress, CK_ULONG($0.count)) }
        }
    }
}
