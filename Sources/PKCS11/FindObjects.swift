// Searching a token (PKCS#11 v2.40 §5.7, C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal).

internal import CP11Kit

extension Session {
    /// The objects whose attributes equal those of `template`, at most `limit`, in the module's order. Private
    /// objects are found only when the user is logged in.
    public mutating func findObjects(
        matching template: Template, limit: Int = Limits.foundObjects
    ) throws(PKCS11Error) -> [ObjectHandle] {
        let handle = handle
        try module.call(.findObjectsInit, module.functions.pointee.C_FindObjectsInit) { entry in
            template.withCKAttributes { entry(handle, $0, $1) }
        }
        let found: [ObjectHandle]
        do {
            found = try collect(limit: limit)
        } catch {
            // The first error is the one to report; a search left open would block the next.
            _ = module.functions.pointee.C_FindObjectsFinal?(handle)
            throw error
        }
        try module.call(.findObjectsFinal, module.functions.pointee.C_FindObjectsFinal) { $0(handle) }
        return found
    }

    private mutating func collect(limit: Int) throws(PKCS11Error) -> [ObjectHandle] {
        let handle = handle
        var found: [ObjectHandle] = []
        while found.count < limit {
            var batch = [CK_OBJECT_HANDLE](repeating: 0, count: min(Limits.findBatch, limit - found.count))
            var count: CK_ULONG = 0
            try module.call(.findObjects, module.functions.pointee.C_FindObjects) { entry in
                batch.withUnsafeMutableBufferPointer {
                    entry(handle, $0.baseAddress, CK_ULONG($0.count), &count)
                }
            }
            guard count <= batch.count else { throw PKCS11Error(.findObjects, .answerOutOfBounds) }
            guard count > 0 else { break }
            found += batch.prefix(Int(count)).map { ObjectHandle($0) }
        }
        return found
    }
}
