// One request as calls into SoftHSM. Only what the tests need of mechanisms' parameters is rebuilt.

import CCryptoki
import OperationWire

final class Performer {
    struct Failure: Error {
        var value: CK_RV
        var isHost = false
        var body = OperationReply.Body.none
    }

    let list: CK_FUNCTION_LIST
    let session: CK_SESSION_HANDLE
    let slot: CK_SLOT_ID
    var state: SoftHSMHost.State
    let request: OperationRequest

    init(
        list: CK_FUNCTION_LIST, session: CK_SESSION_HANDLE, slot: CK_SLOT_ID, state: SoftHSMHost.State,
        request: OperationRequest
    ) {
        self.list = list
        self.session = session
        self.slot = slot
        self.state = state
        self.request = request
    }

    private func check(_ value: CK_RV) throws {
        guard value == CKR_OK else { throw Failure(value: value) }
    }

    private func resolve(_ reference: ObjectReference) throws -> CK_OBJECT_HANDLE {
        switch reference {
        case .hostObject(let handle, let incarnation):
            guard incarnation == state.incarnation else {
                throw Failure(value: CKR_OBJECT_HANDLE_INVALID, isHost: true)
            }
            return CK_OBJECT_HANDLE(handle)
        case .clusterKey(let objectClass, let identifier):
            guard state.isLoggedIn else { throw Failure(value: CKR_USER_NOT_LOGGED_IN, isHost: true) }
            let template = [
                WireAttribute(0, bytes: withUnsafeBytes(of: objectClass) { Array($0) }),
                WireAttribute(0x102, bytes: identifier),
            ]
            var handle: CK_OBJECT_HANDLE = 0
            var count: CK_ULONG = 0
            try withTemplate(template) { attributes, length in
                try check(list.C_FindObjectsInit(session, attributes, length))
                try check(list.C_FindObjects(session, &handle, 1, &count))
                try check(list.C_FindObjectsFinal(session))
            }
            guard count == 1 else { throw Failure(value: CKR_KEY_HANDLE_INVALID, isHost: true) }
            return handle
        }
    }

    func perform() throws -> OperationReply.Body {
        switch request.operation {
        case .data(let function, let key, let mechanism, var input, var signature):
            let key = try key.map(resolve)
            try begin(function, key, mechanism, session)
            return try finish(function, &input, &signature, session)
        case .streamBegin(let number, let function, let key, let mechanism):
            let key = try key.map(resolve)
            var opened: CK_SESSION_HANDLE = 0
            let flags = CK_FLAGS(CKF_SERIAL_SESSION | CKF_RW_SESSION)
            try check(list.C_OpenSession(slot, flags, nil, nil, &opened))
            try begin(function, key, mechanism, opened)
            state.streams[number] = (opened, function)
            return .none
        case .streamUpdate(let number, var piece): return try update(number, &piece)
        case .streamUpdateKey(let number, let key):
            guard let (stream, _) = state.streams[number] else {
                throw Failure(value: CKR_OPERATION_NOT_INITIALIZED)
            }
            try check(list.C_DigestKey(stream, try resolve(key)))
            return .none
        case .streamEnd(let number, var signature):
            guard let (stream, function) = state.streams.removeValue(forKey: number) else {
                throw Failure(value: CKR_OPERATION_NOT_INITIALIZED, isHost: true)
            }
            defer { _ = list.C_CloseSession(stream) }
            return try end(function, &signature, stream)
        case .streamAbandon(let number):
            if let (stream, _) = state.streams.removeValue(forKey: number) { _ = list.C_CloseSession(stream) }
            return .none
        case .derive(let base, let mechanism, let template):
            let base = try resolve(base)
            return try made { handle in
                try withMechanism(mechanism) { mechanism in
                    withTemplate(template) { list.C_DeriveKey(session, mechanism, base, $0, $1, handle) }
                }
            }
        case .wrap(let wrappingKey, let mechanism, let key):
            let wrapping = try resolve(wrappingKey)
            let wanted = try resolve(key)
            return .bytes(
                try output { bytes, length in
                    try withMechanism(mechanism) {
                        list.C_WrapKey(session, $0, wrapping, wanted, bytes, length)
                    }
                })
        case .unwrap(let key, let mechanism, var wrapped, let template):
            let key = try resolve(key)
            let length = CK_ULONG(wrapped.count)
            return try made { handle in
                try withMechanism(mechanism) { mechanism in
                    withTemplate(template) {
                        list.C_UnwrapKey(session, mechanism, key, &wrapped, length, $0, $1, handle)
                    }
                }
            }
        case .randomBytes(let count):
            var bytes = [UInt8](repeating: 0, count: Int(count))
            try check(list.C_GenerateRandom(session, &bytes, CK_ULONG(count)))
            return .bytes(bytes)
        case .seedRandom(var seed):
            try check(list.C_SeedRandom(session, &seed, CK_ULONG(seed.count)))
            return .none
        case .generateKey(let mechanism, let template):
            return try made { handle in
                try withMechanism(mechanism) { mechanism in
                    withTemplate(template) { list.C_GenerateKey(session, mechanism, $0, $1, handle) }
                }
            }
        case .generateKeyPair(let mechanism, let publicTemplate, let privateTemplate):
            var handles: [CK_OBJECT_HANDLE] = [0, 0]
            try check(
                try withMechanism(mechanism) { mechanism in
                    withTemplate(publicTemplate) { first, firstCount in
                        withTemplate(privateTemplate) { second, secondCount in
                            handles.withUnsafeMutableBufferPointer { handles in
                                guard let start = handles.baseAddress else { return CKR_GENERAL_ERROR }
                                return list.C_GenerateKeyPair(
                                    session, mechanism, first, firstCount, second, secondCount, start,
                                    start + 1)
                            }
                        }
                    }
                })
            state.owners[request.session, default: []] += handles
            return .handles(handles.map { UInt64($0) }, incarnation: state.incarnation)
        case .createObject(let template):
            return try made { handle in
                withTemplate(template) { list.C_CreateObject(session, $0, $1, handle) }
            }
        case .copyObject(let original, let template):
            let original = try resolve(original)
            return try made { handle in
                withTemplate(template) { list.C_CopyObject(session, original, $0, $1, handle) }
            }
        case .destroyObject(let object):
            try check(list.C_DestroyObject(session, try resolve(object)))
            return .none
        case .setAttributes(let object, let template):
            let handle = try resolve(object)
            try check(withTemplate(template) { list.C_SetAttributeValue(session, handle, $0, $1) })
            return .none
        case .objectSize(let object):
            var size: CK_ULONG = 0
            try check(list.C_GetObjectSize(session, try resolve(object), &size))
            return .number(UInt64(size))
        case .getAttributes(let object, let types):
            let handle = try resolve(object)
            return .attributes(try types.map { try attribute($0, of: handle) })
        case .logIn, .logOut, .closeSession, .cancel: return .none
        }
    }

