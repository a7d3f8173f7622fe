// Gathers what clients asked of a catalog and were told, and has it judged. It gives the unanswered effects
// (see CatalogModel) the numbers that anyone ever saw, so that the checker has not to guess: a request that
// nobody saw the end of can have had an effect that nobody saw, and needs no place in the order.

/// A history of requests to a catalog. A value; times are in any unit, the same for all.
public struct CatalogHistory: Sendable {
    /// How far a key is.
    public enum Stage: String, Hashable, Sendable, Codable {
        /// It has its number.
        case pending
        /// It can be used.
        case usable
        /// It was given up.
        case failed
    }

    /// A key as a reader is shown it.
    public struct Key: Hashable, Sendable {
        /// The request that made it.
        public var request: String
        /// Its label number.
        public var number: UInt64
        /// What else was asked for under the request, such as the algorithm.
        public var variant: String
        /// How far it is.
        public var stage: Stage

        /// Puts a key together.
        public init(request: String, number: UInt64, variant: String, stage: Stage) {
            self.request = request
            self.number = number
            self.variant = variant
            self.stage = stage
        }
    }

    /// How a request to generate ended.
    public enum GenerateOutcome: Hashable, Sendable {
        /// With this key, usable or failed.
        case key(Key)
        /// It was refused, since the request's identifier stands for another variant.
        case conflict
        /// Nobody knows, or it was refused in a way that says nothing about the catalog.
        case unknown
    }

    /// How a request to create a key store ended.
    public enum CreateOutcome: Hashable, Sendable {
        /// The store stands.
        case created
        /// It was refused, since another request made a store of this name.
        case nameTaken
        /// Nobody knows, or it was refused in a way that says nothing about the catalog.
        case unknown
    }

    /// What is wrong with a history.
    public struct Violation: Error, Hashable, Sendable, CustomStringConvertible {
        /// One sentence.
        public var description: String
    }

    /// What came of a check.
    public enum Verdict: Hashable, Sendable {
        /// There is an order that explains everything.
        case linearizable
        /// There is none.
        case illegal(Violation)
        /// The bound on the work was reached.
        case undecided
    }

    private enum Sight {
        case all(keyStores: [(name: String, request: String)], keys: [Key])
        case key(Key)
        case conflict(request: String, variant: String)
        case store(name: String, request: String)
        case nameTaken(name: String, request: String)
    }

    private struct Asked: Hashable {
        var subject: String
        var detail: String
    }

    private var sights: [(sight: Sight, called: Int64, answered: Int64)] = []
    private var generates: [Asked: Int64] = [:]
    private var creates: [Asked: Int64] = [:]

    /// A history without requests.
    public init() {}

    /// How many answers it holds.
    public var count: Int { sights.count }

    /// A client asked for a key. Asking again under the same request is another call of this.
    /// - Parameter answered: when it was answered; matters unless the outcome is unknown.
    public mutating func generate(
        request: String, variant: String, asked: Int64, answered: Int64, _ outcome: GenerateOutcome
    ) {
        let name = Asked(subject: request, detail: variant)
        generates[name] = min(generates[name] ?? asked, asked)
        switch outcome {
        case .key(let key): sights.append((.key(key), asked, answered))
        case .conflict: sights.append((.conflict(request: request, variant: variant), asked, answered))
        case .unknown: break
        }
    }

    /// A client asked for a key store.
    /// - Parameter answered: when it was answered; matters unless the outcome is unknown.
    public mutating func createKeyStore(
        name: String, request: String, asked: Int64, answered: Int64, _ outcome: CreateOutcome
    ) {
        let wanted = Asked(subject: name, detail: request)
        creates[wanted] = min(creates[wanted] ?? asked, asked)
        switch outcome {
        case .created: sights.append((.store(name: name, request: request), asked, answered))
        case .nameTaken: sights.append((.nameTaken(name: name, request: request), asked, answered))
        case .unknown: break
        }
    }

    /// A linearizable read was answered. Reads that may be stale have no place here.
    public mutating func read(
        asked: Int64, answered: Int64, keyStores: [(name: String, request: String)], keys: [Key]
    ) {
        sights.append((.all(keyStores: keyStores, keys: keys), asked, answered))
    }

