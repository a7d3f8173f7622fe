import NodeCore

// Bugs that are planted on purpose, so that the checkers are themselves checked. Each changes what a node does
// on its way out or in; the nodes' own code knows nothing of it.

/// A bug to plant, by name.
public enum PlantedBug: String, CaseIterable, Sendable {
    /// What should be written is thrown away now and then, yet reported as durable.
    case droppedWrite = "dropped-write"

    func mangle(_ effects: inout NodeEffects, _ simulation: Simulation) {
        switch self {
        case .droppedWrite:
            for position in effects.persist.indices where simulation.dice.chance(0.05) {
                effects.persist[position].entries = []
            }
        }
    }
}
