"""What the commands that make a run share, and wrong use refused before anything heavy is imported."""

import dataclasses
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import tyro

from backthrough.cli import demo
from backthrough.cli.main import main
from backthrough.cli.runs import Place, carry_out, find_option, parse_run, saved_config, say_stopped
from backthrough.core import ArgumentError, Interrupted
from backthrough.recipes.configs import Panel, Source, settle_sources, with_saved
from backthrough.train import Number

WRONG_USE = r"""
import contextlib, io, sys, tempfile, warnings
from backthrough.cli.main import main

def code(words):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return main(words)
        except SystemExit as stop:
            return stop.code

def check(expected, *words):
    assert code(list(words)) == expected, words
    heavy = {"jax", "equinox", "optax", "numpyro", "matplotlib", "pandas"} & sys.modules.keys()
    assert not heavy, (words, heavy)

check(2, "run", "nonsense")
check(2, "run", "vae-mnist", "--no-such-option")
check(0, "run", "vae-mnist", "--help")
check(2, "run", "vae-mnist", "--resume")
check(2, "run", "vae-mnist", "--data", "no/such.npz")
check(2, "run", "vae-mnist", "--processes", "2")
check(2, "run", "vae-mnist", "--run-dir", "full")
check(2, "run", "vae-mnist", "--run-dir", "full", "--resume")
check(2, "density")
check(2, "forecast")
check(2, "regress")
check(2, "report", "nowhere")
check(2, "report")
check(2, "demo", "--no-such-option")
check(2, "demo", "--resume")
check(2, "estimators", "compare")
check(2, "estimators", "compare", "no_colon")
check(2, "estimators", "compare", "no_such_module:f")
check(2, "data", "fetch")
check(2, "data", "fetch", "nonsense")
check(2, "data", "show", "nonsense")
check(2, "reproduce", "--no-such-option")
check(2, "density", "missing.csv")
check(2, "density", "--predict", "new.csv")
check(2, "forecast", "missing.csv", "--time", "t")
check(2, "regress", "missing.csv", "--target", "t")
check(2, "regress", "--predict", "new.csv")
check(2, "demo", "--only", "nonsense")
check(0, "completion", "bash")
check(0, "list")
"""


def test_wrong_use_is_refused_before_anything_heavy_is_imported(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("")
    done = subprocess.run([sys.executable, "-c", WRONG_USE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_value_of_an_option_before_the_others_are_read():
    words = ["--run_dir", "a", "--scale=full", "--run-dir=b", "--last"]
    assert find_option(words, "--run-dir") == "b"
    assert find_option(words[:2], "--run-dir") == "a"
    assert find_option(words, "--scale") == "full"
    assert find_option(words, "--last") is None
    assert find_option(words, "--other") is None
    assert find_option([], "--run-dir") is None


def test_what_is_stopped_says_how_to_go_on(tmp_path, capsys):
    def work(run):
        raise Interrupted("stopped after step 3 of 5; the state is saved", signal=signal.SIGTERM)

    place = Place(run_dir=tmp_path / "my run")
    code = carry_out("own", work, place=place, config={"size": 3}, again=["backthrough", "own"])
    assert code == 143
    error = capsys.readouterr().err
    assert (
        f"state is saved. Go on with:\n  backthrough own --run-dir '{tmp_path / 'my run'}' --resume" in error
    )
    assert json.loads((tmp_path / "my run" / "config.json").read_text()) == {"recipe": "own", "size": 3}
    assert say_stopped(KeyboardInterrupt(), ["backthrough", "demo"]) == 130
    assert "stopped. Go on with:\n  backthrough demo --resume" in capsys.readouterr().err


@dataclass(frozen=True)
class Options:
    """A command of its own."""

    table: tyro.conf.Positional[Source] = ""
    """A table."""
    n_steps: int = 3
    """Steps."""
    columns: tuple[str, ...] = ()
    """Columns."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())


def command(*words):
    """How a command on the user's own file does it."""
    default = with_saved(Options(), saved_config(words, "own"))
    options = settle_sources(parse_run(Options, words, prog="backthrough own", default=default))
    config = {name: value for name, value in dataclasses.asdict(options).items() if name != "place"}

    def work(run):
        run.save_result([Number("steps", float(options.n_steps), "", "of all")])

    return carry_out("own", work, place=options.place, config=config, again=["backthrough", "own"])


def test_a_command_of_its_own_goes_on_from_anywhere_with_its_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("")
    assert command("t.csv", "--n-steps", "7", "--columns", "a", "b", "--run-dir", "run", "--resume") == 0
    assert f"{tmp_path / 'run'} holds no run yet: this starts one" in capsys.readouterr().err
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved == {"recipe": "own", "table": str(tmp_path / "t.csv"), "n_steps": 7, "columns": ["a", "b"]}
    monkeypatch.chdir("/")
    assert command("--run-dir", str(tmp_path / "run"), "--resume") == 0
    captured = capsys.readouterr()
    assert "steps  7" in captured.out
    assert "starts one" not in captured.err
    with pytest.raises(ArgumentError, match="n_steps was 7 and is now 8"):
        command("--run-dir", str(tmp_path / "run"), "--resume", "--n-steps=8")
    with pytest.raises(ArgumentError, match="holds a run of own, not of other"):
        saved_config(["--run-dir", str(tmp_path / "run"), "--resume"], "other")
    with pytest.raises(ArgumentError, match="is not empty: resume it"):
        command("--run-dir", str(tmp_path / "run"))


def test_a_stopped_demo_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def run(config, run):
        raise KeyboardInterrupt

    recipe = SimpleNamespace(
        room="rooms",
        load_config=lambda: SimpleNamespace(DEMO=Panel(Options(), "A method", "It does.")),
        load=lambda: SimpleNamespace(run=run),
    )
    monkeypatch.setattr(demo, "RECIPES", {"own": recipe})
    assert main(["demo", "--run-dir", str(tmp_path)]) == 130
    assert f"Go on with:\n  backthrough demo --run-dir {tmp_path} --resume" in capsys.readouterr().err


def test_a_run_that_fails_before_it_starts_leaves_nothing(tmp_path):
    def work(run):
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        carry_out("own", work, place=Place(run_dir=tmp_path / "run"), config={}, again=[])
    assert not (tmp_path / "run").exists()
