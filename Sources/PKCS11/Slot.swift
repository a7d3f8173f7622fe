// A slot is where a token may be (PKCS#11 v2.40 §5.5). Slot numbers are the module's own and may change from one
// start to the next; a token is therefore found by what it says of itself, see `TokenSelector`.

internal import CP11Kit

/// A slot of a module. Cheap to copy; usable from any thread.
public struct Slot: Sendable {
    /// The module it belongs to.
    public let module: Module
    /// The module's number for it (CK_SLOT_ID).
    public let id: UInt

    /// The token in it, present or not.
    public var token: Token { Token(module: module, slotID: id) }

    /// What the module says of the slot (C_GetSlotInfo).
    public func info() throws(PKCS11Error) -> SlotInfo {
        SlotInfo(try rawInfo())
    }

    func rawInfo() throws(PKCS11Error) -> CK_SLOT_INFO {
        var info = CK_SLOT_INFO()
        try module.call(.getSlotInfo, module.functions.pointee.C_GetSlotInfo) { $0(id, &info) }
        return info
    }
}

/// What a module says of a slot (CK_SLOT_INFO).
public struct SlotInfo: Hashable, Sendable {
    /// The slot's description.
    public var slotDescription: String
    /// Who made the slot.
    public var manufacturer: String
    /// True when a token is there.
    public var isTokenPresent: Bool

    init(_ info: CK_SLOT_INFO) {
        slotDescription = paddedText(of: info.slotDescription)
        manufacturer = paddedText(of: info.manufacturerID)
        isTokenPresent = info.flags & CKF_TOKEN_PRESENT != 0
    }
}

extension Module {
    /// The slots, all of them or only those with a token, in the module's order (C_GetSlotList).
    public func slots(withToken: Bool) throws(PKCS11Error) -> [Slot] {
        let list = functions.pointee.C_GetSlotList
        let ids: [CK_SLOT_ID] = try numbers(.getSlotList, list, limit: Limits.slots) { entry, values, count in
            entry(withToken ? 1 : 0, values, count)
        }
        return ids.map { Slot(module: self, id: $0) }
    }
}
