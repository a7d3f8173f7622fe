internal import CCryptoki
internal import OperationWire
internal import Synchronization

// A session object lives in one token host, and dies with it. So the provider remembers how it was made: a derived key
// is derived again, an unwrapped one unwrapped again, on whichever endpoint it is needed next. Only a generated key
// cannot be made twice; it is lost with its endpoint.

/// A key as an operation names it.
enum KeySource: Sendable {
    /// A key of the cluster, by its number.
    case token(UInt64)
    /// A session object.
    case session(SessionObject)
}

/// How to make a session object.
enum Recipe: Sendable {
    case derive(base: KeySource, FlatMechanism, template: [WireAttribute])
    case unwrap(unwrappingKey: KeySource, FlatMechanism, wrapped: [UInt8], template: [WireAttribute])
    case create(template: [WireAttribute])
    case copy(KeySource, template: [WireAttribute])
    /// Made by chance: it exists once.
    case generated

    var sources: [KeySource] {
        switch self {
        case .derive(let base, let mechanism, _): [base] + mechanism.sources
        case .unwrap(let unwrappingKey, let mechanism, _, _): [unwrappingKey] + mechanism.sources
        case .copy(let source, _): [source]
        case .create, .generated: []
        }
    }

    /// The operation that makes the object, given what the sources are called there.
    func operation(_ references: [ObjectReference]) -> Operation? {
        switch self {
        case .derive(_, let mechanism, let template):
            .derive(base: references[0], mechanism.wire(references.dropFirst()), template: template)
        case .unwrap(_, let mechanism, let wrapped, let template):
            .unwrap(
                unwrappingKey: references[0], mechanism.wire(references.dropFirst()), wrapped: wrapped,
                template: template)
        case .create(let template): .createObject(template: template)
        case .copy(_, let template): .copyObject(references[0], template: template)
        case .generated: nil
        }
    }
}

/// A mechanism whose parameter may name a key, which has another name on each endpoint.
struct FlatMechanism: Sendable {
    var mechanism: WireMechanism
    /// The key in the parameter (CKM_CONCATENATE_BASE_AND_KEY).
    var key: KeySource?

    var sources: [KeySource] { key.map { [$0] } ?? [] }

    func wire(_ references: ArraySlice<ObjectReference>) -> WireMechanism {
        guard key != nil, let reference = references.first else { return mechanism }
        return WireMechanism(mechanism.type, .object(reference))
    }
}

/// A session object of this application.
final class SessionObject: Sendable {
    let handle: UInt64
    /// The session that made it: it dies with that one.
    let owner: UInt64
    let isPrivate: Bool
    /// The changes made since are part of it.
    let recipe: Mutex<Recipe>
    /// What it is called on the endpoints where it stands, by their names.
    let placements = Mutex<[String: ObjectReference]>([:])
    /// Attributes that were given when it was made, and those that follow from the function.
    let known: [WireAttribute]

    init(handle: UInt64, owner: UInt64, recipe: Recipe, known: [WireAttribute]) {
        self.handle = handle
        self.owner = owner
        self.recipe = Mutex(recipe)
        self.known = known
        isPrivate = known.first { $0.type == UInt64(CKA_PRIVATE) }?.isTrue ?? false
    }

    deinit { recipe.withLock { $0.wipe() } }

    /// True when it can be made anew on an endpoint where it does not stand.
    var canBeRemade: Bool {
        recipe.withLock { recipe in
            if case .generated = recipe { return false }
            return recipe.sources.allSatisfy { source in
                guard case .session(let object) = source else { return true }
                return object.canBeRemade
            }
        }
    }
}

extension WireAttribute {
    /// True for a CK_BBOOL that is CK_TRUE (anything but zero counts).
    var isTrue: Bool {
        guard case .bytes(let bytes) = value else { return false }
        return bytes.count == 1 && bytes[0] != 0
    }
}
