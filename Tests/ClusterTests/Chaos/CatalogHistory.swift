import Foundation

// Decides whether what the clients saw can have come from one catalog that does one thing after another
// (linearizability; Herlihy and Wing, 1990). General checkers such as Porcupine search; here the object is a
// set that only grows and whose reads return all of it, so the answer is exact without a search: each read tells
// which generations come before it and which after, real time orders what didn't overlap, and the history is
// linearizable exactly when these orders together have no cycle. A generation whose outcome nobody knows may
// happen at any later time, or never.

/// What clients asked and heard. Times are nanoseconds of one clock.
struct CatalogHistory: Sendable, Codable {
    struct Operation: Sendable, Codable {
        enum Kind: Sendable, Codable, Equatable {
            /// A key for a request id; its label once it is known.
            case generate(request: String, label: String?)
            /// All usable keys: labels by request id.
            case read([String: String])
        }
        var client: Int
        var kind: Kind
        var began: Int64
        /// `Int64.max` while the outcome is unknown.
        var ended: Int64
    }

    var operations: [Operation] = []
    /// Requests that were told to have failed for good.
    var failedRequests: [String] = []

    /// The first thing found that no linearizable catalog shows; nil when all is well.
    var violation: String? { valueViolation ?? orderViolation }

    private var valueViolation: String? {
        var labels: [String: String] = [:]
        var requests: [String: String] = [:]
        let asked = Set(
            operations.compactMap { if case .generate(let request, _) = $0.kind { request } else { nil } })
        let failed = Set(failedRequests)
        func note(_ request: String, _ label: String) -> String? {
            if let known = labels[request], known != label {
                return "request \(request) has both \(known) and \(label)"
            }
            if let other = requests[label], other != request {
                return "\(label) belongs to requests \(other) and \(request)"
            }
            labels[request] = label
            requests[label] = request
            return nil
        }
        for operation in operations {
            switch operation.kind {
            case .generate(let request, let label?):
                if let found = note(request, label) { return found }
            case .generate: break
            case .read(let keys):
                for (request, label) in keys.sorted(by: { $0.key < $1.key }) {
                    if let found = note(request, label) { return found }
                    if !asked.contains(request) { return "\(label) was asked for by nobody (\(request))" }
                    if failed.contains(request) {
                        return "\(label) is usable, but \(request) was told it failed"
                    }
                }
            }
        }
        return nil
    }

    private var orderViolation: String? {
        // Edges: earlier → later. Kahn's algorithm; what is left when nothing is free any more is a cycle.
        let count = operations.count
        var later: [[Int]] = Array(repeating: [], count: count)
        var earlierCount = Array(repeating: 0, count: count)
        func edge(_ from: Int, _ to: Int) {
            later[from].append(to)
            earlierCount[to] += 1
        }
        for (index, one) in operations.enumerated() {
            for (other, two) in operations.enumerated() where index != other {
                if one.ended < two.began { edge(index, other) }
                guard case .read(let keys) = one.kind else { continue }
                switch two.kind {
                case .generate(let request, _):
                    if keys[request] != nil { edge(other, index) } else { edge(index, other) }
                case .read(let others):
                    if keys.count < others.count { edge(index, other) }
                }
            }
        }
        var free = operations.indices.filter { earlierCount[$0] == 0 }
        var done = 0
        while let next = free.popLast() {
            done += 1
            for index in later[next] {
                earlierCount[index] -= 1
                if earlierCount[index] == 0 { free.append(index) }
            }
        }
        guard done < count else { return nil }
        let stuck = operations.indices.filter { earlierCount[$0] > 0 }.prefix(6).map { operations[$0].text }
        return "no order explains: " + stuck.joined(separator: "; ")
    }
}

extension CatalogHistory.Operation {
    fileprivate var text: String {
        let span =
            "client \(client), \(began / 1_000_000) to \(ended == .max ? "?" : "\(ended / 1_000_000)") ms"
        return switch kind {
        case .generate(let request, let label): "generate \(request) → \(label ?? "?") (\(span))"
        case .read(let keys): "read of \(keys.count) keys (\(span))"
        }
    }
}