    /// Whether an order of events explains all answers.
    /// - Parameter limit: bounds the work, in steps of the model.
    public func check(limit: Int = 1_000_000) -> Verdict {
        var names = Names()
        var seenKeys: [Key: Void] = [:]
        var keys: [Key] = []
        func note(_ key: Key) {
            if seenKeys.updateValue((), forKey: key) == nil { keys.append(key) }
        }
        for sight in sights {
            switch sight.sight {
            case .all(_, let shown): shown.forEach(note)
            case .key(let key): note(key)
            default: break
            }
        }
        var operations: [LinearizabilityChecker<CatalogModel>.Operation] = []
        // Events are tried in the order in which they stand here when they were asked for at the same time.
        let stores = creates.sorted { ($0.value, $0.key.subject) < ($1.value, $1.key.subject) }
        for (wanted, time) in stores {
            let input = CatalogModel.Input.create(name: names[wanted.subject], request: names[wanted.detail])
            operations.append(.init(input, called: time, .unknown))
        }
        var begun: Set<Key> = []
        var finished: Set<Key> = []
        for key in keys {
            guard let time = generates[Asked(subject: key.request, detail: key.variant)] else {
                return .illegal(Violation(description: "\(key.brief) was shown, which nobody asked for"))
            }
            let request = names[key.request]
            var bare = key
            bare.stage = .pending
            if begun.insert(bare).inserted {
                let begin = CatalogModel.Input.begin(
                    request: request, variant: names[key.variant], number: key.number)
                operations.append(.init(begin, called: time, .unknown))
            }
            if key.stage != .pending, finished.insert(key).inserted {
                operations.append(.init(.finish(request: request, key.stage), called: time, .unknown))
            }
        }
        let shown = Set(keys.map(\.request))
        let first = operations.count
        var kept: [Int] = []
        for (position, sight) in sights.enumerated() {
            // Nobody saw what the request stands for, or it stands for a key store: nothing is known to compare.
            if case .conflict(let request, _) = sight.sight, !shown.contains(request) { continue }
            let output = names.output(of: sight.sight)
            operations.append(.init(.look, called: sight.called, .answered(output, at: sight.answered)))
            kept.append(position)
        }
        switch LinearizabilityChecker(CatalogModel(), limit: limit).check(operations) {
        case .linearizable: return .linearizable
        case .undecided: return .undecided
        case .illegal(let longest, let stuck):
            let placed = longest.filter { $0 >= first }.count
            let sight = sights[kept[stuck - first]]
            return .illegal(
                Violation(
                    description:
                        "no order explains that \(brief(sight.sight)) was the answer to what was asked "
                        + "at \(sight.called) and answered at \(sight.answered), "
                        + "after \(placed) answers that can be explained"))
        }
    }

    private func brief(_ sight: Sight) -> String {
        switch sight {
        case .all(let keyStores, let keys):
            "\(keyStores.count) key stores and "
                + (keys.isEmpty ? "no keys" : keys.map(\.brief).joined(separator: ", "))
        case .key(let key): key.brief
        case .conflict(let request, let variant): "a conflict of \(request) with \(variant)"
        case .store(let name, _): "key store \(name)"
        case .nameTaken(let name, let request): "the name \(name) being taken by another than \(request)"
        }
    }

    /// Numbers for names, which compare faster.
    private struct Names {
        private var numbers: [String: Int] = [:]

        subscript(name: String) -> Int {
            mutating get {
                if let number = numbers[name] { return number }
                numbers[name] = numbers.count
                return numbers.count - 1
            }
        }

        mutating func output(of sight: Sight) -> CatalogModel.Output {
            switch sight {
            case .all(let keyStores, let keys):
                var state = CatalogModel.State()
                state.keyStores = keyStores.map { .init(name: self[$0.name], request: self[$0.request]) }
                    .sorted { $0.name < $1.name }
                state.keys = keys.map {
                    .init(
                        request: self[$0.request], number: $0.number, variant: self[$0.variant],
                        stage: $0.stage)
                }.sorted { $0.number < $1.number }
                return .all(state)
            case .key(let key):
                return .key(
                    request: self[key.request], number: key.number, variant: self[key.variant], key.stage)
            case .conflict(let request, let variant):
                return .otherVariant(request: self[request], than: self[variant])
            case .store(let name, let request):
                return .store(name: self[name], request: self[request])
            case .nameTaken(let name, let request):
                return .otherStore(name: self[name], than: self[request])
            }
        }
    }
}

extension CatalogHistory.Key {
    fileprivate var brief: String { "\(stage) key \(number) of \(request)" }
}
