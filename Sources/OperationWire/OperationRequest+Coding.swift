// The bytes of a request: format version, number, session, deadline, output limit, a tag, and what the tag says.
// A tag is never given another meaning; a new operation gets a new one.

extension OperationRequest {
    /// The first byte of every request and reply.
    public static let version: UInt8 = 1

    /// The request as bytes, in one buffer that is set aside at once: the caller wipes it after use.
    /// - Throws: `WireError.tooLarge` when something is beyond its bound.
    public func encode() throws(WireError) -> [UInt8] {
        var writer = ByteWriter(capacity: operation.sizeEstimate)
        writer.write(Self.version)
        writer.write(number)
        writer.write(session)
        writer.write(deadlineMilliseconds)
        writer.write(outputLimit)
        try operation.encode(into: &writer)
        guard writer.bytes.count <= OperationLimits.messageBytes else { throw .tooLarge }
        return writer.bytes
    }

    /// Reads a request.
    /// - Parameter bytes: Memory that nobody else can change.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count <= OperationLimits.messageBytes else { throw .tooLarge }
        var reader = ByteReader(bytes)
        guard try reader.byte() == Self.version else { throw .wrongFormat }
        number = try reader.uint64()
        session = try reader.uint64()
        deadlineMilliseconds = try reader.uint32()
        outputLimit = try reader.uint32()
        operation = try Operation(from: &reader)
        try reader.end()
    }

    /// Reads a request from an array.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        self = try decodeBytes(bytes) { raw throws(WireError) in try OperationRequest(decoding: raw) }
    }
}

/// Lends the bytes of an array; typed throws do not pass through `withUnsafeBytes` with a rethrown generic error
/// unless it is spelled out once.
func decodeBytes<Value>(
    _ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(WireError) -> Value
) throws(WireError) -> Value {
    let result: Result<Value, WireError> = bytes.withUnsafeBytes { raw in
        do throws(WireError) { return .success(try body(raw)) } catch { return .failure(error) }
    }
    return try result.get()
}

private enum Tag: UInt8 {
    case data = 1
    case streamBegin, streamUpdate, streamUpdateKey, streamEnd, streamAbandon
    case derive, wrap, unwrap, random, seedRandom
    case generateKey, generateKeyPair, createObject, copyObject, destroyObject
    case getAttributes, setAttributes, objectSize
    case logIn, logOut, closeSession, cancel
}

extension Operation {
    /// Enough room for the encoding in nearly all cases, so that secrets are not copied while a buffer grows.
    fileprivate var sizeEstimate: Int {
        switch self {
        case .data(_, _, _, let input, let signature): 2_048 + input.count + signature.count
        case .streamUpdate(_, let piece): 64 + piece.count
        case .unwrap(_, _, let wrapped, _): 4_096 + wrapped.count
        case .seedRandom(let seed): 64 + seed.count
        case .logIn(let user, let password): 64 + user.count + password.count
        case .createObject(let template): 128 + template.reduce(0) { $0 + $1.sizeEstimate }
        default: 1_024
        }
    }

