"""The scripts, asked by the shells themselves."""

import shutil
import subprocess

import pytest

from backthrough.cli.main import COMMANDS, main
from backthrough.recipes import RECIPES

ASK = """
ask() { COMP_WORDS=(backthrough "$@"); COMP_CWORD=$#; COMPREPLY=(); _backthrough; echo "${COMPREPLY[*]}"; }
ask ""
ask run vae
ask run ""
ask run vae-mnist --l
ask run vae-mnist --objective ""
ask run vae-mnist --scale ""
ask run relax-toy --estimators R
ask run vae-mnist --run-dir ""
ask data ""
ask estimators compare --pl
ask demo --r
"""


@pytest.fixture
def script(tmp_path, capsys):
    def write(shell):
        assert main(["completion", shell]) == 0
        path = tmp_path / shell
        path.write_text(capsys.readouterr().out)
        return path

    return write


def answer(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_bash_completes_commands_recipes_options_and_values(script):
    found = answer("bash", "--norc", "-c", f"source {script('bash')}\n{ASK}")
    assert found == [
        " ".join(COMMANDS),
        "vae-mnist",
        " ".join(RECIPES),
        "--latent-size --ladder-stages --learning-rate",
        "elbo iwae",
        "quick full",
        "REINFORCE REBAR RELAX",
        "",  # then bash completes files
        "list fetch show",
        "--plot",
        "--run-dir --resume",
    ]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script(script):
    command = f"source {script('zsh')}; echo ${{_comps[backthrough]}}"
    assert "_backthrough" in answer("zsh", "-f", "-c", command)[0]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_commands_recipes_options_and_values(script):
    path = script("fish")

    def ask(words):
        lines = answer("fish", "-N", "-c", f"source {path}; complete -C 'backthrough {words}'")
        return {line.split("\t")[0] for line in lines}

    assert ask("") == set(COMMANDS)
    assert ask("run ") == set(RECIPES)
    assert ask("run vae-mnist --l") == {"--latent-size", "--ladder-stages", "--learning-rate"}
    assert ask("run vae-mnist --objective ") == {"elbo", "iwae"}


def test_an_unknown_shell_is_refused(capsys):
    assert main(["completion"]) == 2
    assert main(["completion", "--help"]) == 0
    assert "usage: backthrough completion bash|zsh|fish" in capsys.readouterr().out
    assert main(["completion", "bahs"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err
