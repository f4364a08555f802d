"""Steps and edges: the order of steps, cycles, and the stages in which they are loaded; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from distilmq.errors import DistilmqUserError

_STAGES_PAGE = "reference/pipeline.md"


class Graph:
    """A directed graph without cycles; everything comes out in the order in which it was put in."""

    def __init__(self) -> None:
        self._successors: dict[str, list[str]] = {}
        self._predecessors: dict[str, list[str]] = {}

    def __contains__(self, step: object) -> bool:
        return step in self._successors

    def __iter__(self) -> Iterator[str]:
        return iter(self._successors)

    def __len__(self) -> int:
        return len(self._successors)

    def add(self, step: str) -> None:
        """Adds a step without edges.

        Raises:
            DistilmqUserError: there is a step of that name.
        """
        if step in self:
            raise DistilmqUserError(f"Step with name '{step}' already exists: give one of the two another `name`.")
        self._successors[step] = []
        self._predecessors[step] = []

    def connect(self, source: str, target: str) -> None:
        """Adds an edge.

        Raises:
            DistilmqUserError: one of the steps is unknown, the edge is there already, or it closes a cycle.
        """
        for step in (source, target):
            if step not in self:
                raise DistilmqUserError(f"Step with name '{step}' does not exist in this pipeline.")
        if target in self._successors[source]:
            raise DistilmqUserError(f"There is already a edge from '{source}' to '{target}'.")
        if source == target or source in self.descendants(target):
            raise DistilmqUserError(f"Cannot add edge from '{source}' to '{target}' as it would create a cycle.")
        self._successors[source].append(target)
        self._predecessors[target].append(source)

    def remove(self, step: str) -> None:
        """Takes a step out, with its edges."""
        for target in self._successors.pop(step):
            self._predecessors[target].remove(step)
        for source in self._predecessors.pop(step):
            self._successors[source].remove(step)

    def copy(self) -> Graph:
        """A graph that can be changed without changing this one."""
        other = Graph()
        other._successors = {step: list(targets) for step, targets in self._successors.items()}
        other._predecessors = {step: list(sources) for step, sources in self._predecessors.items()}
        return other

    def predecessors(self, step: str) -> list[str]:
        """The steps before this one, in the order in which they were connected."""
        return list(self._predecessors[step])

    def successors(self, step: str) -> list[str]:
        """The steps behind this one, in the order in which they were connected."""
        return list(self._successors[step])

    def ancestors(self, step: str) -> list[str]:
        """Everything this step's input passes through, nearest first."""
        return _reach(step, self._predecessors)

    def descendants(self, step: str) -> list[str]:
        """Everything this step's output passes through, nearest first."""
        return _reach(step, self._successors)

    @property
    def roots(self) -> list[str]:
        """The steps that nothing comes before."""
        return [step for step in self if not self._predecessors[step]]

    @property
    def leaves(self) -> list[str]:
        """The steps that nothing follows."""
        return [step for step in self if not self._successors[step]]

    def order(self) -> list[str]:
        """The steps, each behind its predecessors; otherwise in the order in which they were added."""
        ordered: dict[str, None] = {}
        for step in self:
            self._visit(step, ordered)
        return list(ordered)

    def _visit(self, step: str, ordered: dict[str, None]) -> None:
        pending = [step]
        while pending:
            current = pending[-1]
            missing = [source for source in self._predecessors[current] if source not in ordered]
            if missing:
                pending.append(missing[0])
            else:
                ordered[pending.pop()] = None

    def edges(self) -> list[tuple[str, str]]:
        """Every edge, by the order of its source."""
        return [(source, target) for source in self for target in self._successors[source]]

    def levels(self) -> dict[str, int]:
        """How many steps lie on the longest way to each step."""
        levels: dict[str, int] = {}
        for step in self.order():
            levels[step] = max((levels[source] + 1 for source in self._predecessors[step]), default=0)
        return levels


