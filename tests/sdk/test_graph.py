"""Steps and edges: order, cycles, stages, load groups."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.graph import Graph, last_steps, load_stages, sequential_stages


def graph_of(*chains: str) -> Graph:
    """A graph from chains such as `a>b>c`; steps are added in the order in which they are named."""
    graph = Graph()
    for chain in chains:
        names = chain.split(">")
        for name in names:
            if name not in graph:
                graph.add(name)
        for source, target in itertools.pairwise(names):
            graph.connect(source, target)
    return graph


def test_steps_come_behind_their_predecessors_and_otherwise_as_they_were_added() -> None:
    graph = graph_of("c>d", "a>b>d")

    assert graph.order() == ["c", "a", "b", "d"]


def test_neighbours_are_in_the_order_in_which_they_were_connected() -> None:
    graph = graph_of("a>c", "a>b", "b>d", "c>d")

    assert graph.successors("a") == ["c", "b"]
    assert graph.predecessors("d") == ["b", "c"]
    assert graph.ancestors("d") == ["b", "c", "a"]
    assert graph.descendants("a") == ["c", "b", "d"]
    assert (graph.roots, graph.leaves) == (["a"], ["d"])


def test_a_long_chain_is_ordered_without_recursion() -> None:
    names = [f"s{number}" for number in range(5000)]
    graph = Graph()
    for name in reversed(names):
        graph.add(name)
    for source, target in itertools.pairwise(names):
        graph._successors[source].append(target)  # connect looks for cycles each time
        graph._predecessors[target].append(source)

    assert graph.order() == names


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("a", "x", "Step with name 'x' does not exist"),
        ("x", "a", "Step with name 'x' does not exist"),
        ("a", "b", "There is already a edge from 'a' to 'b'"),
        ("c", "a", "Cannot add edge from 'c' to 'a' as it would create a cycle."),
        ("b", "b", "Cannot add edge from 'b' to 'b' as it would create a cycle."),
    ],
)
def test_an_edge_that_cannot_be_is_refused(source: str, target: str, words: str) -> None:
    graph = graph_of("a>b>c")

    with pytest.raises(ValueError, match=words):
        graph.connect(source, target)


def test_a_second_step_of_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="Step with name 'a' already exists"):
        graph_of("a").add("a")


def test_a_copy_changes_alone() -> None:
    graph = graph_of("a>b")
    copy = graph.copy()

    copy.add("c")
    copy.connect("b", "c")
    copy.remove("a")

    assert (graph.order(), copy.order(), copy.predecessors("b")) == (["a", "b"], ["b", "c"], [])


def test_without_global_steps_there_is_one_stage() -> None:
    assert load_stages(graph_of("a>b>d", "a>c>d"), global_steps=[]) == [["a", "b", "c", "d"]]


def test_a_global_step_has_its_own_stage_behind_what_it_takes() -> None:
    graph = graph_of("a>b>g>c", "a>d")

    stages = load_stages(graph, global_steps=["g"])

    assert stages == [["a", "b", "d"], ["g"], ["c"]]
    assert [last_steps(graph, stage) for stage in stages] == [["b", "d"], ["g"], ["c"]]


def test_global_steps_in_a_row_have_a_stage_each() -> None:
    assert load_stages(graph_of("a>g>h"), global_steps=["g", "h"]) == [["a"], ["g"], ["h"]]


def test_a_load_group_is_loaded_apart() -> None:
    graph = graph_of("a>b>d>e", "a>c>d")

    assert load_stages(graph, global_steps=[], groups=[["c", "b"]]) == [["a"], ["b", "c"], ["d", "e"]]
    assert load_stages(graph, global_steps=[], groups=[["d"], ["a"]]) == [["a"], ["b", "c"], ["d"], ["e"]]


def test_load_groups_are_not_changed() -> None:
    groups = [["c", "b"]]

    load_stages(graph_of("a>b>d", "a>c>d>g"), global_steps=["g"], groups=groups)

    assert groups == [["c", "b"]]


def test_one_after_the_other() -> None:
    assert sequential_stages(graph_of("a>b>d", "a>c>d")) == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([["a", "x"]], "Step with name 'x' included in group 0 of the `load_groups` is not an step included"),
        ([["b"], ["b"]], "Step with name 'b' in load group 1 has already been included in a previous load group"),
        ([["g", "b"]], "Global step 'g' has been included in a load group along more steps"),
        ([["a", "c"]], "Step with name 'c' cannot be in the same load group as the step with name 'a'"),
    ],
)
def test_a_load_group_that_cannot_be_is_refused(groups: list[list[str]], words: str) -> None:
    with pytest.raises(DistilmqUserError, match=words):
        load_stages(graph_of("a>b>c>g"), global_steps=["g"], groups=groups)


def test_the_page_that_a_refusal_names_is_there() -> None:
    with pytest.raises(DistilmqUserError) as raised:
        load_stages(graph_of("a>b"), global_steps=[], groups=[["x"]])

    assert raised.value.page is not None
    assert (Path(__file__).parents[2] / "docs" / raised.value.page).is_file()


def test_load_groups_that_wait_for_each_other_are_refused() -> None:
    graph = graph_of("a>b", "c>d", "a>x", "c>x")
    graph.connect("b", "c")  # {a, d} needs c, {b, c} needs a
    groups = [["a", "d"], ["b", "c"]]

    with pytest.raises(DistilmqUserError, match=r"cannot be in the same load group|wait for each other"):
        load_stages(graph, global_steps=[], groups=groups)
