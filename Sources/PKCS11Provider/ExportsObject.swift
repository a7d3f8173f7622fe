public import CCryptoki
internal import OperationWire

// Objects (PKCS#11 v2.40 §5.7): the exported functions. Making, finding and reading objects.

/// C_CreateObject.
@c(C_CreateObject)
public func cCreateObject(
    _ session: CK_SESSION_HANDLE, _ templ: AttributePointer, _ count: CK_ULONG, _ object: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.createObject(session, try readTemplate(templ, count: count), into: object)
    }
}

/// C_CopyObject.
@c(C_CopyObject)
public func cCopyObject(
    _ session: CK_SESSION_HANDLE, _ object: CK_OBJECT_HANDLE, _ templ: AttributePointer, _ count: CK_ULONG,
    _ newObject: HandlePointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.copyObject(session, object, try readTemplate(templ, count: count), into: newObject)
    }
}

/// C_DestroyObject.
@c(C_DestroyObject)
public func cDestroyObject(_ session: CK_SESSION_HANDLE, _ object: CK_OBJECT_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.destroyObject(session, object)
    }
}

/// C_GetObjectSize.
@c(C_GetObjectSize)
public func cGetObjectSize(_ session: CK_SESSION_HANDLE, _ object: CK_OBJECT_HANDLE, _ size: LengthPointer)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.objectSize(session, object, into: size)
    }
}

/// C_GetAttributeValue.
@c(C_GetAttributeValue)
public func cGetAttributeValue(
    _ session: CK_SESSION_HANDLE, _ object: CK_OBJECT_HANDLE, _ templ: AttributePointer, _ count: CK_ULONG
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.getAttributes(session, object, templ, count: count)
    }
}

/// C_SetAttributeValue.
@c(C_SetAttributeValue)
public func cSetAttributeValue(
    _ session: CK_SESSION_HANDLE, _ object: CK_OBJECT_HANDLE, _ templ: AttributePointer, _ count: CK_ULONG
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.setAttributes(session, object, try readTemplate(templ, count: count))
    }
}

/// C_FindObjectsInit.
@c(C_FindObjectsInit)
public func cFindObjectsInit(_ session: CK_SESSION_HANDLE, _ templ: AttributePointer, _ count: CK_ULONG)
    -> CK_RV
{
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.findObjectsInit(session, template: try readTemplate(templ, count: count))
    }
}

/// C_FindObjects.
@c(C_FindObjects)
public func cFindObjects(
    _ session: CK_SESSION_HANDLE, _ object: HandlePointer, _ maxObjectCount: CK_ULONG,
    _ objectCount: LengthPointer
) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.findObjects(session, into: object, limit: maxObjectCount, count: objectCount)
    }
}

/// C_FindObjectsFinal.
@c(C_FindObjectsFinal)
public func cFindObjectsFinal(_ session: CK_SESSION_HANDLE) -> CK_RV {
    call { library throws(Refusal) in
        let session = try library.session(session)
        try library.findObjectsFinal(session)
    }
}
