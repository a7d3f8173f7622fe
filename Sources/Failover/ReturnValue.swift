// The CKR_ values of PKCS#11 v3.0 (pkcs11t.h) that a failing call can return, with the class of each. Sorted
// by number. The rows that domain experience backs are those of `FailureTable`'s documentation; the others
// follow from the specification's wording, and what it leaves open counts as ambiguous.

/// Names and classes of the standard return values.
enum ReturnValue {
    static let ok: UInt = 0x00
    static let sessionClosed: UInt = 0xB0
    /// Values from here on belong to vendors.
    static let vendorDefined: UInt = 0x8000_0000

    struct Row: Sendable {
        let value: UInt
        let name: String
        let failureClass: FailureClass

        init(_ value: UInt, _ name: String, _ failureClass: FailureClass) {
            self.value = value
            self.name = name
            self.failureClass = failureClass
        }
    }

    static let standard: [Row] = [
        Row(0x01, "CKR_CANCEL", .badRequest),
        Row(0x02, "CKR_HOST_MEMORY", .capacity),
        Row(0x03, "CKR_SLOT_ID_INVALID", .gone),
        Row(0x05, "CKR_GENERAL_ERROR", .gone),
        Row(0x06, "CKR_FUNCTION_FAILED", .ambiguous),
        Row(0x07, "CKR_ARGUMENTS_BAD", .badRequest),
        Row(0x08, "CKR_NO_EVENT", .badRequest),
        Row(0x09, "CKR_NEED_TO_CREATE_THREADS", .badRequest),
        Row(0x0A, "CKR_CANT_LOCK", .badRequest),
        Row(0x10, "CKR_ATTRIBUTE_READ_ONLY", .badRequest),
        Row(0x11, "CKR_ATTRIBUTE_SENSITIVE", .badRequest),
        Row(0x12, "CKR_ATTRIBUTE_TYPE_INVALID", .badRequest),
        Row(0x13, "CKR_ATTRIBUTE_VALUE_INVALID", .badRequest),
        Row(0x1B, "CKR_ACTION_PROHIBITED", .badRequest),
        Row(0x20, "CKR_DATA_INVALID", .badRequest),
        Row(0x21, "CKR_DATA_LEN_RANGE", .badRequest),
        Row(0x30, "CKR_DEVICE_ERROR", .gone),
        Row(0x31, "CKR_DEVICE_MEMORY", .capacity),
        Row(0x32, "CKR_DEVICE_REMOVED", .gone),
        Row(0x40, "CKR_ENCRYPTED_DATA_INVALID", .badRequest),
        Row(0x41, "CKR_ENCRYPTED_DATA_LEN_RANGE", .badRequest),
        Row(0x42, "CKR_AEAD_DECRYPT_FAILED", .badRequest),
        Row(0x50, "CKR_FUNCTION_CANCELED", .ambiguous),
        Row(0x51, "CKR_FUNCTION_NOT_PARALLEL", .badRequest),
        Row(0x54, "CKR_FUNCTION_NOT_SUPPORTED", .badRequest),
        Row(0x60, "CKR_KEY_HANDLE_INVALID", .staleSession),
        Row(0x62, "CKR_KEY_SIZE_RANGE", .badRequest),
        Row(0x63, "CKR_KEY_TYPE_INCONSISTENT", .badRequest),
        Row(0x64, "CKR_KEY_NOT_NEEDED", .badRequest),
        Row(0x65, "CKR_KEY_CHANGED", .badRequest),
        Row(0x66, "CKR_KEY_NEEDED", .badRequest),
        Row(0x67, "CKR_KEY_INDIGESTIBLE", .badRequest),
        Row(0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED", .badRequest),
        Row(0x69, "CKR_KEY_NOT_WRAPPABLE", .badRequest),
        Row(0x6A, "CKR_KEY_UNEXTRACTABLE", .badRequest),
        Row(0x70, "CKR_MECHANISM_INVALID", .badRequest),
        Row(0x71, "CKR_MECHANISM_PARAM_INVALID", .badRequest),
        Row(0x82, "CKR_OBJECT_HANDLE_INVALID", .staleSession),
        Row(0x90, "CKR_OPERATION_ACTIVE", .staleSession),
        Row(0x91, "CKR_OPERATION_NOT_INITIALIZED", .staleSession),
        Row(0xA0, "CKR_PIN_INCORRECT", .credential),
        Row(0xA1, "CKR_PIN_INVALID", .credential),
        Row(0xA2, "CKR_PIN_LEN_RANGE", .credential),
        Row(0xA3, "CKR_PIN_EXPIRED", .credential),
        Row(0xA4, "CKR_PIN_LOCKED", .credential),
        Row(0xB0, "CKR_SESSION_CLOSED", .staleSession),
        Row(0xB1, "CKR_SESSION_COUNT", .capacity),
        Row(0xB3, "CKR_SESSION_HANDLE_INVALID", .staleSession),
        Row(0xB4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", .badRequest),
        Row(0xB5, "CKR_SESSION_READ_ONLY", .badRequest),
        Row(0xB6, "CKR_SESSION_EXISTS", .badRequest),
        Row(0xB7, "CKR_SESSION_READ_ONLY_EXISTS", .badRequest),
        Row(0xB8, "CKR_SESSION_READ_WRITE_SO_EXISTS", .badRequest),
        Row(0xC0, "CKR_SIGNATURE_INVALID", .badRequest),
        Row(0xC1, "CKR_SIGNATURE_LEN_RANGE", .badRequest),
        Row(0xD0, "CKR_TEMPLATE_INCOMPLETE", .badRequest),
        Row(0xD1, "CKR_TEMPLATE_INCONSISTENT", .badRequest),
        Row(0xE0, "CKR_TOKEN_NOT_PRESENT", .gone),
        Row(0xE1, "CKR_TOKEN_NOT_RECOGNIZED", .gone),
        Row(0xE2, "CKR_TOKEN_WRITE_PROTECTED", .badRequest),
        Row(0xF0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", .staleSession),
        Row(0xF1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", .badRequest),
        Row(0xF2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", .badRequest),
        Row(0x100, "CKR_USER_ALREADY_LOGGED_IN", .badRequest),
        Row(0x101, "CKR_USER_NOT_LOGGED_IN", .staleSession),
        Row(0x102, "CKR_USER_PIN_NOT_INITIALIZED", .credential),
        Row(0x103, "CKR_USER_TYPE_INVALID", .badRequest),
        Row(0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", .badRequest),
        Row(0x105, "CKR_USER_TOO_MANY_TYPES", .badRequest),
        Row(0x110, "CKR_WRAPPED_KEY_INVALID", .badRequest),
        Row(0x112, "CKR_WRAPPED_KEY_LEN_RANGE", .badRequest),
        Row(0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", .staleSession),
        Row(0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", .badRequest),
        Row(0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", .badRequest),
        Row(0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", .badRequest),
        Row(0x121, "CKR_RANDOM_NO_RNG", .badRequest),
        Row(0x130, "CKR_DOMAIN_PARAMS_INVALID", .badRequest),
        Row(0x140, "CKR_CURVE_NOT_SUPPORTED", .badRequest),
        Row(0x150, "CKR_BUFFER_TOO_SMALL", .badRequest),
        Row(0x160, "CKR_SAVED_STATE_INVALID", .badRequest),
        Row(0x170, "CKR_INFORMATION_SENSITIVE", .badRequest),
        Row(0x180, "CKR_STATE_UNSAVEABLE", .badRequest),
        Row(0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", .gone),
        Row(0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", .badRequest),
        Row(0x1A0, "CKR_MUTEX_BAD", .ambiguous),
        Row(0x1A1, "CKR_MUTEX_NOT_LOCKED", .ambiguous),
        Row(0x1C1, "CKR_FIPS_SELF_TEST_FAILED", .gone),
        Row(0x1C2, "CKR_LIBRARY_LOAD_FAILED", .gone),
        Row(0x1C3, "CKR_PIN_TOO_WEAK", .credential),
        Row(0x1C4, "CKR_PUBLIC_KEY_INVALID", .badRequest),
        Row(0x200, "CKR_FUNCTION_REJECTED", .badRequest),
        Row(0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", .capacity),
    ]

    /// The row of `value`; nil when the standard has none.
    static func row(of value: UInt) -> Row? {
        var low = 0
        var high = standard.count
        while low < high {
            let middle = (low + high) / 2
            if standard[middle].value < value { low = middle + 1 } else { high = middle }
        }
        return low < standard.count && standard[low].value == value ? standard[low] : nil
    }

    /// The value called `name`, such as `CKR_DEVICE_ERROR`.
    static func value(named name: String) -> UInt? { standard.first { $0.name == name }?.value }
}
