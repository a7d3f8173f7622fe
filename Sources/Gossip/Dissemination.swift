// News that still has to be passed on. SWIM (§4.1) sends each item λ·log n times and prefers the items that
// were sent least, which spreads it to everyone with high probability and then falls silent. Items are keyed
// by what they are about: newer news about the same thing replaces the older.

/// A bounded set of keys, each to be sent a limited number of times.
struct Dissemination<Key: Hashable & Comparable & Sendable>: Sendable, Hashable {
    private struct Item: Sendable, Hashable {
        let key: Key
        var sent = 0
        var budget: Int
        var isUrgent: Bool

        func comes(before other: Item) -> Bool {
            sent == other.sent ? key < other.key : sent < other.sent
        }
    }

    /// Those sent least come first; of these, the lower key.
    private var items: [Item] = []
    private var urgentCount = 0

    /// True when some item should not wait for a ping to carry it.
    var hasUrgent: Bool { urgentCount > 0 }

    /// How many items are waiting.
    var count: Int { items.count }

    /// True when nothing is waiting.
    var isEmpty: Bool { items.isEmpty }

    /// Sends `key` another `budget` times, forgetting how often it was sent before.
    mutating func add(_ key: Key, budget: Int, isUrgent: Bool) {
        removeAll { $0 == key }
        guard budget > 0 else { return }
        insert(Item(key: key, budget: budget, isUrgent: isUrgent))
    }

    /// Forgets every key that `isUnwanted`.
    mutating func removeAll(where isUnwanted: (Key) -> Bool) {
        for index in items.indices.reversed() where isUnwanted(items[index].key) { _ = remove(at: index) }
    }

    /// Leaves all items to the pings: nobody is there who could take them now.
    mutating func becomePatient() {
        for index in items.indices { items[index].isUrgent = false }
        urgentCount = 0
    }

    /// At most `limit` keys that are `eligible`, those sent least first. Each counts as sent once more; one
    /// that was sent as often as it should is forgotten.
    mutating func take(_ limit: Int, where eligible: (Key) -> Bool) -> [Key] {
        var chosen: [Item] = []
        var index = 0
        while index < items.count, chosen.count < limit {
            if eligible(items[index].key) { chosen.append(remove(at: index)) } else { index += 1 }
        }
        for var item in chosen where item.sent + 1 < item.budget {
            item.sent += 1
            insert(item)
        }
        return chosen.map(\.key)
    }

    private mutating func remove(at index: Int) -> Item {
        let item = items.remove(at: index)
        if item.isUrgent { urgentCount -= 1 }
        return item
    }

    private mutating func insert(_ item: Item) {
        var low = 0
        var high = items.count
        while low < high {
            let middle = (low + high) / 2
            if items[middle].comes(before: item) { low = middle + 1 } else { high = middle }
        }
        items.insert(item, at: low)
        if item.isUrgent { urgentCount += 1 }
    }
}
