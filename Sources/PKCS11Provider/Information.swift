internal import CCryptoki
internal import OperationWire

// What the library, the slot and the token say of themselves (PKCS#11 v2.40 §5.4, §5.5). The slot is always there; the token
// is there as soon as a directory can be read. Label and serial number come from the cluster's name and never change,
// whatever endpoints come and go.

/// C_Initialize's argument (§5.4): four callbacks for locks or none. The provider uses the system's locks only, which an
/// application that insists on its own does not allow.
func checkInitializeArguments(_ arguments: UnsafeMutablePointer<CK_C_INITIALIZE_ARGS>?) throws(Refusal) {
    guard let arguments = arguments?.pointee else { return }
    guard arguments.pReserved == nil else { throw .arguments }
    let given = [
        arguments.CreateMutex != nil, arguments.DestroyMutex != nil, arguments.LockMutex != nil,
        arguments.UnlockMutex != nil,
    ]
    guard given.allSatisfy({ $0 == given[0] }) else { throw .arguments }
    if given[0], arguments.flags & CK_FLAGS(CKF_OS_LOCKING_OK) == 0 { throw Refusal(CKR_CANT_LOCK) }
}

extension Library {
    func checkSlot(_ slot: CK_SLOT_ID) throws(Refusal) {
        guard slot == ProviderLimits.slot else { throw Refusal(CKR_SLOT_ID_INVALID) }
    }

    func info(_ info: UnsafeMutablePointer<CK_INFO>?) throws(Refusal) {
        guard let info else { throw .arguments }
        var filled = CK_INFO()
        filled.cryptokiVersion = CK_VERSION(major: 2, minor: 40)
        pad("HSMCluster", into: &filled.manufacturerID)
        pad("Cluster of HSMs", into: &filled.libraryDescription)
        filled.libraryVersion = CK_VERSION(major: 0, minor: 1)
        info.pointee = filled
    }

    func slotList(
        _ tokenPresent: Bool, _ list: UnsafeMutablePointer<CK_SLOT_ID>?,
        _ count: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        guard let count else { throw .arguments }
        let slots = tokenPresent && directories.view() == nil ? [] : [ProviderLimits.slot]
        let room = count.pointee
        count.pointee = CK_ULONG(slots.count)
        guard let list else { return }
        guard room >= CK_ULONG(slots.count) else { throw Refusal(CKR_BUFFER_TOO_SMALL) }
        for (index, slot) in slots.enumerated() { list[index] = slot }
    }

    func slotInfo(_ slot: CK_SLOT_ID, _ info: UnsafeMutablePointer<CK_SLOT_INFO>?) throws(Refusal) {
        guard let info else { throw .arguments }
        try checkSlot(slot)
        var filled = CK_SLOT_INFO()
        pad("HSMCluster", into: &filled.slotDescription)
        pad("HSMCluster", into: &filled.manufacturerID)
        filled.flags = CK_FLAGS(CKF_REMOVABLE_DEVICE)
        if directories.view() != nil { filled.flags |= CK_FLAGS(CKF_TOKEN_PRESENT) }
        info.pointee = filled
    }

    func tokenInfo(_ slot: CK_SLOT_ID, _ info: UnsafeMutablePointer<CK_TOKEN_INFO>?) throws(Refusal) {
        guard let info else { throw .arguments }
        try checkSlot(slot)
        let directory = try anyView().directory
        var filled = CK_TOKEN_INFO()
        pad(directory.tokenLabel, into: &filled.label)
        pad("HSMCluster", into: &filled.manufacturerID)
        pad("Cluster", into: &filled.model)
        pad(directory.tokenSerialNumber, into: &filled.serialNumber)
        filled.flags = CK_FLAGS(CKF_RNG | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED)
        if directory.loginRequired { filled.flags |= CK_FLAGS(CKF_LOGIN_REQUIRED) }
        filled.ulMaxSessionCount = CK_ULONG(ProviderLimits.sessions)
        filled.ulMaxRwSessionCount = CK_ULONG(ProviderLimits.sessions)
        filled.ulSessionCount = CK_ULONG(sessions.count)
        filled.ulRwSessionCount = CK_ULONG(sessions.all().count { $0.value.isReadWrite })
        filled.ulMinPinLen = 1
        filled.ulMaxPinLen = CK_ULONG(OperationLimits.userNameBytes + 1 + OperationLimits.passwordBytes)
        let unavailable = CK_ULONG.max
        filled.ulTotalPublicMemory = unavailable
        filled.ulFreePublicMemory = unavailable
        filled.ulTotalPrivateMemory = unavailable
        filled.ulFreePrivateMemory = unavailable
        pad("", into: &filled.utcTime)
        info.pointee = filled
    }

