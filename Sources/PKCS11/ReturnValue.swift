// What a Cryptoki function returns (PKCS#11 v2.40 §3.6, CK_RV). An open set: vendors add values of their own,
// and every one of them must survive unchanged on its way to the log, so this is a struct over the number.

/// A CKR_ value. Compare it with the constants, or print it.
public struct ReturnValue: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public var rawValue: UInt
    /// Wraps a number, known or not.
    public init(rawValue: UInt) { self.rawValue = rawValue }
    /// Wraps a number, known or not.
    public init(_ rawValue: UInt) { self.rawValue = rawValue }

    /// The name and number, such as `CKR_PIN_INCORRECT (0xA0)`.
    public var description: String {
        describe(
            rawValue, name: Self.names[rawValue] ?? Self.ownNames[rawValue], vendor: "CKR_VENDOR_DEFINED")
    }

    /// The name, such as `CKR_PIN_INCORRECT`; nil for a number without one.
    public var name: String? { Self.names[rawValue] ?? Self.ownNames[rawValue] }
    /// True for a value from the vendor's own range.
    public var isVendorDefined: Bool { rawValue & vendorDefined != 0 && rawValue <= 0xFFFF_FFFF }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension ReturnValue {
    public static let ok = ReturnValue(0)
    public static let hostMemory = ReturnValue(0x02)
    public static let slotIDInvalid = ReturnValue(0x03)
    public static let generalError = ReturnValue(0x05)
    public static let functionFailed = ReturnValue(0x06)
    public static let argumentsBad = ReturnValue(0x07)
    public static let attributeReadOnly = ReturnValue(0x10)
    public static let attributeSensitive = ReturnValue(0x11)
    public static let attributeTypeInvalid = ReturnValue(0x12)
    public static let attributeValueInvalid = ReturnValue(0x13)
    public static let actionProhibited = ReturnValue(0x1B)
    public static let dataInvalid = ReturnValue(0x20)
    public static let dataLengthRange = ReturnValue(0x21)
    public static let deviceError = ReturnValue(0x30)
    public static let deviceMemory = ReturnValue(0x31)
    public static let deviceRemoved = ReturnValue(0x32)
    public static let encryptedDataInvalid = ReturnValue(0x40)
    public static let encryptedDataLengthRange = ReturnValue(0x41)
    public static let functionNotSupported = ReturnValue(0x54)
    public static let keyHandleInvalid = ReturnValue(0x60)
    public static let keySizeRange = ReturnValue(0x62)
    public static let keyTypeInconsistent = ReturnValue(0x63)
    public static let keyFunctionNotPermitted = ReturnValue(0x68)
    public static let keyNotWrappable = ReturnValue(0x69)
    public static let keyUnextractable = ReturnValue(0x6A)
    public static let mechanismInvalid = ReturnValue(0x70)
    public static let mechanismParameterInvalid = ReturnValue(0x71)
    public static let objectHandleInvalid = ReturnValue(0x82)
    public static let operationActive = ReturnValue(0x90)
    public static let pinIncorrect = ReturnValue(0xA0)
    public static let pinInvalid = ReturnValue(0xA1)
    public static let pinLengthRange = ReturnValue(0xA2)
    public static let pinExpired = ReturnValue(0xA3)
    public static let pinLocked = ReturnValue(0xA4)
    public static let sessionClosed = ReturnValue(0xB0)
    public static let sessionCount = ReturnValue(0xB1)
    public static let sessionHandleInvalid = ReturnValue(0xB3)
    public static let sessionReadOnly = ReturnValue(0xB5)
    public static let sessionExists = ReturnValue(0xB6)
    public static let signatureInvalid = ReturnValue(0xC0)
    public static let signatureLengthRange = ReturnValue(0xC1)
    public static let templateIncomplete = ReturnValue(0xD0)
    public static let templateInconsistent = ReturnValue(0xD1)
    public static let tokenNotPresent = ReturnValue(0xE0)
    public static let tokenNotRecognized = ReturnValue(0xE1)
    public static let tokenWriteProtected = ReturnValue(0xE2)
    public static let userAlreadyLoggedIn = ReturnValue(0x100)
    public static let userNotLoggedIn = ReturnValue(0x101)
    public static let userPINNotInitialized = ReturnValue(0x102)
    public static let userTypeInvalid = ReturnValue(0x103)
    public static let userAnotherAlreadyLoggedIn = ReturnValue(0x104)
    public static let wrappedKeyInvalid = ReturnValue(0x110)
    public static let wrappedKeyLengthRange = ReturnValue(0x112)
    public static let bufferTooSmall = ReturnValue(0x150)
    public static let cryptokiNotInitialized = ReturnValue(0x190)
    public static let cryptokiAlreadyInitialized = ReturnValue(0x191)
}

extension ReturnValue {
    /// Not from the module but about it: its answer is longer than the named bound, or longer than the buffer
    /// that it was given. The session is in an unknown state; close it.
    public static let answerOutOfBounds = ReturnValue(0x1_0000_0001)

    // No module returns these: CK_RV is at most 32 bits on the wire between any provider and its token.
    private static let ownNames: [UInt: String] = [answerOutOfBounds.rawValue: "ANSWER_OUT_OF_BOUNDS"]
}
