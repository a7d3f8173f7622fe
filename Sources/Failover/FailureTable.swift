import ClusterModel

// The standard table, plus what a vendor's driver means by its own values, plus what an operator has learned
// about this very driver. An override is a line of text, so that it can stand in the configuration and be
// passed around:
//
//     # AWS CloudHSM says this when it is busy CKR_FUNCTION_FAILED = capacity 0x80000018 = capacity

/// Sorts return values into failure classes:
///
/// | class | values | |---|---| | gone | TOKEN_NOT_PRESENT, DEVICE_REMOVED, DEVICE_ERROR, GENERAL_ERROR,
/// CRYPTOKI_NOT_INITIALIZED, … | | ambiguous | FUNCTION_FAILED, vendor values that nothing is known of,
/// values outside the standard | | stale-session | SESSION_HANDLE_INVALID, SESSION_CLOSED,
/// USER_NOT_LOGGED_IN, …_HANDLE_INVALID, OPERATION_… | | capacity | SESSION_COUNT, DEVICE_MEMORY,
/// HOST_MEMORY, TOKEN_RESOURCE_EXCEEDED | | credential | PIN_… , USER_PIN_NOT_INITIALIZED | | bad-request |
/// DATA_LEN_RANGE, MECHANISM_INVALID, KEY_FUNCTION_NOT_PERMITTED, ATTRIBUTE_…, TEMPLATE_…, … |
public struct FailureTable: Hashable, Sendable {
    /// What a vendor's driver or an operator says of one value.
    public struct Override: Hashable, Sendable, Codable {
        /// The CKR_ value.
        public var returnValue: UInt
        /// Its class.
        public var failureClass: FailureClass
        /// Puts an override together.
        public init(returnValue: UInt, failureClass: FailureClass) {
            self.returnValue = returnValue
            self.failureClass = failureClass
        }
    }

    /// Bounds of the text form.
    public enum Limits {
        /// The most overrides in a table.
        public static let overrides = 256
        /// The most bytes of a line.
        public static let lineBytes = 200
    }

    /// In ascending order of values.
    public private(set) var overrides: [Override]

    /// The standard table alone.
    public static let standard = FailureTable(preset: [])

    /// The standard table and the values of the Securosys Primus provider.
    public static let primus = FailureTable(preset: [
        Override(returnValue: 0x8000_000B, failureClass: .credential),  // wrong PIN
        Override(returnValue: 0x8000_000C, failureClass: .staleSession),  // not logged in
        Override(returnValue: 0x8000_0018, failureClass: .capacity),  // too many connections
        Override(returnValue: 0x8000_002A, failureClass: .badRequest),  // key import not allowed
        Override(returnValue: 0x8000_0037, failureClass: .credential),  // password expired
        Override(returnValue: 0x8000_003B, failureClass: .gone),  // connecting timed out
        Override(returnValue: 0x8000_005F, failureClass: .badRequest),  // session objects disabled
        Override(returnValue: 0x8000_0069, failureClass: .gone),  // partition disabled
        Override(returnValue: 0x8000_5015, failureClass: .gone),  // address unreachable
        Override(returnValue: 0x8000_5017, failureClass: .credential),  // login to the HSM failed
    ])

    /// The names that `init(vendor:overrides:)` knows.
    public static let vendors = ["primus", "standard"]

    /// The table of a vendor, with lines of overrides on top of it. Where both speak of a value, the lines
    /// win.
    /// - Parameters:
    ///   - vendor: One of `vendors`.
    ///   - text: `VALUE = CLASS` lines; VALUE is hexadecimal (`0x80000018`) or a name (`CKR_DEVICE_ERROR`),
    ///     CLASS a raw value of `FailureClass`. Empty lines and what follows a `#` are ignored.
    /// - Throws: The first problem found.
    public init(vendor: String = "standard", overrides text: String = "") throws(FailureTableError) {
        switch vendor {
        case "standard": self = .standard
        case "primus": self = .primus
        default: throw .unknownVendor(vendor)
        }
        for override in try parse(text) { set(override) }
        guard overrides.count <= Limits.overrides else { throw .tooManyOverrides }
    }

    /// What `returnValue` says about the endpoint; nil for CKR_OK.
    public func classify(_ returnValue: UInt) -> Classification? {
        let value = Self.normalized(returnValue)
        guard value != ReturnValue.ok else { return nil }
        let known =
            overrides.first { $0.returnValue == value }?.failureClass
            ?? ReturnValue.row(of: value)?.failureClass
        return Classification(returnValue: value, failureClass: known ?? .ambiguous)
    }

    /// What a failed request says about the endpoint; nil when it speaks only of one key or one mechanism, so
    /// that the caller has to look into the catalog.
    public func classify(_ failure: EndpointFailure) -> Classification? {
        switch failure.kind {
        case .deadlineExceeded, .tokenHostLost, .moduleUnavailable, .tokenNotFound:
            Classification(returnValue: nil, failureClass: .gone)
        case .pinUnavailable, .credentialRejected:
            Classification(returnValue: nil, failureClass: .credential)
        case .returnValue:
            failure.returnValue.map { UInt($0) }.flatMap { classify($0) }
                ?? Classification(returnValue: nil, failureClass: .ambiguous)
        case .busy: Classification(returnValue: nil, failureClass: .capacity)
        case .notLoggedIn: Classification(returnValue: nil, failureClass: .staleSession)
        case .invalidRequest: Classification(returnValue: nil, failureClass: .badRequest)
        case .keyNotFound, .keyNotExtractable, .keyMismatch, .mechanismMissing: nil
        }
    }