    private func attribute(
        _ type: UInt64, of handle: CK_OBJECT_HANDLE
    ) throws -> OperationReply.AttributeResult {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        var length: CK_ULONG = 0
        let value = bytes.withUnsafeMutableBytes { raw in
            var one = CK_ATTRIBUTE(
                type: CK_ATTRIBUTE_TYPE(type), pValue: raw.baseAddress, ulValueLen: CK_ULONG(raw.count))
            defer { length = one.ulValueLen }
            return list.C_GetAttributeValue(session, handle, &one, 1)
        }
        switch value {
        case CKR_OK: return .init(type: type, value: Array(bytes.prefix(Int(length))), isSensitive: false)
        case CKR_ATTRIBUTE_SENSITIVE: return .init(type: type, value: nil, isSensitive: true)
        case CKR_ATTRIBUTE_TYPE_INVALID: return .init(type: type, value: nil, isSensitive: false)
        default: throw Failure(value: value)
        }
    }

    private func made(
        _ make: (UnsafeMutablePointer<CK_OBJECT_HANDLE>) throws -> CK_RV
    ) throws -> OperationReply.Body {
        var handle: CK_OBJECT_HANDLE = 0
        try check(try make(&handle))
        state.owners[request.session, default: []].append(handle)
        return .handles([UInt64(handle)], incarnation: state.incarnation)
    }

    private func begin(
        _ function: DataFunction, _ key: CK_OBJECT_HANDLE?, _ mechanism: WireMechanism,
        _ session: CK_SESSION_HANDLE
    ) throws {
        try check(
            try withMechanism(mechanism) { mechanism in
                switch function {
                case .sign: list.C_SignInit(session, mechanism, key ?? 0)
                case .verify: list.C_VerifyInit(session, mechanism, key ?? 0)
                case .signRecover: list.C_SignRecoverInit(session, mechanism, key ?? 0)
                case .verifyRecover: list.C_VerifyRecoverInit(session, mechanism, key ?? 0)
                case .encrypt: list.C_EncryptInit(session, mechanism, key ?? 0)
                case .decrypt: list.C_DecryptInit(session, mechanism, key ?? 0)
                case .digest: list.C_DigestInit(session, mechanism)
                }
            })
    }

