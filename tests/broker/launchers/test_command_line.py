"""What `distilmq launch` prints, and what it says when something is not right."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distilmq_broker.keys.handing_out import hand_out
from distilmq_broker.keys.store import KeyStore
from distilmq_broker.launchers.cli import app
from distilmq_broker.scaling.cli import app as autoscale

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


def test_an_actor_of_ray_asks_for_what_its_worker_offers(keys: dict[str, str]) -> None:
    said = launch(
        *("ray", "--print", "--connect", keys["worker"], "--count", "2", "--cpus", "4", "--memory", "2G"),
        *("--resources", "special=1", "--", "--steps", "score"),
    )

    assert said == (
        "2 actors, each with {'num_gpus': 0, 'num_cpus': 4, 'memory': 2147483648, 'resources': {'special': 1}}:"
        " distilmq worker --gpus=none --memory=2147483648 --resources=special=1 --slots=4 --steps score\n"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--resources", "special"), "--resources takes name=value, not 'special'"),
        (("--resources", "special=x"), "--resources takes a count, not special=x"),
        (("--init", "/nowhere.json"), "--init takes a JSON file of what ray.init takes, not /nowhere.json"),
        (("--", "--name", "x"), "--name is said to each worker by `distilmq launch` itself"),
    ],
)
def test_what_ray_cannot_be_told_is_named(keys: dict[str, str], words: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused("ray", "--connect", keys["worker"], *words)


def test_without_ray_its_installation_is_named(keys: dict[str, str]) -> None:
    code = f"""
import sys
sys.modules["ray"] = None
from distilmq_broker.launchers.cli import app
from distilmq_broker.scaling.cli import app as autoscale
app(["ray", "--connect", {keys["worker"]!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "Ray is not installed here: pip install 'distilmq[ray]'\n")


def test_an_autoscaler_says_what_it_cannot_do(keys: dict[str, str]) -> None:
    words = ["local", "--broker", keys["client"], "--connect", keys["worker"]]

    done = CliRunner().invoke(autoscale, [*words, "--min", "3", "--max", "2"])
    swapped = CliRunner().invoke(autoscale, ["local", "--broker", keys["worker"], "--connect", keys["worker"]])

    assert "--min 3 and --max 2 make no sense" in done.stderr
    assert "has the key of a worker, and this needs one of a client" in swapped.stderr
