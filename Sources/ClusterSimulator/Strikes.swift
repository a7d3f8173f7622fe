// What strikes the cluster during the safety phase. The swarm says which strikes a run knows; the pause
// between two is drawn each time, so that some come together.

extension Simulation {
    func planStrike() {
        plan(after: dice.between(0, 2 * min(swarm.strikePause, swarm.safetyPhase / 4)), "strike") {
            simulation in
            guard simulation.isFaulty else { return }
            simulation.strike(simulation.dice.pick(simulation.swarm.strikes))
            simulation.planStrike()
        }
    }

    private func strike(_ strike: Strike) {
        count("strike \(strike)")
        let number = dice.below(nodes.count)
        let other = (number + 1 + dice.below(max(nodes.count - 1, 1))) % nodes.count
        let endpoint = dice.below(tokens.count)
        let short = dice.between(50_000, 2_000_000)
        let long = dice.between(500_000, 20_000_000)
        let length = dice.chance(0.5) ? short : long
        switch strike {
        case .crash:
            crash(number, restartAfter: length)
        case .crashAll:
            for number in nodes.indices { crash(number, restartAfter: dice.between(50_000, 5_000_000)) }
        case .pause:
            pause(number, for: length)
        case .isolateNode:
            cut(everyPair { ($0 == number) != ($1 == number) }, for: length)
        case .splitCluster:
            let side = nodes.indices.map { _ in dice.chance(0.5) }
            cut(everyPair { side[$0] != side[$1] }, for: length)
        case .cutOneWay:
            cut(everyPair { from, _ in from == number }, for: length)
        case .cutOnePair:
            if number != other { cut([(number, other), (other, number)], for: length) }
        case .clogLink:
            if number != other {
                network.cloggedUntil[network.slot(number, other)] = now + min(length, 5_000_000)
            }
        case .resetLink:
            if number != other { disconnect(number, other) }
        case .tokenAway:
            takeAway(endpoint, for: length, replaced: false)
        case .tokenReplaced:
            takeAway(endpoint, for: length, replaced: true)
        case .killTokenHost:
            killHost(number, endpoint)
        case .diskStall:
            nodes[number].disk.stalledUntil = now + min(length, 8_000_000)
        }
        note("strike \(strike), node \(number + 1), for \(length / 1_000) ms")
    }

    private func everyPair(_ isHit: (Int, Int) -> Bool) -> [(Int, Int)] {
        var pairs: [(Int, Int)] = []
        for from in nodes.indices {
            for to in nodes.indices where from != to && isHit(from, to) { pairs.append((from, to)) }
        }
        return pairs
    }
}