    private func finish(
        _ function: DataFunction, _ input: inout [UInt8], _ signature: inout [UInt8],
        _ session: CK_SESSION_HANDLE
    ) throws -> OperationReply.Body {
        let length = CK_ULONG(input.count)
        var data = input
        switch function {
        case .verify:
            try check(list.C_Verify(session, &data, length, &signature, CK_ULONG(signature.count)))
            return .none
        case .sign: return .bytes(try output { list.C_Sign(session, &data, length, $0, $1) })
        case .signRecover: return .bytes(try output { list.C_SignRecover(session, &data, length, $0, $1) })
        case .verifyRecover:
            return .bytes(try output { list.C_VerifyRecover(session, &data, length, $0, $1) })
        case .encrypt: return .bytes(try output { list.C_Encrypt(session, &data, length, $0, $1) })
        case .decrypt: return .bytes(try output { list.C_Decrypt(session, &data, length, $0, $1) })
        case .digest: return .bytes(try output { list.C_Digest(session, &data, length, $0, $1) })
        }
    }

    private func update(_ number: StreamNumber, _ piece: inout [UInt8]) throws -> OperationReply.Body {
        guard let (stream, function) = state.streams[number] else {
            throw Failure(value: CKR_OPERATION_NOT_INITIALIZED, isHost: true)
        }
        var data = piece
        let length = CK_ULONG(data.count)
        switch function {
        case .encrypt: return .bytes(try output { list.C_EncryptUpdate(stream, &data, length, $0, $1) })
        case .decrypt: return .bytes(try output { list.C_DecryptUpdate(stream, &data, length, $0, $1) })
        case .sign: try check(list.C_SignUpdate(stream, &data, length))
        case .verify: try check(list.C_VerifyUpdate(stream, &data, length))
        case .digest: try check(list.C_DigestUpdate(stream, &data, length))
        case .signRecover, .verifyRecover: throw Failure(value: CKR_FUNCTION_NOT_SUPPORTED)
        }
        return .bytes([])
    }

    private func end(
        _ function: DataFunction, _ signature: inout [UInt8], _ stream: CK_SESSION_HANDLE
    ) throws -> OperationReply.Body {
        switch function {
        case .encrypt: return .bytes(try output { list.C_EncryptFinal(stream, $0, $1) })
        case .decrypt: return .bytes(try output { list.C_DecryptFinal(stream, $0, $1) })
        case .sign: return .bytes(try output { list.C_SignFinal(stream, $0, $1) })
        case .digest: return .bytes(try output { list.C_DigestFinal(stream, $0, $1) })
        case .verify:
            try check(list.C_VerifyFinal(stream, &signature, CK_ULONG(signature.count)))
            return .none
        case .signRecover, .verifyRecover: throw Failure(value: CKR_FUNCTION_NOT_SUPPORTED)
        }
    }

    private func output(
        _ call: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<CK_ULONG>) throws -> CK_RV
    ) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: OperationLimits.dataBytes)
        var length = CK_ULONG(bytes.count)
        try check(try bytes.withUnsafeMutableBufferPointer { try call($0.baseAddress, &length) })
        return Array(bytes.prefix(Int(length)))
    }

    private func withMechanism<Result>(
        _ mechanism: WireMechanism, _ body: (UnsafeMutablePointer<CK_MECHANISM>) -> Result
    ) throws -> Result {
        func lend(_ parameter: UnsafeMutableRawBufferPointer) -> Result {
            var raw = CK_MECHANISM(
                mechanism: CK_MECHANISM_TYPE(mechanism.type),
                pParameter: parameter.isEmpty ? nil : parameter.baseAddress,
                ulParameterLen: CK_ULONG(parameter.count))
            return body(&raw)
        }
        switch mechanism.parameter {
        case .none: return lend(UnsafeMutableRawBufferPointer(start: nil, count: 0))
        case .bytes(var bytes): return bytes.withUnsafeMutableBytes(lend)
        case .stringData(var data):
            return data.withUnsafeMutableBufferPointer { data in
                var string = CK_KEY_DERIVATION_STRING_DATA(
                    pData: data.baseAddress, ulLen: CK_ULONG(data.count))
                return withUnsafeMutableBytes(of: &string, lend)
            }
        default: throw Failure(value: CKR_MECHANISM_PARAM_INVALID)
        }
    }
}

/// Lends a template in its C form.
func withTemplate<Result>(
    _ template: [WireAttribute], _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) throws -> Result
) rethrows -> Result {
    var storage: [UnsafeMutableRawBufferPointer] = []
    defer { for memory in storage { memory.deallocate() } }
    var attributes: [CK_ATTRIBUTE] = []
    for attribute in template {
        guard case .bytes(let bytes) = attribute.value else { continue }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 8)
        memory.copyBytes(from: bytes)
        storage.append(memory)
        attributes.append(
            CK_ATTRIBUTE(
                type: CK_ATTRIBUTE_TYPE(attribute.type), pValue: memory.baseAddress,
                ulValueLen: CK_ULONG(bytes.count)))
    }
    let count = CK_ULONG(attributes.count)
    return try attributes.withUnsafeMutableBufferPointer { try body($0.baseAddress, count) }
}
