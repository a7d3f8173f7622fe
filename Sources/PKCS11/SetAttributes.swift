// Changing attributes (PKCS#11 v2.40 §5.7, C_SetAttributeValue). Most are fixed when the object is made; CKA_SENSITIVE
// may only become true and CKA_EXTRACTABLE only false.

internal import CP11Kit

extension Session {
    /// Sets the attributes in `template` on `object`; all or none of them.
    public mutating func setAttributes(
        _ template: Template, of object: ObjectHandle
    ) throws(PKCS11Error) {
        let handle = handle
        try module.call(.setAttributeValue, module.functions.pointee.C_SetAttributeValue) { entry in
            template.withCKAttributes { entry(handle, object.rawValue, $0, $1) }
        }
    }
}
