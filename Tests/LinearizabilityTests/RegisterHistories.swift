import Linearizability

// A register with compare-and-set: the smallest thing that shows all anomalies. And an oracle that decides by
// trying every order of every choice of unanswered operations.

/// A number that clients read and write.
struct RegisterModel: SequentialModel {
    enum Input: Hashable {
        case read
        case write(Int)
        case compareAndSet(Int, Int)
    }

    enum Output: Hashable {
        case value(Int)
        case done
        case unequal
    }

    var initialState: Int { 0 }

    func isQuery(_ input: Input, _ output: Output) -> Bool { input == .read || output == .unequal }

    func step(_ state: Int, _ input: Input, _ output: Output?) -> Int? {
        switch (input, output) {
        case (.read, .value(let value)): value == state ? state : nil
        case (.read, nil): state
        case (.write(let value), .done), (.write(let value), nil): value
        case (.compareAndSet(let old, let new), .done): old == state ? new : nil
        case (.compareAndSet(let old, _), .unequal): old == state ? nil : state
        case (.compareAndSet(let old, let new), nil): old == state ? new : state
        default: nil
        }
    }
}

typealias RegisterOperation = HistoryOperation<RegisterModel.Input, RegisterModel.Output>

/// Decides by brute force.
func oracle(_ history: [RegisterOperation]) -> Bool {
    let model = RegisterModel()
    func end(_ position: Int) -> Int64 {
        guard case .answered(_, let end) = history[position].outcome else { return .max }
        return end
    }
    func output(_ position: Int) -> RegisterModel.Output? {
        guard case .answered(let output, _) = history[position].outcome else { return nil }
        return output
    }
    func canFinish(_ state: Int, _ left: [Int]) -> Bool {
        if left.allSatisfy({ output($0) == nil }) { return true }
        let firstEnd = left.map(end).min() ?? .max
        for position in left where history[position].called <= firstEnd {
            let others = left.filter { $0 != position }
            if let next = model.step(state, history[position].input, output(position)),
                canFinish(next, others)
            {
                return true
            }
        }
        return false
    }
    return canFinish(0, Array(history.indices))
}

/// Whether an order is what the checker says it is: all answered operations, no time reversed, every answer right.
func isWitness(_ order: [Int], of history: [RegisterOperation]) -> Bool {
    guard Set(order).count == order.count else { return false }
    var state = 0
    var latestCall = Int64.min
    for position in order {
        let operation = history[position]
        var output: RegisterModel.Output?
        if case .answered(let answer, let end) = operation.outcome {
            output = answer
            guard latestCall <= end else { return false }
        }
        latestCall = max(latestCall, operation.called)
        guard let next = RegisterModel().step(state, operation.input, output) else { return false }
        state = next
    }
    return history.indices.allSatisfy { position in
        if case .unknown = history[position].outcome { return true }
        return order.contains(position)
    }
}
