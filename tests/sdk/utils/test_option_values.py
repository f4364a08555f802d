"""What the text of an option means, and what is said of one that makes no sense."""

from __future__ import annotations

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.utils.option_values import check_form, counts, pair, pairs, seconds, several, size


@pytest.mark.parametrize(("text", "meant"), [("90", 90.0), ("58m", 3480.0), ("1.5h", 5400.0), ("2d", 172800.0)])
def test_times_have_units(text: str, meant: float) -> None:
    assert seconds(text, "--time-limit") == meant


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-3", "4w"])
def test_what_is_no_time_is_named_with_its_option(text: str) -> None:
    with pytest.raises(DistilmqUserError, match="--time-limit takes a time, such as 90, 58m or 4h"):
        seconds(text, "--time-limit")


def test_pairs_may_be_given_together_or_one_by_one() -> None:
    assert pairs(["a=b,c=d", "e=f"], "--labels") == {"a": "b", "c": "d", "e": "f"}


@pytest.mark.parametrize("text", ["zone", "=eu", "zone="])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(DistilmqUserError, match="--labels takes name=value"):
        pairs([text], "--labels")


def test_only_the_first_sign_parts_a_name_from_its_value() -> None:
    assert pair("step.key=a=b", "--param") == ("step.key", "a=b")
    assert pair("step.key=", "--param") == ("step.key", "")


def test_names_may_be_given_together_or_one_by_one() -> None:
    assert several(["a, b", "c,"]) == ["a", "b", "c"]


def test_sizes_have_units() -> None:
    assert (size("3", "--memory"), size("1.5K", "--memory"), size("64G", "--memory")) == (3, 1536, 64 * 2**30)


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="--resources takes a count, not license=two"):
        counts(["license=two"], "--resources")


def test_text_for_another_program_has_the_form_that_it_takes() -> None:
    check_form("", "--memory", r"\d+G", "a size, such as 64G")
    check_form("64G", "--memory", r"\d+G", "a size, such as 64G")
    with pytest.raises(DistilmqUserError, match="--memory takes a size, such as 64G, not '64G; rm -rf /'"):
        check_form("64G; rm -rf /", "--memory", r"\d+G", "a size, such as 64G")