    func mechanismList(
        _ slot: CK_SLOT_ID, _ list: UnsafeMutablePointer<CK_MECHANISM_TYPE>?,
        _ count: UnsafeMutablePointer<CK_ULONG>?
    ) throws(Refusal) {
        guard let count else { throw .arguments }
        try checkSlot(slot)
        let mechanisms = try anyView().directory.mechanisms
        let room = count.pointee
        count.pointee = CK_ULONG(mechanisms.count)
        guard let list else { return }
        guard room >= CK_ULONG(mechanisms.count) else { throw Refusal(CKR_BUFFER_TOO_SMALL) }
        for (index, mechanism) in mechanisms.enumerated() {
            list[index] = CK_MECHANISM_TYPE(mechanism.type)
        }
    }

    func mechanismInfo(
        _ slot: CK_SLOT_ID, _ type: CK_MECHANISM_TYPE, _ info: UnsafeMutablePointer<CK_MECHANISM_INFO>?
    ) throws(Refusal) {
        guard let info else { throw .arguments }
        try checkSlot(slot)
        guard let mechanism = try anyView().mechanism(UInt64(type)) else {
            throw Refusal(CKR_MECHANISM_INVALID)
        }
        info.pointee = CK_MECHANISM_INFO(
            ulMinKeySize: CK_ULONG(mechanism.minimumKeySize),
            ulMaxKeySize: CK_ULONG(mechanism.maximumKeySize),
            flags: CK_FLAGS(mechanism.flags))
    }

    func sessionInfo(
        _ session: Session, _ info: UnsafeMutablePointer<CK_SESSION_INFO>?
    ) throws(Refusal) {
        guard let info else { throw .arguments }
        let states: (CK_STATE, CK_STATE) =
            login.isLoggedIn
            ? (CK_STATE(CKS_RO_USER_FUNCTIONS), CK_STATE(CKS_RW_USER_FUNCTIONS))
            : (CK_STATE(CKS_RO_PUBLIC_SESSION), CK_STATE(CKS_RW_PUBLIC_SESSION))
        info.pointee = CK_SESSION_INFO(
            slotID: ProviderLimits.slot, state: session.isReadWrite ? states.1 : states.0,
            flags: CK_FLAGS(CKF_SERIAL_SESSION | (session.isReadWrite ? CKF_RW_SESSION : 0)), ulDeviceError: 0
        )
    }
}

extension Session {
    func hasOperation() throws(Refusal) -> Bool {
        try with { state throws(Refusal) in !state.operations.isEmpty }
    }

    /// Checks that operations are under way.
    func require(_ functions: [DataFunction]) throws(Refusal) {
        try with { state throws(Refusal) in
            guard functions.allSatisfy({ state.operations[$0] != nil }) else { throw .operationMissing }
        }
    }
}

/// Fills a text field of fixed length, padded with spaces (§3.2), cut where a character begins.
private func pad<Field>(_ text: String, into field: inout Field) {
    withUnsafeMutableBytes(of: &field) { bytes in
        var end = 0
        for character in text {
            let encoded = Array(String(character).utf8)
            guard end + encoded.count <= bytes.count else { break }
            for byte in encoded {
                bytes[end] = byte
                end += 1
            }
        }
        while end < bytes.count {
            bytes[end] = UInt8(ascii: " ")
            end += 1
        }
    }
}