    fileprivate func encode(into writer: inout ByteWriter) throws(WireError) {
        func tag(_ tag: Tag) { writer.write(tag.rawValue) }
        func data(_ bytes: [UInt8], limit: Int = OperationLimits.dataBytes) throws(WireError) {
            guard bytes.count <= limit else { throw .tooLarge }
            writer.write(bytes)
        }
        func key(_ key: ObjectReference?) throws(WireError) {
            writer.write(key != nil)
            try key?.encode(into: &writer)
        }
        switch self {
        case .data(let function, let reference, let mechanism, let input, let signature):
            tag(.data)
            writer.write(function.rawValue)
            try key(reference)
            try mechanism.encode(into: &writer)
            try data(input)
            try data(signature)
        case .streamBegin(let stream, let function, let reference, let mechanism):
            tag(.streamBegin)
            writer.write(stream)
            writer.write(function.rawValue)
            try key(reference)
            try mechanism.encode(into: &writer)
        case .streamUpdate(let stream, let piece):
            tag(.streamUpdate)
            writer.write(stream)
            try data(piece)
        case .streamUpdateKey(let stream, let reference):
            tag(.streamUpdateKey)
            writer.write(stream)
            try reference.encode(into: &writer)
        case .streamEnd(let stream, let signature):
            tag(.streamEnd)
            writer.write(stream)
            try data(signature)
        case .streamAbandon(let stream):
            tag(.streamAbandon)
            writer.write(stream)
        case .derive(let base, let mechanism, let template):
            tag(.derive)
            try base.encode(into: &writer)
            try mechanism.encode(into: &writer)
            try WireAttribute.encode(template, into: &writer)
        case .wrap(let wrappingKey, let mechanism, let wrapped):
            tag(.wrap)
            try wrappingKey.encode(into: &writer)
            try mechanism.encode(into: &writer)
            try wrapped.encode(into: &writer)
        case .unwrap(let unwrappingKey, let mechanism, let wrapped, let template):
            tag(.unwrap)
            try unwrappingKey.encode(into: &writer)
            try mechanism.encode(into: &writer)
            try data(wrapped)
            try WireAttribute.encode(template, into: &writer)
        case .randomBytes(let count):
            guard count <= OperationLimits.randomBytes else { throw .tooLarge }
            tag(.random)
            writer.write(count)
        case .seedRandom(let seed):
            tag(.seedRandom)
            try data(seed, limit: OperationLimits.randomBytes)
        case .generateKey(let mechanism, let template):
            tag(.generateKey)
            try mechanism.encode(into: &writer)
            try WireAttribute.encode(template, into: &writer)
        case .generateKeyPair(let mechanism, let publicTemplate, let privateTemplate):
            tag(.generateKeyPair)
            try mechanism.encode(into: &writer)
            try WireAttribute.encode(publicTemplate, into: &writer)
            try WireAttribute.encode(privateTemplate, into: &writer)
        case .createObject(let template):
            tag(.createObject)
            try WireAttribute.encode(template, into: &writer)
        case .copyObject(let reference, let template):
            tag(.copyObject)
            try reference.encode(into: &writer)
            try WireAttribute.encode(template, into: &writer)
        case .destroyObject(let reference):
            tag(.destroyObject)
            try reference.encode(into: &writer)
        case .getAttributes(let reference, let types):
            guard types.count <= OperationLimits.attributes else { throw .tooLarge }
            tag(.getAttributes)
            try reference.encode(into: &writer)
            writer.write(UInt32(types.count))
            for type in types { writer.write(type) }
        case .setAttributes(let reference, let template):
            tag(.setAttributes)
            try reference.encode(into: &writer)
            try WireAttribute.encode(template, into: &writer)
        case .objectSize(let reference):
            tag(.objectSize)
            try reference.encode(into: &writer)
        case .logIn(let user, let password):
            tag(.logIn)
            try data(user, limit: OperationLimits.userNameBytes)
            try data(password, limit: OperationLimits.passwordBytes)
        case .logOut: tag(.logOut)
        case .closeSession: tag(.closeSession)
        case .cancel(let request):
            tag(.cancel)
            writer.write(request)
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.byte()
        guard let tag = Tag(rawValue: raw) else { throw .unknownTag(UInt64(raw)) }
        switch tag {
        case .data:
            let function = try Self.function(from: &reader)
            let key = try Self.key(from: &reader)
            let mechanism = try WireMechanism(from: &reader)
            let input = try reader.bytes(limit: OperationLimits.dataBytes)
            self = .data(
                function, key: key, mechanism, input: input,
                signature: try reader.bytes(limit: OperationLimits.dataBytes))
        case .streamBegin:
            let stream = try reader.uint64()
            let function = try Self.function(from: &reader)
            let key = try Self.key(from: &reader)
            self = .streamBegin(stream, function, key: key, try WireMechanism(from: &reader))
        case .streamUpdate:
            let stream = try reader.uint64()
            self = .streamUpdate(stream, try reader.bytes(limit: OperationLimits.dataBytes))
        case .streamUpdateKey:
            let stream = try reader.uint64()
            self = .streamUpdateKey(stream, try ObjectReference(from: &reader))
        case .streamEnd:
            let stream = try reader.uint64()
            self = .streamEnd(stream, signature: try reader.bytes(limit: OperationLimits.dataBytes))
        case .streamAbandon: self = .streamAbandon(try reader.uint64())
        case .derive:
            let base = try ObjectReference(from: &reader)
            let mechanism = try WireMechanism(from: &reader)
            self = .derive(base: base, mechanism, template: try WireAttribute.template(from: &reader))
        case .wrap:
            let wrappingKey = try ObjectReference(from: &reader)
            let mechanism = try WireMechanism(from: &reader)
            self = .wrap(
                wrappingKey: wrappingKey, mechanism, key: try ObjectReference(from: &reader))
        case .unwrap:
            let unwrappingKey = try ObjectReference(from: &reader)
            let mechanism = try WireMechanism(from: &reader)
            let wrapped = try reader.bytes(limit: OperationLimits.dataBytes)
            self = .unwrap(
                unwrappingKey: unwrappingKey, mechanism, wrapped: wrapped,
                template: try WireAttribute.template(from: &reader))
        case .random:
            let count = try reader.uint32()
            guard count <= OperationLimits.randomBytes else { throw .tooLarge }
            self = .randomBytes(count: count)
        case .seedRandom:
            self = .seedRandom(try reader.bytes(limit: OperationLimits.randomBytes))
        case .generateKey:
            let mechanism = try WireMechanism(from: &reader)
            self = .generateKey(mechanism, template: try WireAttribute.template(from: &reader))
        case .generateKeyPair:
            let mechanism = try WireMechanism(from: &reader)
            let publicTemplate = try WireAttribute.template(from: &reader)
            self = .generateKeyPair(
                mechanism, publicTemplate: publicTemplate,
                privateTemplate: try WireAttribute.template(from: &reader))
        case .createObject: self = .createObject(template: try WireAttribute.template(from: &reader))
        case .copyObject:
            let reference = try ObjectReference(from: &reader)
            self = .copyObject(reference, template: try WireAttribute.template(from: &reader))
        case .destroyObject: self = .destroyObject(try ObjectReference(from: &reader))
        case .getAttributes:
            let reference = try ObjectReference(from: &reader)
            let count = try reader.count(limit: OperationLimits.attributes, elementBytes: 8)
            var types: [UInt64] = []
            for _ in 0..<count { types.append(try reader.uint64()) }
            self = .getAttributes(reference, types: types)
        case .setAttributes:
            let reference = try ObjectReference(from: &reader)
            self = .setAttributes(reference, template: try WireAttribute.template(from: &reader))
        case .objectSize: self = .objectSize(try ObjectReference(from: &reader))
        case .logIn:
            let user = try reader.bytes(limit: OperationLimits.userNameBytes)
            self = .logIn(
                user: user, password: try reader.bytes(limit: OperationLimits.passwordBytes))
        case .logOut: self = .logOut
        case .closeSession: self = .closeSession
        case .cancel: self = .cancel(request: try reader.uint64())
        }
    }

    private static func function(from reader: inout ByteReader) throws(WireError) -> DataFunction {
        let raw = try reader.byte()
        guard let function = DataFunction(rawValue: raw) else { throw .unknownTag(UInt64(raw)) }
        return function
    }

    private static func key(from reader: inout ByteReader) throws(WireError) -> ObjectReference? {
        try reader.bool() ? try ObjectReference(from: &reader) : nil
    }
}
