// How an application's object is named to a token host. A key of the cluster is named by what it is called on that
// very endpoint (PKCS#11 v2.40 §4.4: CKA_CLASS and CKA_ID), since handles differ from endpoint to endpoint and
// from one start of a module to the next. A session object lives in one token host only and has a handle there.

/// Names one object to one token host.
public enum ObjectReference: Hashable, Sendable {
    /// A key of the cluster: CKO_ class, and the CKA_ID that its replica has on this endpoint.
    case clusterKey(objectClass: UInt64, identifier: [UInt8])
    /// An object that this token host made for this client. A handle of an earlier incarnation is stale.
    case hostObject(handle: UInt64, incarnation: UInt64)

    func encode(into writer: inout ByteWriter) throws(WireError) {
        switch self {
        case .clusterKey(let objectClass, let identifier):
            guard identifier.count <= OperationLimits.identifierBytes else { throw .tooLarge }
            writer.write(UInt8(1))
            writer.write(objectClass)
            writer.write(identifier)
        case .hostObject(let handle, let incarnation):
            writer.write(UInt8(2))
            writer.write(handle)
            writer.write(incarnation)
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.byte() {
        case 1:
            let objectClass = try reader.uint64()
            self = .clusterKey(
                objectClass: objectClass,
                identifier: try reader.bytes(limit: OperationLimits.identifierBytes))
        case 2:
            let handle = try reader.uint64()
            self = .hostObject(handle: handle, incarnation: try reader.uint64())
        case let tag: throw .unknownTag(UInt64(tag))
        }
    }
}

/// One attribute of a template (CK_ATTRIBUTE). Numbers and truth values are as the C structures hold them on a
/// 64-bit little-endian machine: CK_ULONG is eight bytes, CK_BBOOL one.
public struct WireAttribute: Hashable, Sendable {
    /// The value of an attribute.
    public enum Value: Hashable, Sendable {
        /// Plain bytes.
        case bytes([UInt8])
        /// A template (CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE).
        case template([WireAttribute])
    }

    /// The CKA_ number.
    public var type: UInt64
    /// The value.
    public var value: Value

    /// Puts an attribute together.
    public init(_ type: UInt64, _ value: Value) {
        self.type = type
        self.value = value
    }

    /// An attribute of plain bytes.
    public init(_ type: UInt64, bytes: [UInt8]) { self.init(type, .bytes(bytes)) }

    static func encode(
        _ template: [WireAttribute], into writer: inout ByteWriter, depth: Int = 1
    ) throws(WireError) {
        guard template.count <= OperationLimits.attributes, depth <= OperationLimits.templateDepth else {
            throw .tooLarge
        }
        writer.write(UInt32(template.count))
        for attribute in template {
            writer.write(attribute.type)
            switch attribute.value {
            case .bytes(let bytes):
                guard bytes.count <= OperationLimits.attributeBytes else { throw .tooLarge }
                writer.write(UInt8(0))
                writer.write(bytes)
            case .template(let nested):
                writer.write(UInt8(1))
                try encode(nested, into: &writer, depth: depth + 1)
            }
        }
    }

    static func template(from reader: inout ByteReader, depth: Int = 1) throws(WireError) -> [WireAttribute] {
        guard depth <= OperationLimits.templateDepth else { throw .tooLarge }
        let count = try reader.count(limit: OperationLimits.attributes, elementBytes: 13)
        var template: [WireAttribute] = []
        template.reserveCapacity(count)
        for _ in 0..<count {
            let type = try reader.uint64()
            switch try reader.byte() {
            case 0:
                let bytes = try reader.bytes(limit: OperationLimits.attributeBytes)
                template.append(WireAttribute(type, .bytes(bytes)))
            case 1:
                template.append(
                    WireAttribute(type, .template(try self.template(from: &reader, depth: depth + 1))))
            case let tag: throw .unknownTag(UInt64(tag))
            }
        }
        return template
    }
}

extension WireAttribute {
    /// About how many bytes the encoding takes.
    var sizeEstimate: Int {
        switch value {
        case .bytes(let bytes): 16 + bytes.count
        case .template(let nested): nested.reduce(16) { $0 + $1.sizeEstimate }
        }
    }
}
