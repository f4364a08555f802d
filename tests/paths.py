"""What the edges of a plan say, asked path by path: for the reference, which must not share code with the core."""

from functools import cache

from distilmq.protocol.plan import Plan


class Paths:
    """The paths of a plan's DAG."""

    def __init__(self, plan: Plan) -> None:
        self.before = {spec.name: spec.predecessors for spec in plan.steps}
        self.routed = [route.step for route in plan.routes if plan.successors(route.step)]
        self.leads, self.passes = cache(self._leads), cache(self._passes)
        self.forks: dict[str, str] = {}
        """Join to the last step that every path to each of its predecessors passes."""
        for spec in plan.steps:
            common = [one for one in self.before if all(self.passes(one, name) for name in spec.predecessors)]
            if spec.kind == "normal" and len(spec.predecessors) > 1 and common:
                self.forks[spec.name] = common[-1]

    def _leads(self, one: str, other: str) -> bool:
        """Whether some path to `other` passes `one`."""
        return one == other or any(self.leads(one, name) for name in self.before[other])

    def _passes(self, one: str, other: str) -> bool:
        """Whether every path to `other` passes `one`."""
        before = self.before[other]
        return one == other or (bool(before) and all(self.passes(one, name) for name in before))

    def walls(self, name: str) -> list[str]:
        """Routed steps above a step whose batches it must not mix, because a join below pairs their branches."""
        forks = [fork for join, fork in self.forks.items() if self.leads(name, join) and fork != name]
        over = [fork for fork in forks if self.passes(fork, name)]
        above = [step for step in self.routed if step != name and self.passes(step, name)]
        return [step for step in above if any(self.passes(fork, step) for fork in over)]
