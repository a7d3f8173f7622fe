// Decides whether a history of concurrent operations could have come about one operation at a time, each
// between its call and its answer. The search is that of Wing & Gong ("Testing and Verifying Concurrent
// Objects", JPDC 1993) with Lowe's memory of configurations that were visited before ("Testing for
// linearizability", 2017) and his list from which operations are taken out and put back; Porcupine made the
// same known. An operation without an answer has no end: it stays a candidate for ever, and the search is
// over when all those with an answer are placed. Two reductions of ours keep histories with many unknown
// ends cheap: a query that fits now can be placed at once, since whatever order exists with it later exists
// with it now (a write that happens to change nothing now is another matter: later it may be needed for what it
// changes); and the model may say that a state is a dead end.

/// Checks histories against a model. A value without state; may be used from any thread.
public struct LinearizabilityChecker<Model: SequentialModel> {
    /// An operation of a history that this checks.
    public typealias Operation = HistoryOperation<Model.Input, Model.Output>

    /// How the thing behaves.
    public var model: Model
    /// How many times the model may be asked for a step before a check gives up.
    public var limit: Int

    /// A checker for the model. Deciding is NP-complete, hence the bound.
    public init(_ model: Model, limit: Int = 1_000_000) {
        self.model = model
        self.limit = limit
    }

    /// Whether the operations, in any order in the array, can have happened one at a time.
    public func check(_ history: [Operation]) -> LinearizabilityVerdict {
        var search = Search(model, history, limit: limit)
        return search.run()
    }

    /// Checks each part on its own. Right only where operations of different parts never touch the same thing:
    /// then the whole is linearizable exactly when every part is (Herlihy & Wing, theorem 1).
    /// - Returns: the first part in which something is wrong, or else the first that is undecided, or else an
    ///   order of each part after another, which need not be one of the whole.
    public func check<Part: Hashable>(
        _ history: [Operation], partitionedBy part: (Model.Input) -> Part
    ) -> LinearizabilityVerdict {
        var numbers: [Part: Int] = [:]
        var parts: [[Int]] = []
        for position in history.indices {
            let name = part(history[position].input)
            let number = numbers[name] ?? parts.count
            if number == parts.count {
                numbers[name] = number
                parts.append([])
            }
            parts[number].append(position)
        }
        var isUndecided = false
        var order: [Int] = []
        for positions in parts {
            switch check(positions.map { history[$0] }) {
            case .linearizable(let found): order += found.map { positions[$0] }
            case .illegal(let longest, let stuck):
                return .illegal(longest: longest.map { positions[$0] }, stuck: positions[stuck])
            case .undecided: isUndecided = true
            }
        }
        return isUndecided ? .undecided : .linearizable(order: order)
    }
}

/// One check under way.
private struct Search<Model: SequentialModel> {
    typealias Operation = HistoryOperation<Model.Input, Model.Output>

    private let model: Model
    private let history: [Operation]
    private var stepsLeft: Int

    /// Calls and answers by time, and the calls of operations that have no answer.
    private var events = EventList()
    private var unanswered = EventList()
    private var callEvents: [Int]
    private var answerEvents: [Int]
    private var answeredLeft = 0

    private var state: Model.State
    private var placed: PositionSet
    private var visited: Set<Configuration> = []
    private var stack: [Placement] = []
    private var longest: (answered: Int, order: [Int], stuck: Int)?

    private struct Configuration: Hashable {
        var placed: PositionSet
        var state: Model.State
    }

    private struct Placement {
        var position: Int
        var stateBefore: Model.State
        /// There is no need to try anything else instead.
        var isSettled: Bool
    }

    init(_ model: Model, _ history: [Operation], limit: Int) {
        self.model = model
        self.history = history
        stepsLeft = limit
        state = model.initialState
        placed = PositionSet(count: history.count)
        callEvents = Array(repeating: 0, count: history.count)
        answerEvents = callEvents
        var times: [(time: Int64, isAnswer: Bool, position: Int)] = []
        for (position, operation) in history.enumerated() {
            times.append((operation.called, false, position))
            guard case .answered(_, let end) = operation.outcome else { continue }
            precondition(end >= operation.called, "an operation was answered before it was called")
            times.append((end, true, position))
            answeredLeft += 1
        }
        times.sort { left, right in
            if left.time != right.time { return left.time < right.time }
            if left.isAnswer != right.isAnswer { return right.isAnswer }
            return left.position < right.position
        }
        for event in times {
            if event.isAnswer {
                answerEvents[event.position] = events.append(event.position, event.time, isAnswer: true)
            } else if case .answered = history[event.position].outcome {
                callEvents[event.position] = events.append(event.position, event.time, isAnswer: false)
            } else {
                callEvents[event.position] = unanswered.append(event.position, event.time, isAnswer: false)
            }
        }
    }

    /// Where the search for the next operation to place stands: first among those with an answer.
    private enum Cursor {
        case answered(Int)
        case unanswered(Int)
    }

