// A request id makes a command repeatable: whatever happened to the first attempt, the same id cannot do the
// same thing twice.

import ArgumentParser
import ClusterModel
import ManagementModel

extension Identifier128: ExpressibleByArgument {
    /// Reads a UUID.
    public init?(argument: String) { self.init(argument) }
}

struct RequestOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The UUID of an earlier attempt, to repeat it without doing the same thing twice.",
            valueName: "uuid"))
    var requestID: RequestID?

    /// The given id, or a new one.
    var idOrNew: RequestID {
        requestID ?? Self.fresh
    }

    /// A new id.
    static var fresh: RequestID {
        var generator = SystemRandomNumberGenerator()
        return .version4(using: &generator)
    }
}