def load_stages(
    graph: Graph, *, global_steps: Collection[str], groups: Sequence[Sequence[str]] = ()
) -> list[list[str]]:
    """The steps that are loaded together, stage by stage.

    By default all are, except that each global step has a stage of its own, behind everything it takes its
    rows from. A load group is a stage of its own as well.

    Raises:
        DistilmqUserError: a load group cannot be loaded as asked.
    """
    _check_groups(graph, groups, global_steps)
    grouped = {step for group in groups for step in group}
    isolated = [list(group) for group in groups]
    isolated += [[step] for step in graph if step in global_steps and step not in grouped]
    free = [step for step in graph.order() if step not in grouped and step not in global_steps]
    return _place(graph, free, isolated)


def sequential_stages(graph: Graph) -> list[list[str]]:
    """One stage for each step."""
    return [[step] for step in graph.order()]


def last_steps(graph: Graph, stage: Collection[str]) -> list[str]:
    """The steps of a stage that no other step of it follows."""
    return [step for step in stage if not any(target in stage for target in graph.successors(step))]


def _place(graph: Graph, free: list[str], isolated: list[list[str]]) -> list[list[str]]:
    rank = {step: place for place, step in enumerate(graph.order())}
    isolated = sorted((sorted(group, key=rank.__getitem__) for group in isolated), key=lambda group: rank[group[0]])
    stages: list[list[str]] = []
    placed: set[str] = set()
    while free or isolated:
        stage = _loadable(graph, free, placed)
        if not stage:
            stage = next((group for group in isolated if _ready(graph, group, placed)), None)
            if stage is None:
                raise DistilmqUserError(
                    f"The load groups {isolated} wait for each other: steps of one take rows from the other, both ways."
                    " Split one of them.",
                    page=_STAGES_PAGE,
                )
            isolated.remove(stage)
        placed.update(stage)
        free = [step for step in free if step not in placed]
        stages.append(stage)
    return stages


def _loadable(graph: Graph, free: Iterable[str], placed: Collection[str]) -> list[str]:
    stage: list[str] = []
    for step in free:
        if all(source in placed or source in stage for source in graph.predecessors(step)):
            stage.append(step)
    return stage


def _ready(graph: Graph, group: Collection[str], placed: Collection[str]) -> bool:
    return all(source in placed or source in group for step in group for source in graph.predecessors(step))


def _check_groups(graph: Graph, groups: Sequence[Sequence[str]], global_steps: Collection[str]) -> None:
    seen: set[str] = set()
    for number, group in enumerate(groups):
        for step in group:
            if step not in graph:
                raise DistilmqUserError(
                    f"Step with name '{step}' included in group {number} of the `load_groups` is not an step included"
                    f" in the pipeline. Its steps are: {', '.join(graph)}.",
                    page=_STAGES_PAGE,
                )
            if step in seen:
                raise DistilmqUserError(
                    f"Step with name '{step}' in load group {number} has already been included in a previous load"
                    " group. Name it in one of them only.",
                    page=_STAGES_PAGE,
                )
            seen.add(step)
            if step in global_steps and len(group) > 1:
                raise DistilmqUserError(
                    f"Global step '{step}' has been included in a load group along more steps. It takes all rows at"
                    " once and is loaded alone: take it out of the group.",
                    page=_STAGES_PAGE,
                )
            _check_neighbours(graph, step, group)


def _check_neighbours(graph: Graph, step: str, group: Sequence[str]) -> None:
    for source in graph.predecessors(step):
        if source in group:
            continue
        far = next((ancestor for ancestor in graph.ancestors(source) if ancestor in group), None)
        if far is not None:
            raise DistilmqUserError(
                f"Step with name '{step}' cannot be in the same load group as the step with name '{far}'."
                f" '{far}' is not an immediate predecessor of '{step}': '{source}' lies between them and would have"
                " to be loaded at the same time. Add it to the group.",
                page=_STAGES_PAGE,
            )


def _reach(step: str, edges: dict[str, list[str]]) -> list[str]:
    reached: dict[str, None] = {}
    pending = list(edges[step])
    for current in pending:
        if current not in reached:
            reached[current] = None
            pending.extend(edges[current])
    return list(reached)
