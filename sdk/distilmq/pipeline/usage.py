"""What the models of a run took, as data and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from distilmq.protocol.usage import Usage, WorkerUsage

UNKNOWN = "—"


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What a step has had from a model, through one worker process or all of them."""

    step: str
    model: str
    worker: str
    """The process; empty where it is of all of them."""
    requests: int
    """That were answered."""
    input_tokens: int | None
    """None when a model did not tell of a request."""
    output_tokens: int | None
    """None when a model did not tell of a request."""
    cost: float | None
    """US dollars; None when the price of the model, or the tokens of a request, are not known."""
    known_cost: float
    """US dollars of the requests whose price is known."""
    seconds: float
    """That the answers took, one behind the other: divided by `requests` it is the time of one."""
    known_input_tokens: int = 0
    """Of the requests that it is known of, where `input_tokens` is None."""
    known_output_tokens: int = 0
    """Of the requests that it is known of, where `output_tokens` is None."""

    @property
    def known_tokens(self) -> int:
        """Input and output together, as far as they are known."""
        return _known_input(self) + _known_output(self)

    def plus(self, other: ModelUsage) -> ModelUsage:
        """Both together, by the names of this one."""
        return replace(
            self,
            requests=self.requests + other.requests,
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            known_input_tokens=_known_input(self) + _known_input(other),
            known_output_tokens=_known_output(self) + _known_output(other),
            cost=None if self.cost is None or other.cost is None else self.cost + other.cost,
            known_cost=self.known_cost + other.known_cost,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What models took in all starts of a run: an entry for each step, model and worker process.

    Iterate over it for the entries; printed it is a table with a line for each step and model.
    """

    entries: tuple[ModelUsage, ...] = ()

    def __iter__(self) -> Iterator[ModelUsage]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def by_model(self) -> tuple[ModelUsage, ...]:
        """An entry for each step and model, in the order of the steps."""
        together: dict[tuple[str, str], ModelUsage] = {}
        for entry in self.entries:
            key, whole = (entry.step, entry.model), replace(entry, worker="")
            together[key] = together[key].plus(whole) if key in together else whole
        return tuple(together.values())

    @property
    def by_step(self) -> dict[str, ModelUsage]:
        """What each step has had, of all models together."""
        together: dict[str, ModelUsage] = {}
        for entry in self.by_model:
            whole = replace(entry, model="")
            together[entry.step] = together[entry.step].plus(whole) if entry.step in together else whole
        return together

    @property
    def total(self) -> ModelUsage:
        """Everything together."""
        whole = ModelUsage("", "", "", 0, 0, 0, 0.0, 0.0, 0.0)
        for entry in self.entries:
            whole = whole.plus(entry)
        return whole

    def __str__(self) -> str:
        lines = [[entry.step, entry.model, *shown(entry)] for entry in self.by_model]
        if len(lines) > 1:
            lines.append(["in all", "", *shown(self.total)[:-1], at_least(self.total)])
        return table(["step", "model", "requests", "tokens in", "tokens out", "cost"], lines, left=2)


def run_usage(usage: Iterable[WorkerUsage], steps: Sequence[str]) -> RunUsage:
    """What a coordinator told, in the order of the steps."""
    order = {step: place for place, step in enumerate(steps)}
    entries = [_entry(each.step, each.worker, each.usage) for each in usage]
    entries.sort(key=lambda entry: (order.get(entry.step, len(order)), entry.model, entry.worker))
    return RunUsage(tuple(entries))


def shown(usage: ModelUsage) -> list[str]:
    """Requests, tokens and cost as words."""
    tokens = (
        tokens_at_least(usage.input_tokens, usage.known_input_tokens),
        tokens_at_least(usage.output_tokens, usage.known_output_tokens),
    )
    return [f"{usage.requests:,}", *tokens, dollars(usage.cost)]


def tokens_at_least(tokens: int | None, known: int) -> str:
    """`1,250`; of a number that is not known in full `≥ 1,250`, or a dash where nothing of it is."""
    if tokens is not None:
        return f"{tokens:,}"
    return f"≥ {known:,}" if known else UNKNOWN


def dollars(cost: float | None) -> str:
    """`$12.30`, `$0.0042`, or a dash when it is not known."""
    if cost is None:
        return UNKNOWN
    if cost == 0 or cost >= 1:
        return f"${cost:,.2f}"
    return f"${cost:.4f}" if cost >= 0.0001 else f"${cost:.2g}"


def at_least(usage: ModelUsage) -> str:
    """The cost; where it is not known of all requests, what the others cost."""
    return f"≥ {dollars(usage.known_cost)}" if usage.cost is None and usage.known_cost else dollars(usage.cost)


def short_count(number: int) -> str:
    """`950`, `12.3k`, `4.5M`: for where there is little room."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= size:
            value = number / (1000 if unit == "k" else size)
            return f"{value:.1f}{unit}" if value < 100 else f"{value:.0f}{unit}"
    return str(number)


def table(head: Sequence[str], lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Words under each other; the first `left` columns begin on a line, the others end on one."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if column < left else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    )


def _known_input(usage: ModelUsage) -> int:
    return usage.known_input_tokens if usage.input_tokens is None else usage.input_tokens


def _known_output(usage: ModelUsage) -> int:
    return usage.known_output_tokens if usage.output_tokens is None else usage.output_tokens


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _entry(step: str, worker: str, usage: Usage) -> ModelUsage:
    return ModelUsage(
        step=step,
        model=usage.model,
        worker=worker,
        requests=usage.requests,
        input_tokens=None if usage.input_untold else usage.input_tokens,
        output_tokens=None if usage.output_untold else usage.output_tokens,
        known_input_tokens=usage.input_tokens,
        known_output_tokens=usage.output_tokens,
        cost=usage.known_cost,
        known_cost=usage.cost,
        seconds=usage.seconds,
    )
