// How a configuration names a token: a PKCS#11 URI (RFC 7512), read by p11-kit. Slot numbers shift and labels
// repeat, so a selector may combine what the token says of itself; it must match exactly one token. A selector is
// written into configuration files and shown to people: it may hold no PIN.

internal import CP11Kit
import Glibc

/// A PKCS#11 URI that picks one token: `token`, `serial`, `manufacturer`, `model`, `slot-id`,
/// `slot-description`, `slot-manufacturer` and the `library-` attributes. Usable from any thread.
public final class TokenSelector: Sendable, CustomStringConvertible {
    // nonisolated(unsafe) is safe: the URI is parsed in init and only read afterwards.
    private nonisolated(unsafe) let uri: OpaquePointer
    /// The URI in p11-kit's spelling.
    public let description: String

    /// Reads a URI such as `pkcs11:token=hsm-a;serial=0123`.
    public init(uri text: String) throws(TokenSelectorError) {
        guard text.utf8.count <= Self.maximumBytes, !text.utf8.contains(0) else {
            throw TokenSelectorError(.malformed, "longer than \(Self.maximumBytes) bytes or with a zero byte")
        }
        guard let uri = p11_kit_uri_new() else { throw TokenSelectorError(.malformed, "out of memory") }
        do {
            description = try Self.parse(text, into: uri)
        } catch {
            Self.free(uri)
            throw error
        }
        self.uri = uri
    }

    deinit { Self.free(uri) }

    /// The longest URI, in bytes.
    public static let maximumBytes = 1_024

    private static func parse(_ text: String, into uri: OpaquePointer) throws(TokenSelectorError) -> String {
        let parsed = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri)
        guard parsed == Int32(P11_KIT_URI_OK.rawValue) else {
            throw TokenSelectorError(.malformed, String(cString: p11_kit_uri_message(parsed)))
        }
        guard p11_kit_uri_get_pin_value(uri) == nil, p11_kit_uri_get_pin_source(uri) == nil else {
            throw TokenSelectorError(.holdsPIN, "name the PIN's source in the endpoint's own settings")
        }
        guard p11_kit_uri_get_module_path(uri) == nil, p11_kit_uri_get_module_name(uri) == nil else {
            throw TokenSelectorError(.notATokenAttribute, "the module's path has a setting of its own")
        }
        var objectAttributes: CK_ULONG = 0
        _ = p11_kit_uri_get_attributes(uri, &objectAttributes)
        guard objectAttributes == 0 else {
            throw TokenSelectorError(.notATokenAttribute, "object, id and type name an object, not a token")
        }
        guard p11_kit_uri_any_unrecognized(uri) == 0 else {
            throw TokenSelectorError(.notATokenAttribute, "it has an attribute that RFC 7512 doesn't know")
        }
        var formatted: UnsafeMutablePointer<CChar>?
        guard p11_kit_uri_format(uri, P11_KIT_URI_FOR_ANY, &formatted) == Int32(P11_KIT_URI_OK.rawValue),
            let formatted
        else { throw TokenSelectorError(.malformed, "p11-kit can't print it") }
        defer { Glibc.free(formatted) }
        return String(cString: formatted)
    }

    // p11_kit_uri_free under a name that says what it frees.
    private static func free(_ uri: OpaquePointer) { p11_kit_uri_free(uri) }

    /// True when the token in `slot` of a module with this `info` fits every attribute of the URI.
    func matches(module info: CK_INFO, slot: Slot, slotInfo: CK_SLOT_INFO, tokenInfo: CK_TOKEN_INFO) -> Bool {
        let wantedID = p11_kit_uri_get_slot_id(uri)
        guard wantedID == hsmcluster_unavailable_information || wantedID == slot.id else { return false }
        return withUnsafePointer(to: info) { p11_kit_uri_match_module_info(uri, $0) != 0 }
            && withUnsafePointer(to: slotInfo) { p11_kit_uri_match_slot_info(uri, $0) != 0 }
            && withUnsafePointer(to: tokenInfo) { p11_kit_uri_match_token_info(uri, $0) != 0 }
    }
}

