// What a checker of histories has to know of the thing that was used: how one operation after another would
// change it, and what each would have answered (Herlihy & Wing, "Linearizability", TOPLAS 1990). A model is
// a pure function; the checker tries it in many orders.

/// How something behaves when one operation follows another.
public protocol SequentialModel {
    /// All that matters of the thing between two operations.
    associatedtype State: Hashable
    /// What a client asks.
    associatedtype Input
    /// What a client is answered.
    associatedtype Output

    /// The state before the first operation.
    var initialState: State { get }

    /// The state after an operation, or nil when it could not have been answered so in this state.
    /// Must always give the same for the same.
    /// - Parameter output: nil when nobody knows the answer; then every answer is possible.
    func step(_ state: State, _ input: Input, _ output: Output?) -> State?

    /// True when an operation with this answer leaves every state as it is in which it can be answered so. It only
    /// saves the checker time: false is always right, and the default.
    func isQuery(_ input: Input, _ output: Output) -> Bool

    /// False when no further operations can lead from the state to one in which `input` is answered with
    /// `output`. It only saves the checker time: true is always right, and the default.
    func mayLead(from state: State, to input: Input, _ output: Output) -> Bool
}

extension SequentialModel {
    /// False: nothing is known.
    public func isQuery(_ input: Input, _ output: Output) -> Bool { false }

    /// True: nothing is known.
    public func mayLead(from state: State, to input: Input, _ output: Output) -> Bool { true }
}

/// One operation as a client saw it.
public struct HistoryOperation<Input, Output> {
    /// What was asked.
    public var input: Input
    /// When it was asked, in any unit; it cannot have happened before.
    public var called: Int64
    /// How it ended.
    public var outcome: Outcome

    /// How an operation ended for the client.
    public enum Outcome {
        /// With an answer at a time, in the same unit; it cannot have happened later. An operation that is
        /// called at the very time at which another one is answered counts as concurrent with it.
        case answered(Output, at: Int64)
        /// Without: it may have happened at any time after the call, or may yet, or never.
        case unknown
    }

    /// Puts an operation together.
    public init(_ input: Input, called: Int64, _ outcome: Outcome) {
        self.input = input
        self.called = called
        self.outcome = outcome
    }
}

extension HistoryOperation: Sendable where Input: Sendable, Output: Sendable {}
extension HistoryOperation.Outcome: Sendable where Input: Sendable, Output: Sendable {}

/// What the checker makes of a history. Numbers are positions in the history.
public enum LinearizabilityVerdict: Hashable, Sendable {
    /// The operations can have happened one at a time in this order. Those without an answer that are not
    /// in it need not have happened.
    case linearizable(order: [Int])
    /// There is no such order. `longest` is the longest that was found; after it, the operation `stuck` (the
    /// one that was answered first of those left) can be placed nowhere.
    case illegal(longest: [Int], stuck: Int)
    /// The bound on the work was reached.
    case undecided
}
