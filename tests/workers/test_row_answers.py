"""Of the answers that a failed row was made of, those it failed by are asked for anew: no others, and no fewer."""

from __future__ import annotations

from distilmq.models.requests.sources import Generation, Source, Used, traced
from distilmq.protocol.messages import UselessAnswer
from distilmq_workers.book import BatchAnswers
from distilmq_workers.row_answers import RowAnswers


def of_one(*keys: bytes, lost: bool = False) -> Generation:
    """A generation of answers that have only one each."""
    return Generation(tuple(Source(key, 0) for key in keys), lost)


def none_before(source: Source) -> None:
    return None


def test_a_generation_that_was_lost_is_to_blame_and_no_other() -> None:
    answers = RowAnswers()
    answers.gave([of_one(b"a"), of_one(b"b", b"b mended", lost=True), of_one(b"c")])

    assert answers.useless(none_before) == [UselessAnswer(key=b"b"), UselessAnswer(key=b"b mended")]


def test_a_generation_that_the_step_could_not_use_is_to_blame() -> None:
    answers = RowAnswers()
    answers.gave([of_one(b"a"), of_one(b"b")])
    answers.spoil(1)
    answers.spoil(9)

    assert answers.useless(none_before) == [UselessAnswer(key=b"b")]


def test_of_an_answer_with_several_generations_some_are_named() -> None:
    answers = RowAnswers()
    answers.gave([Generation((Source(b"n", 0, place, 3),), lost=place != 1) for place in range(3)])

    assert answers.useless(none_before) == [UselessAnswer(key=b"n", generations=(0, 2))]
    assert answers.useless(lambda source: ()) == [UselessAnswer(key=b"n", generations=(0, 2))]
    assert answers.useless(lambda source: (1,)) == [UselessAnswer(key=b"n", generations=(0, 1, 2))]


def test_an_answer_of_which_all_is_lost_goes_whole() -> None:
    answers = RowAnswers()
    answers.gave([Generation((Source(b"n", 4, place, 2),), lost=True) for place in range(2)])

    assert answers.useless(none_before) == [UselessAnswer(key=b"n", occurrence=4)]


def test_a_request_that_failed_takes_no_answer_along() -> None:
    answers = RowAnswers()
    answers.gave([of_one(b"first")])
    answers.gave([Generation((), lost=True), of_one(b"second")])

    assert answers.useless(none_before) == []


def test_a_step_that_raised_is_given_another_last_answer_and_only_then_other_ones_before() -> None:
    answers = RowAnswers()
    answers.gave([of_one(b"first")])
    answers.gave([of_one(b"second"), of_one(b"third")])

    last = [UselessAnswer(key=b"second"), UselessAnswer(key=b"third")]
    assert answers.useless(none_before) == last
    assert answers.useless(lambda source: ()) == [UselessAnswer(key=b"first"), *last]


def test_a_row_that_asked_nobody_blames_nobody() -> None:
    book = BatchAnswers((), keep=lambda *_: None, draining=lambda: False)

    assert RowAnswers().useless(none_before) == []
    assert book.useless(3) == ()


def test_another_call_with_a_row_forgets_what_the_one_before_has_used() -> None:
    book = BatchAnswers((), keep=lambda *_: None, draining=lambda: False)
    book.page([4, 5]).gave(1, [of_one(b"a", lost=True)])
    book.page([4]).gave(0, [of_one(b"b", lost=True)])

    assert book.useless(5) == (UselessAnswer(key=b"a"),)
    assert book.useless(4) == (UselessAnswer(key=b"b"),)


def test_what_came_in_the_place_of_a_generation_is_among_its_sources() -> None:
    used = [Used(b"n", 0, 2, None), Used(b"one", 3, 1, 1)]

    first, second = traced(used, {"generations": ["a", None]})

    assert first == Generation((Source(b"n", 0, 0, 2),), lost=False)
    assert second == Generation((Source(b"n", 0, 1, 2), Source(b"one", 3)), lost=True)
    assert traced(used, ValueError())[0].sources == (Source(b"n", 0, 0, 2), Source(b"n", 0, 1, 2), Source(b"one", 3))