    /// The overrides as lines that `init(vendor:overrides:)` reads.
    public var text: String {
        overrides.map { override in
            let name = ReturnValue.row(of: override.returnValue)?.name
            let value = name ?? "0x" + String(override.returnValue, radix: 16, uppercase: true)
            return "\(value) = \(override.failureClass.rawValue)\n"
        }.joined()
    }

    private init(preset: [Override]) { overrides = preset }

    private mutating func set(_ override: Override) {
        overrides.removeAll { $0.returnValue == override.returnValue }
        let index = overrides.firstIndex { $0.returnValue > override.returnValue } ?? overrides.endIndex
        overrides.insert(override, at: index)
    }

    /// Some drivers hand a 32-bit vendor value through a signed integer, which fills the upper half with
    /// ones.
    private static func normalized(_ value: UInt) -> UInt {
        let low = value & 0xFFFF_FFFF
        return value >> 32 == 0xFFFF_FFFF && low >= ReturnValue.vendorDefined ? low : value
    }
}

// MARK: - Text

extension FailureTable {
    private func parse(_ text: String) throws(FailureTableError) -> [Override] {
        var parsed: [Override] = []
        var number = 0
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            number += 1
            guard line.utf8.count <= Limits.lineBytes else { throw .lineTooLong(line: number) }
            let content = Self.trimmed(line.prefix { $0 != "#" })
            guard !content.isEmpty else { continue }
            let override = try parse(content, line: number)
            guard !parsed.contains(where: { $0.returnValue == override.returnValue }) else {
                throw .duplicateValue(line: number)
            }
            guard parsed.count < Limits.overrides else { throw .tooManyOverrides }
            parsed.append(override)
        }
        return parsed
    }

    private func parse(
        _ content: Substring, line: Int
    ) throws(FailureTableError) -> Override {
        let parts = content.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw .malformedLine(line: line) }
        let name = String(Self.trimmed(parts[0]))
        let className = String(Self.trimmed(parts[1]))
        guard let value = Self.returnValue(name) else { throw .unknownValue(name, line: line) }
        guard let failureClass = FailureClass(rawValue: className) else {
            throw .unknownClass(className, line: line)
        }
        guard value != ReturnValue.ok else { throw .successCannotFail(line: line) }
        // A rejected PIN that counted as anything else would be tried until the token locks.
        guard classify(value)?.failureClass != .credential || failureClass == .credential else {
            throw .credentialIsFixed(line: line)
        }
        return Override(returnValue: value, failureClass: failureClass)
    }

    private static func returnValue(_ name: String) -> UInt? {
        if name == "CKR_OK" { return ReturnValue.ok }
        guard name.hasPrefix("0x") || name.hasPrefix("0X") else { return ReturnValue.value(named: name) }
        let digits = name.dropFirst(2)
        guard digits.first != "+", digits.first != "-" else { return nil }
        return UInt(digits, radix: 16).map(normalized)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}

/// Why a table of overrides can't be read. Lines count from 1.
public enum FailureTableError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No table has this vendor name.
    case unknownVendor(String)
    /// The line is not `VALUE = CLASS`.
    case malformedLine(line: Int)
    /// The value is neither hexadecimal nor the name of a standard return value.
    case unknownValue(String, line: Int)
    /// The class is none of the six.
    case unknownClass(String, line: Int)
    /// Two lines speak of the same value.
    case duplicateValue(line: Int)
    /// CKR_OK is no failure.
    case successCannotFail(line: Int)
    /// What the standard or the vendor's table calls `credential` stays so.
    case credentialIsFixed(line: Int)
    /// The line has more than `FailureTable.Limits.lineBytes` bytes.
    case lineTooLong(line: Int)
    /// More than `FailureTable.Limits.overrides` overrides.
    case tooManyOverrides

    /// What to change.
    public var description: String {
        let classes = FailureClass.allCases.map(\.rawValue).joined(separator: ", ")
        return switch self {
        case .unknownVendor(let name):
            "no failure table for vendor '\(name)'; use one of: \(FailureTable.vendors.joined(separator: ", "))"
        case .malformedLine(let line):
            "line \(line): write VALUE = CLASS, such as 0x80000018 = capacity"
        case .unknownValue(let name, let line):
            "line \(line): '\(name)' is no return value; write hexadecimal such as 0x80000018, or a CKR_ name"
        case .unknownClass(let name, let line):
            "line \(line): '\(name)' is no class; use one of: \(classes)"
        case .duplicateValue(let line):
            "line \(line): this return value has a class already; remove one of the lines"
        case .successCannotFail(let line):
            "line \(line): CKR_OK means success; remove the line"
        case .credentialIsFixed(let line):
            "line \(line): this value means a rejected PIN and stays 'credential', so that no PIN is tried again"
        case .lineTooLong(let line):
            "line \(line): longer than \(FailureTable.Limits.lineBytes) bytes; move the comment to lines of its own"
        case .tooManyOverrides:
            "more than \(FailureTable.Limits.overrides) overrides; remove some"
        }
    }
}
