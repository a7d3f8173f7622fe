// The catalog as its clients see it: key stores that appear, and keys that appear with ever higher numbers and
// then become usable or are given up. A request and its effect are two things here. What happens to the catalog
// (a number is given out, a key becomes usable) happens some time after it was first asked for, whether or
// not the client hears of it; so it enters as operations without an answer. What clients are told is then
// nothing but a look at the catalog, which must fit at some moment between question and answer.

/// The sequential behaviour of the catalog. Names are numbers here; `CatalogHistory` hands them out.
public struct CatalogModel: SequentialModel {
    /// What of the catalog clients can see.
    public struct State: Hashable, Sendable {
        /// In the order of their names.
        var keyStores: [Store] = []
        /// In the order of their label numbers.
        var keys: [Key] = []
    }

    struct Store: Hashable, Sendable {
        var name: Int
        var request: Int
    }

    struct Key: Hashable, Sendable {
        var request: Int
        var number: UInt64
        var variant: Int
        var stage: CatalogHistory.Stage
    }

    /// What happens to the catalog, or is asked of it.
    public enum Input: Hashable, Sendable {
        /// A store appears, unless its name or request is taken.
        case create(name: Int, request: Int)
        /// A number is given out.
        case begin(request: Int, variant: Int, number: UInt64)
        /// A key becomes usable or is given up.
        case finish(request: Int, CatalogHistory.Stage)
        /// A client looks.
        case look
    }

    /// What a client is shown.
    public enum Output: Hashable, Sendable {
        /// Everything.
        case all(State)
        /// One key, which is as far as this.
        case key(request: Int, number: UInt64, variant: Int, CatalogHistory.Stage)
        /// That another kind of key stands under this request.
        case otherVariant(request: Int, than: Int)
        /// One store.
        case store(name: Int, request: Int)
        /// That another request made the store of this name.
        case otherStore(name: Int, than: Int)
    }

    /// Makes the model.
    public init() {}

    /// An empty catalog.
    public var initialState: State { State() }

    /// Carries out what happens; compares what is shown.
    public func step(_ state: State, _ input: Input, _ output: Output?) -> State? {
        var next = state
        switch input {
        case .create(let name, let request):
            guard !state.keyStores.contains(where: { $0.name == name || $0.request == request }) else {
                return nil
            }
            let place = state.keyStores.firstIndex { $0.name > name } ?? state.keyStores.count
            next.keyStores.insert(Store(name: name, request: request), at: place)
        case .begin(let request, let variant, let number):
            guard !state.keyStores.isEmpty, number > state.keys.last?.number ?? 0,
                !state.keys.contains(where: { $0.request == request })
            else {
                return nil
            }
            next.keys.append(Key(request: request, number: number, variant: variant, stage: .pending))
        case .finish(let request, let stage):
            guard let place = state.keys.firstIndex(where: { $0.request == request }),
                state.keys[place].stage == .pending
            else {
                return nil
            }
            next.keys[place].stage = stage
        case .look:
            if let output, !shows(state, output) { return nil }
        }
        return next
    }

    private func shows(_ state: State, _ output: Output) -> Bool {
        switch output {
        case .all(let shown): shown == state
        case .key(let request, let number, let variant, let stage):
            state.keys.contains(Key(request: request, number: number, variant: variant, stage: stage))
        case .otherVariant(let request, let variant):
            state.keys.contains { $0.request == request && $0.variant != variant }
        case .store(let name, let request):
            state.keyStores.contains(Store(name: name, request: request))
        case .otherStore(let name, let request):
            state.keyStores.contains { $0.name == name && $0.request != request }
        }
    }

    /// True for every look.
    public func isQuery(_ input: Input, _ output: Output) -> Bool { input == .look }

    /// A catalog only grows: it can become what was shown when it is a beginning of it.
    public func mayLead(from state: State, to input: Input, _ output: Output) -> Bool {
        switch output {
        case .all(let shown):
            guard state.keys.count <= shown.keys.count, state.keyStores.count <= shown.keyStores.count else {
                return false
            }
            for (key, later) in zip(state.keys, shown.keys) {
                guard key.number == later.number, key.request == later.request, key.variant == later.variant,
                    key.stage == .pending || key.stage == later.stage
                else {
                    return false
                }
            }
            return state.keyStores.allSatisfy(shown.keyStores.contains)
        case .key(let request, let number, let variant, let stage):
            guard let key = state.keys.last(where: { $0.request == request }) else {
                return number > state.keys.last?.number ?? 0
            }
            return key.number == number && key.variant == variant
                && (key.stage == .pending || key.stage == stage)
        case .store(let name, let request):
            return state.keyStores.allSatisfy { ($0.name == name) == ($0.request == request) }
        case .otherVariant(let request, let variant):
            return state.keys.allSatisfy { $0.request != request || $0.variant != variant }
        case .otherStore(let name, let request):
            return state.keyStores.allSatisfy { $0.name != name || $0.request != request }
        }
    }
}