/// Why a text is no token selector. Never repeats the text, which may hold a PIN.
public struct TokenSelectorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of mistake.
    public enum Reason: Hashable, Sendable {
        /// Not a PKCS#11 URI.
        case malformed
        /// It has `pin-value` or `pin-source`.
        case holdsPIN
        /// It says something that can't select a token.
        case notATokenAttribute
    }

    /// What is wrong.
    public var reason: Reason
    /// One sentence for people.
    public var detail: String

    init(_ reason: Reason, _ detail: String) {
        self.reason = reason
        self.detail = detail
    }

    /// One sentence for people.
    public var description: String {
        switch reason {
        case .malformed: "the token selector is no PKCS#11 URI (RFC 7512): \(detail)"
        case .holdsPIN: "the token selector must not hold a PIN: \(detail)"
        case .notATokenAttribute: "the token selector must describe a token only: \(detail)"
        }
    }
}

/// Why a selector found no token.
public enum TokenLookupError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A call failed.
    case failed(PKCS11Error)
    /// No token matches; the labels of those present.
    case notFound(present: [String])
    /// Several tokens match; their labels and serial numbers.
    case ambiguous(matching: [String])

    /// One sentence for people.
    public var description: String {
        switch self {
        case .failed(let error): "\(error)"
        case .notFound(let present):
            "no token matches the selector; present: "
                + (present.isEmpty ? "none" : present.map { "'\($0)'" }.joined(separator: ", "))
        case .ambiguous(let matching):
            "several tokens match the selector, add the serial number: " + matching.joined(separator: ", ")
        }
    }
}

extension Module {
    /// The one token that matches `selector`. A slot whose token can't be asked is passed over: trouble with one
    /// token is none of another's. Its error is reported when nothing else matches.
    public func token(matching selector: TokenSelector) throws(TokenLookupError) -> Token {
        var moduleInfo = CK_INFO()
        let slots: [Slot]
        do {
            try call(.getInfo, functions.pointee.C_GetInfo) { $0(&moduleInfo) }
            slots = try self.slots(withToken: true)
        } catch {
            throw .failed(error)
        }
        let answers = slots.map { ask($0, selector, moduleInfo) }
        let matching = answers.compactMap(\.candidate).filter(\.isMatch)
        guard let first = matching.first else { throw Self.nothingFound(answers) }
        guard matching.count == 1 else {
            throw .ambiguous(matching: matching.map { "'\($0.info.label)' (serial \($0.info.serialNumber))" })
        }
        return first.token
    }

    private struct Candidate {
        var token: Token
        var info: TokenInfo
        var isMatch: Bool
    }

    private enum Answer {
        case candidate(Candidate)
        case gone
        case failed(PKCS11Error)

        var candidate: Candidate? {
            guard case .candidate(let candidate) = self else { return nil }
            return candidate
        }
    }

    private func ask(_ slot: Slot, _ selector: TokenSelector, _ moduleInfo: CK_INFO) -> Answer {
        do {
            let (slotInfo, tokenInfo) = (try slot.rawInfo(), try slot.token.rawInfo())
            let isMatch = selector.matches(
                module: moduleInfo, slot: slot, slotInfo: slotInfo, tokenInfo: tokenInfo)
            return .candidate(Candidate(token: slot.token, info: TokenInfo(tokenInfo), isMatch: isMatch))
        } catch {
            switch error.returnValue {
            case .tokenNotPresent, .tokenNotRecognized, .deviceRemoved: return .gone
            default: return .failed(error)
            }
        }
    }

    private static func nothingFound(_ answers: [Answer]) -> TokenLookupError {
        for case .failed(let error) in answers { return .failed(error) }
        let initialized = answers.compactMap(\.candidate).filter { $0.info.flags.contains(.isInitialized) }
        return .notFound(present: initialized.map(\.info.label))
    }
}
