// What a token host answers. The return value is the module's own, or one that the token host gives in its place
// (no such replica: CKR_KEY_HANDLE_INVALID; stale session object: CKR_OBJECT_HANDLE_INVALID; not logged in:
// CKR_USER_NOT_LOGGED_IN; queue full: CKR_SESSION_COUNT); `origin` tells which, since only the module's own say
// anything about the endpoint.

/// The answer to one request.
public struct OperationReply: Hashable, Sendable {
    /// Who gave the return value.
    public enum Origin: UInt8, Hashable, Sendable {
        /// The endpoint's module.
        case module = 1
        /// The token host: the request did not reach the module, and nothing happened there.
        case tokenHost
    }

    /// One attribute as C_GetAttributeValue reports it.
    public struct AttributeResult: Hashable, Sendable {
        /// The CKA_ number.
        public var type: UInt64
        /// The value; nil when it is sensitive, or the object has no such attribute.
        public var value: [UInt8]?
        /// With a nil value: true when the value is sensitive or unextractable (CKR_ATTRIBUTE_SENSITIVE), false
        /// when the object has no such attribute (CKR_ATTRIBUTE_TYPE_INVALID).
        public var isSensitive: Bool

        /// Puts a result together.
        public init(type: UInt64, value: [UInt8]?, isSensitive: Bool) {
            self.type = type
            self.value = value
            self.isSensitive = isSensitive
        }
    }

    /// What an operation gives besides its return value.
    public enum Body: Hashable, Sendable {
        /// Nothing.
        case none
        /// Output.
        case bytes([UInt8])
        /// Handles of new objects and the incarnation of the token host that they belong to.
        case handles([UInt64], incarnation: UInt64)
        /// Attributes, in the order of the request.
        case attributes([AttributeResult])
        /// A number (C_GetObjectSize).
        case number(UInt64)
    }

    /// The request's number.
    public var number: UInt64
    /// The CKR_ value.
    public var returnValue: UInt64
    /// Who gave the return value.
    public var origin: Origin
    /// What else there is.
    public var body: Body

    /// Puts a reply together.
    public init(number: UInt64, returnValue: UInt64, origin: Origin = .module, body: Body = .none) {
        self.number = number
        self.returnValue = returnValue
        self.origin = origin
        self.body = body
    }

    /// The reply as bytes.
    /// - Throws: `WireError.tooLarge` when something is beyond its bound.
    public func encode() throws(WireError) -> [UInt8] {
        var writer = ByteWriter(capacity: sizeEstimate)
        writer.write(OperationRequest.version)
        writer.write(number)
        writer.write(returnValue)
        writer.write(origin.rawValue)
        switch body {
        case .none: writer.write(UInt8(0))
        case .bytes(let bytes):
            guard bytes.count <= OperationLimits.dataBytes else { throw .tooLarge }
            writer.write(UInt8(1))
            writer.write(bytes)
        case .handles(let handles, let incarnation):
            guard handles.count <= OperationLimits.handles else { throw .tooLarge }
            writer.write(UInt8(2))
            writer.write(incarnation)
            writer.write(UInt32(handles.count))
            for handle in handles { writer.write(handle) }
        case .attributes(let results):
            guard results.count <= OperationLimits.attributes else { throw .tooLarge }
            writer.write(UInt8(3))
            writer.write(UInt32(results.count))
            for result in results { try result.encode(into: &writer) }
        case .number(let number):
            writer.write(UInt8(4))
            writer.write(number)
        }
        guard writer.bytes.count <= OperationLimits.messageBytes else { throw .tooLarge }
        return writer.bytes
    }

    /// Reads a reply.
    /// - Parameter bytes: Memory that nobody else can change.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count <= OperationLimits.messageBytes else { throw .tooLarge }
        var reader = ByteReader(bytes)
        guard try reader.byte() == OperationRequest.version else { throw .wrongFormat }
        number = try reader.uint64()
        returnValue = try reader.uint64()
        let origin = try reader.byte()
        guard let known = Origin(rawValue: origin) else { throw .unknownTag(UInt64(origin)) }
        self.origin = known
        switch try reader.byte() {
        case 0: body = .none
        case 1: body = .bytes(try reader.bytes(limit: OperationLimits.dataBytes))
        case 2:
            let incarnation = try reader.uint64()
            let count = try reader.count(limit: OperationLimits.handles, elementBytes: 8)
            var handles: [UInt64] = []
            for _ in 0..<count { handles.append(try reader.uint64()) }
            body = .handles(handles, incarnation: incarnation)
        case 3:
            let count = try reader.count(limit: OperationLimits.attributes, elementBytes: 9)
            var results: [AttributeResult] = []
            for _ in 0..<count { results.append(try AttributeResult(from: &reader)) }
            body = .attributes(results)
        case 4: body = .number(try reader.uint64())
        case let tag: throw .unknownTag(UInt64(tag))
        }
        try reader.end()
    }

    /// Reads a reply from an array.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        self = try decodeBytes(bytes) { raw throws(WireError) in try OperationReply(decoding: raw) }
    }

    private var sizeEstimate: Int {
        switch body {
        case .none, .number: 64
        case .bytes(let bytes): 64 + bytes.count
        case .handles(let handles, _): 64 + 8 * handles.count
        case .attributes(let results): results.reduce(64) { $0 + 16 + ($1.value?.count ?? 0) }
        }
    }
}

extension OperationReply.AttributeResult {
    fileprivate func encode(into writer: inout ByteWriter) throws(WireError) {
        writer.write(type)
        guard let value else { return writer.write(UInt8(isSensitive ? 2 : 1)) }
        guard value.count <= OperationLimits.attributeBytes else { throw .tooLarge }
        writer.write(UInt8(0))
        writer.write(value)
    }

    fileprivate init(from reader: inout ByteReader) throws(WireError) {
        type = try reader.uint64()
        switch try reader.byte() {
        case 0:
            value = try reader.bytes(limit: OperationLimits.attributeBytes)
            isSensitive = false
        case 1:
            value = nil
            isSensitive = false
        case 2:
            value = nil
            isSensitive = true
        case let tag: throw .unknownTag(UInt64(tag))
        }
    }
}
