"""The picture of a pipeline: where things are, what is painted, and what mermaid is told."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline, sample_n_steps
from distilmq.pipeline.layout import Box, nearest_in_order, place
from distilmq.pipeline.mermaid import escape
from tests.sdk.pipeline.some_steps import Double, Join, Total, rows

GENERATOR_FILL = (0xE3, 0xF2, 0xE1)


def drawn() -> Pipeline:
    with Pipeline("drawn") as pipeline:
        join = Join(name="join")
        rows() >> sample_n_steps(2) >> [Double(name=f"double.{number}") for number in range(3)] >> join
        join >> Total(name="total")
    return pipeline


def test_a_routing_function_at_the_root_stands_behind_the_dataset_that_run_is_given(tmp_path: Path) -> None:
    with Pipeline("rooted") as pipeline:
        sample_n_steps(1) >> [Double(name="one"), Double(name="two")]

    source = Path(pipeline.draw(tmp_path / "rooted.png")).with_suffix(".mmd").read_text()

    assert 'n0["dataset<br>given to run"]:::generator' in source
    assert 'n0 -.->|"routed by sample_n_steps(1)"| n1' in source
    assert 'n0 -.->|"routed by sample_n_steps(1)"| n2' in source


def edges_of_dags(count: int) -> st.SearchStrategy[list[tuple[str, str]]]:
    pairs = [(f"s{a}", f"s{b}") for a, b in itertools.combinations(range(count), 2)]
    return st.lists(st.sampled_from(pairs), unique=True, max_size=14)


@given(edges_of_dags(8))
def test_boxes_never_overlap_and_arrows_go_forward(edges: list[tuple[str, str]]) -> None:
    boxes = {f"s{number}": Box(40.0 + number, 20.0) for number in range(8)}

    layout = place(boxes, edges, gap=30.0, spacing=10.0)

    for one, two in itertools.combinations(boxes, 2):
        (x, y), (a, b) = layout.centres[one], layout.centres[two]
        apart_along = abs(x - a) >= (boxes[one].along + boxes[two].along) / 2
        apart_across = abs(y - b) >= (boxes[one].across + boxes[two].across) / 2 + 10.0 - 1e-6
        assert apart_along or apart_across
    for path in layout.paths.values():
        alongs = [along for along, _ in path]
        assert alongs == sorted(alongs)
    assert all(box.across / 2 - 1e-6 <= layout.centres[name][1] for name, box in boxes.items())


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_places_keep_order_and_distance(wanted: list[float]) -> None:
    distances = [5.0] * (len(wanted) - 1)

    places = nearest_in_order(wanted, distances)

    assert all(two - one >= 5.0 - 1e-6 for one, two in itertools.pairwise(places))
    if all(two - one >= 5.0 for one, two in itertools.pairwise(wanted)):
        assert places == pytest.approx(wanted)


def test_branches_are_uncrossed() -> None:
    boxes = {name: Box(10, 10) for name in ("a", "b", "x", "y")}

    layout = place(boxes, [("a", "y"), ("b", "x")], gap=10, spacing=10)

    a, b, x, y = (layout.centres[name][1] for name in ("a", "b", "x", "y"))
    assert (a - b) * (y - x) > 0


@pytest.mark.parametrize("top_to_bottom", [False, True])
def test_a_picture_is_painted_with_its_source_beside_it(tmp_path: Path, top_to_bottom: bool) -> None:
    path = drawn().draw(tmp_path / "pictures" / "p.png", top_to_bottom=top_to_bottom)

    image = Image.open(path)
    assert image.format == "PNG"
    assert (image.width < image.height) is top_to_bottom
    assert GENERATOR_FILL in {pixel for _, pixel in image.convert("RGB").getcolors(1 << 24) or []}
    source = (tmp_path / "pictures" / "p.mmd").read_text()
    assert source.startswith("flowchart TD" if top_to_bottom else "flowchart LR")
    assert 'n1["double.0<br>Double"]:::normal' in source
    assert '-.->|"routed by sample_n_steps(2)<br>n"|' in source


def test_labels_can_be_left_out(tmp_path: Path) -> None:
    pipeline = drawn()

    with_labels = Image.open(pipeline.draw(tmp_path / "with.png"))
    without = Image.open(pipeline.draw(tmp_path / "without.png", show_edge_labels=False))

    assert without.width < with_labels.width
    assert "|" not in (tmp_path / "without.mmd").read_text()


def test_no_name_breaks_the_source() -> None:
    assert escape('a"]; click x|<b>#') == "a#34;#93;#59; click x#124;#60;b#62;#35;"


def test_columns_of_any_script_are_painted(tmp_path: Path) -> None:
    with Pipeline("文字") as pipeline:
        rows(column="列") >> Double(name="double", input_mappings={"n": "列"})

    assert Image.open(pipeline.draw(tmp_path / "p.png")).width > 100


def test_a_notebook_shows_the_picture() -> None:
    bundle = drawn()._repr_mimebundle_()

    assert Image.open(io.BytesIO(bundle["image/png"])).format == "PNG"
    assert bundle["text/plain"] == "Pipeline(name='drawn', steps=[load, double.0, double.1, double.2, join, total])"


def test_an_empty_pipeline_cannot_be_drawn_but_shown(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="nothing to draw"):
        Pipeline("empty").draw(tmp_path / "p.png")

    assert list(Pipeline("empty")._repr_mimebundle_()) == ["text/plain"]
