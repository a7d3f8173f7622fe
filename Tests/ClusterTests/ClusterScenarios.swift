import Testing

// The scenarios run one after the other: each has a dozen processes, and elections on a crowded machine would
// tell nothing. They are grouped by what goes wrong; each test's name is the promise that it checks.

/// All cluster tests.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ClusterScenarios {}
