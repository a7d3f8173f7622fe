// Objects given from outside (PKCS#11 v2.40 §5.7, C_CreateObject, C_CopyObject, C_DestroyObject): for the cluster
// these are public keys. Secret keys are never created from bytes outside tests.

internal import CP11Kit

extension Session {
    /// A new object with exactly these attributes.
    public mutating func createObject(_ template: Template) throws(PKCS11Error) -> ObjectHandle {
        let handle = handle
        var object: CK_OBJECT_HANDLE = 0
        try module.call(.createObject, module.functions.pointee.C_CreateObject) { entry in
            template.withCKAttributes { entry(handle, $0, $1, &object) }
        }
        return ObjectHandle(object)
    }

    /// A copy of `object` on the same token, with the attributes in `changes` replaced.
    public mutating func copyObject(
        _ object: ObjectHandle, changing changes: Template = Template()
    ) throws(PKCS11Error) -> ObjectHandle {
        let handle = handle
        var copy: CK_OBJECT_HANDLE = 0
        try module.call(.copyObject, module.functions.pointee.C_CopyObject) { entry in
            changes.withCKAttributes { entry(handle, object.rawValue, $0, $1, &copy) }
        }
        return ObjectHandle(copy)
    }

    /// Destroys an object for good.
    public mutating func destroyObject(_ object: ObjectHandle) throws(PKCS11Error) {
        let handle = handle
        try module.call(.destroyObject, module.functions.pointee.C_DestroyObject) {
            $0(handle, object.rawValue)
        }
    }
}