    mutating func run() -> LinearizabilityVerdict {
        var cursor = Cursor.answered(events.first)
        // When the first answer comes, its operation must have happened; only what was called before can be next.
        var isDeadEnd = false
        while answeredLeft > 0 {
            guard stepsLeft > 0 else { return .undecided }
            if let position = isDeadEnd ? nil : candidate(&cursor) {
                if place(position) {
                    cursor = .answered(events.first)
                    isDeadEnd = answeredLeft > 0 && !canGoOn()
                }
            } else {
                rememberLongest()
                guard let position = takeBack() else { break }
                isDeadEnd = false
                cursor = next(after: position)
            }
        }
        if answeredLeft == 0 { return .linearizable(order: stack.map(\.position)) }
        return .illegal(longest: longest?.order ?? [], stuck: longest?.stuck ?? 0)
    }

    /// The next operation that could happen now, moving the cursor past it.
    private func candidate(_ cursor: inout Cursor) -> Int? {
        if case .answered(let event) = cursor {
            if !events.isAnswer(event) {
                cursor = .answered(events.next(event))
                return events.position(event)
            }
            cursor = .unanswered(unanswered.first)
        }
        guard case .unanswered(let event) = cursor, event != EventList.end,
            unanswered.time(event) <= events.time(firstAnswer)
        else {
            return nil
        }
        cursor = .unanswered(unanswered.next(event))
        return unanswered.position(event)
    }

    private func next(after position: Int) -> Cursor {
        if case .answered = history[position].outcome {
            return .answered(events.next(callEvents[position]))
        }
        return .unanswered(unanswered.next(callEvents[position]))
    }

    /// The first answer among the operations that are left; there is one while `answeredLeft` is not 0.
    private var firstAnswer: Int {
        var event = events.first
        while !events.isAnswer(event) { event = events.next(event) }
        return event
    }

    private func canGoOn() -> Bool {
        let position = events.position(firstAnswer)
        guard case .answered(let output, _) = history[position].outcome else { return true }
        return model.mayLead(from: state, to: history[position].input, output)
    }

    private mutating func place(_ position: Int) -> Bool {
        stepsLeft -= 1
        let operation = history[position]
        var output: Model.Output?
        if case .answered(let answer, _) = operation.outcome { output = answer }
        guard let next = model.step(state, operation.input, output) else { return false }
        // To assume that something happened which changes nothing, and that nobody saw, never helps.
        if output == nil, next == state { return false }
        let isSettled = output.map { model.isQuery(operation.input, $0) } ?? false
        placed.insert(position)
        if !isSettled, !visited.insert(Configuration(placed: placed, state: next)).inserted {
            placed.remove(position)
            return false
        }
        stack.append(Placement(position: position, stateBefore: state, isSettled: isSettled))
        state = next
        if output == nil {
            unanswered.takeOut(callEvents[position])
        } else {
            events.takeOut(callEvents[position])
            events.takeOut(answerEvents[position])
            answeredLeft -= 1
        }
        return true
    }

    /// Takes back the last placement for which there may be an alternative.
    private mutating func takeBack() -> Int? {
        while let last = stack.popLast() {
            state = last.stateBefore
            placed.remove(last.position)
            if case .answered = history[last.position].outcome {
                events.putBack(answerEvents[last.position])
                events.putBack(callEvents[last.position])
                answeredLeft += 1
            } else {
                unanswered.putBack(callEvents[last.position])
            }
            if !last.isSettled { return last.position }
        }
        return nil
    }

    private mutating func rememberLongest() {
        let answered = -answeredLeft
        if let longest, longest.answered >= answered { return }
        longest = (answered, stack.map(\.position), events.position(firstAnswer))
    }
}

/// Events in the order of time, doubly linked, so that what is taken out can be put back in reverse order.
private struct EventList {
    /// Stands before the first and after the last event.
    static let end = 0

    private var events: [(position: Int, time: Int64, isAnswer: Bool)] = [(0, .max, true)]
    private var nexts = [0]
    private var previouses = [0]

    var first: Int { nexts[Self.end] }

    mutating func append(_ position: Int, _ time: Int64, isAnswer: Bool) -> Int {
        let event = events.count
        let last = previouses[Self.end]
        events.append((position, time, isAnswer))
        nexts.append(Self.end)
        previouses.append(last)
        nexts[last] = event
        previouses[Self.end] = event
        return event
    }

    func next(_ event: Int) -> Int { nexts[event] }
    func position(_ event: Int) -> Int { events[event].position }
    func time(_ event: Int) -> Int64 { events[event].time }
    func isAnswer(_ event: Int) -> Bool { events[event].isAnswer }

    mutating func takeOut(_ event: Int) {
        nexts[previouses[event]] = nexts[event]
        previouses[nexts[event]] = previouses[event]
    }

    mutating func putBack(_ event: Int) {
        nexts[previouses[event]] = event
        previouses[nexts[event]] = event
    }
}

/// A set of small numbers.
private struct PositionSet: Hashable {
    private var words: [UInt64]

    init(count: Int) { words = Array(repeating: 0, count: (count + 63) / 64) }

    mutating func insert(_ position: Int) { words[position / 64] |= 1 << UInt64(position % 64) }
    mutating func remove(_ position: Int) { words[position / 64] &= ~(1 << UInt64(position % 64)) }
}
