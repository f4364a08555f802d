"""The tables of providers and engines: how each is reached, and what each can do."""

from __future__ import annotations

from distilmq.models.llms.abilities import ENGINES, PROVIDERS, Ability, Provider


def ways() -> str:
    """How to get each provider: what to install, and which environment variables it reads."""
    lines = ["| class | install | key | address |", "|---|---|---|---|"]
    for row in PROVIDERS:
        install = f"`distilmq[{row.extra}]`" if row.extra else "`distilmq`"
        lines.append(f"| `{row.llm}` | {install} | {_variable(row.key)} | {_variable(row.address)} |")
    return "\n".join(lines)


def abilities() -> str:
    """What each provider can do; a number leads to what happens instead."""
    notes = list(dict.fromkeys(note for row in PROVIDERS for note in row.cannot.values()))
    heads = [str(ability) for ability in Ability]
    lines = ["| class | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    lines += [
        f"| `{row.llm}` | " + " | ".join(_cell(row, ability, notes) for ability in Ability) + " |" for row in PROVIDERS
    ]
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))])


def engines() -> str:
    """The engines that run in this process: what to install, and what each has been run with."""
    lines = ["| class | install | run by the tests with |", "|---|---|---|"]
    lines += [f"| `{row.model}` | `distilmq[{row.extra}]` | {row.tried} |" for row in ENGINES]
    return "\n".join(lines)


def _cell(row: Provider, ability: Ability, notes: list[str]) -> str:
    return f"no ({notes.index(row.cannot[ability]) + 1})" if ability in row.cannot else "yes"


def _variable(name: str | None) -> str:
    return f"`{name}`" if name else ""
