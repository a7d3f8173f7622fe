// Reading attributes (PKCS#11 v2.40 §5.7, C_GetAttributeValue): ask for the lengths, then for the values. An attribute
// that the object lacks or may not reveal is simply absent from the answer.

internal import CP11Kit

extension Session {
    /// The attributes of `object` out of `types` that it has and reveals.
    public mutating func attributes(
        of object: ObjectHandle, _ types: [AttributeType]
    ) throws(PKCS11Error) -> Template {
        var query = types.map { CK_ATTRIBUTE(type: $0.rawValue, pValue: nil, ulValueLen: 0) }
        try getValues(object) { get in
            query.withUnsafeMutableBufferPointer { get($0.baseAddress, CK_ULONG($0.count)) }
        }
        var known: [(type: AttributeType, length: Int)] = []
        for (type, answer) in zip(types, query)
        where answer.ulValueLen != hsmcluster_unavailable_information {
            guard answer.ulValueLen <= Limits.attributeBytes else {
                throw PKCS11Error(.getAttributeValue, .answerOutOfBounds)
            }
            known.append((type, Int(answer.ulValueLen)))
        }
        return try readValues(object, known)
    }

    /// One attribute of `object`; nil when it lacks or hides it, or when the value has the wrong form.
    public mutating func attribute<Value>(
        _ key: AttributeKey<Value>, of object: ObjectHandle
    ) throws(PKCS11Error) -> Value? {
        try attributes(of: object, [key.type])[key]
    }

    private mutating func readValues(
        _ object: ObjectHandle, _ known: [(type: AttributeType, length: Int)]
    ) throws(PKCS11Error) -> Template {
        guard !known.isEmpty else { return Template() }
        var template = Template()
        var isOutOfBounds = false
        var storage = AttributeStorage(lengths: known.map(\.length))
        defer { storage.wipe() }
        try getValues(object) { get in
            storage.withCKAttributes(types: known.map(\.type)) { pointer, count in
                let result = get(pointer, count)
                for (index, attribute) in known.enumerated() {
                    guard let answer = pointer?[index],
                        answer.ulValueLen != hsmcluster_unavailable_information
                    else { continue }
                    guard answer.ulValueLen <= attribute.length else {
                        isOutOfBounds = true
                        continue
                    }
                    let value = UnsafeRawBufferPointer(start: answer.pValue, count: Int(answer.ulValueLen))
                    template.attributes.append(.init(type: attribute.type, bytes: Array(value)))
                }
                return result
            }
        }
        guard !isOutOfBounds else { throw PKCS11Error(.getAttributeValue, .answerOutOfBounds) }
        return template
    }

    /// Calls C_GetAttributeValue; the two results that mean "some of them only" count as success.
    private mutating func getValues(
        _ object: ObjectHandle,
        _ body: ((UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> CK_RV) -> CK_RV
    ) throws(PKCS11Error) {
        let handle = handle
        do {
            try module.call(.getAttributeValue, module.functions.pointee.C_GetAttributeValue) { entry in
                body { entry(handle, object.rawValue, $0, $1) }
            }
        } catch  where [.attributeSensitive, .attributeTypeInvalid].contains(error.returnValue) {
            return
        }
    }
}
