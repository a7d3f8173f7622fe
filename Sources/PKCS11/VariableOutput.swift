// Cryptoki's convention for answers of unknown length (PKCS#11 v2.40 §5.2): the caller offers a buffer, the module
// fills it or returns CKR_BUFFER_TOO_SMALL with the length that it needs. All of that dance is here.

internal import CP11Kit

extension Module {
    /// Bytes of unknown length. Offers a buffer of `expected` bytes first, which saves the round trip of asking
    /// for the length wherever the guess is good, then once more with the length the module asks for. Throws
    /// `answerOutOfBounds` for more than `limit` bytes.
    func output<Entry>(
        _ function: Function, _ entry: Entry?, expecting expected: Int, limit: Int,
        _ body: (Entry, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<CK_ULONG>) -> CK_RV
    ) throws(PKCS11Error) -> [UInt8] {
        guard let entry else { throw PKCS11Error(function, .functionNotSupported) }
        var bytes = [UInt8](repeating: 0, count: max(1, min(expected, limit)))
        for isLastTry in [false, true] {
            var length = CK_ULONG(bytes.count)
            let result = ReturnValue(
                bytes.withUnsafeMutableBufferPointer { body(entry, $0.baseAddress, &length) })
            switch result {
            case .ok:
                guard length <= bytes.count else { throw PKCS11Error(function, .answerOutOfBounds) }
                bytes.removeLast(bytes.count - Int(length))
                return bytes
            case .bufferTooSmall where !isLastTry:
                guard length > bytes.count, length <= limit else {
                    throw PKCS11Error(function, .answerOutOfBounds)
                }
                bytes = [UInt8](repeating: 0, count: Int(length))
            default:
                throw PKCS11Error(function, result)
            }
        }
        throw PKCS11Error(function, .answerOutOfBounds)
    }

    /// A list of numbers of unknown length: asks for the count, then for the numbers. The list may grow in
    /// between, so it asks a few times.
    func numbers<Entry>(
        _ function: Function, _ entry: Entry?, limit: Int,
        _ body: (Entry, UnsafeMutablePointer<CK_ULONG>?, UnsafeMutablePointer<CK_ULONG>) -> CK_RV
    ) throws(PKCS11Error) -> [CK_ULONG] {
        for _ in 0..<Self.listAttempts {
            var count: CK_ULONG = 0
            try call(function, entry) { body($0, nil, &count) }
            guard count <= limit else { throw PKCS11Error(function, .answerOutOfBounds) }
            guard count > 0 else { return [] }
            var values = [CK_ULONG](repeating: 0, count: Int(count))
            do {
                try call(function, entry) { entry in
                    values.withUnsafeMutableBufferPointer { body(entry, $0.baseAddress, &count) }
                }
            } catch  where error.returnValue == .bufferTooSmall {
                continue
            }
            guard count <= values.count else { throw PKCS11Error(function, .answerOutOfBounds) }
            values.removeLast(values.count - Int(count))
            return values
        }
        throw PKCS11Error(function, .bufferTooSmall)
    }

    private static var listAttempts: Int { 4 }
}
