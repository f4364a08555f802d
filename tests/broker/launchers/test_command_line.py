"""What `distilmq launch` prints, and what it says when something is not right."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distilmq_broker.keys.handing_out import hand_out
from distilmq_broker.keys.store import KeyStore
from distilmq_broker.launchers.cli import app

SLURM = ("slurm", "--print")
KUBERNETES = ("kubernetes", "--image", "registry.example.org/distilmq", "--print")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A connection file for each role."""
    store = KeyStore(tmp_path / "broker")
    files = {"client": tmp_path / "client.json", "worker": tmp_path / "worker.json"}
    for role, path in files.items():
        hand_out(store, role, role, "tcp://broker.example.org:5555", path)  # type: ignore[arg-type]  # the roles
    return {role: str(path) for role, path in files.items()}


def launch(*words: str) -> str:
    """What a command prints that succeeds."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str) -> str:
    """What a command says that fails."""
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (1, "")
    return done.stderr


def test_a_worker_is_told_what_slurm_gives_it(keys: dict[str, str]) -> None:
    script = launch(*SLURM, "--connect", keys["worker"], "--cpus", "8", "--memory", "64G", "--", "--labels", "zone=eu")

    start = (
        f"exec distilmq worker --connect {keys['worker']} --slots 8 --memory 64G --gpus none --labels zone=eu --name "
    )
    assert start in script
    assert {"#SBATCH --cpus-per-task=8", "#SBATCH --mem=64G"} <= set(script.splitlines())
    assert "gres" not in script


def test_gpus_are_asked_of_slurm_which_shows_the_worker_its_own(keys: dict[str, str]) -> None:
    script = launch(*SLURM, "--connect", keys["worker"], "--gpus", "2")

    assert "#SBATCH --gres=gpu:2\n" in script
    assert "--gpus none" not in script


def test_what_the_operator_says_goes_before_what_follows_from_the_size(keys: dict[str, str]) -> None:
    script = launch(*SLURM, "--connect", keys["worker"], "--cpus", "8", "--", "--slots=2", "--gpus", "0")

    assert f"--connect {keys['worker']} --slots=2 --gpus 0 --name" in script


def test_words_with_spaces_stay_words(keys: dict[str, str]) -> None:
    script = launch(*SLURM, "--connect", keys["worker"], "--", "--labels", "of=a b; rm -rf")

    assert "of=a b; rm -rf" in shlex.split(script.splitlines()[-1])


def test_ssh_prints_a_command_for_each_machine_without_the_key(keys: dict[str, str]) -> None:
    printed = launch("ssh", "gpu-1", "gpu-2", "--connect", keys["worker"], "--print", "--", "--slots", "8")

    words = shlex.split(printed)
    assert [words[place + 1] for place, word in enumerate(words) if word == "--"] == ["gpu-1", "gpu-2"]
    assert printed.count(f"' < {keys['worker']}\n") == 2
    assert printed.count("worker --connect worker.json --slots 8") == 2
    assert "secret_key" not in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("slurm",), "pipe it to `sbatch`", id="slurm does not print"),
        pytest.param(KUBERNETES[:-1], "pipe it to `kubectl apply -f -`", id="kubernetes does not print"),
        pytest.param(SLURM, "Say with --connect", id="no key"),
        pytest.param((*SLURM, "--connect", "nowhere.json"), "nowhere.json cannot be read", id="no such key"),
        pytest.param((*SLURM, "--connect", "client"), "keys new worker", id="a client's key"),
        pytest.param((*SLURM, "--connect", "worker", "--memory", "64GB"), "--memory takes a size", id="memory"),
        pytest.param((*SLURM, "--connect", "worker", "--time", "4h"), "--time takes what sbatch takes", id="time"),
        pytest.param((*SLURM, "--connect", "worker", "--", "--name=x"), "--name is said", id="a name for several"),
        pytest.param((*KUBERNETES, "--broker", "--namespace", "A b"), "--namespace takes a name", id="namespace"),
        pytest.param((*KUBERNETES, "--broker", "--storage", "big"), "--storage takes a size", id="storage"),
        pytest.param(("ssh", "--connect", "worker", "--", "--slots", "1"), "Name a machine", id="no machine"),
        pytest.param(("ssh", "m", "--connect", "worker", "--ssh", "no-such"), "There is no no-such here", id="no ssh"),
        pytest.param(("ssh", "m", "--connect", "worker", "--ssh", "'"), "is no command", id="a broken call"),
    ],
)
def test_what_makes_no_sense_is_said(keys: dict[str, str], words: tuple[str, ...], said: str) -> None:
    assert said in refused(*(keys.get(word, word) for word in words))
