"""The entry point: a static table for the top help; a command's module is imported only when asked for."""

import difflib
import importlib
import os
import signal
import sys
import warnings
from typing import NamedTuple

from backthrough import __version__


class Command(NamedTuple):
    """A sub-command: the module with its `main(arguments) -> exit code`, and a line for the help."""

    module: str
    usage: str
    summary: str


COMMANDS = {
    "demo": Command("demo", "demo", "every method on small real data, then one HTML page"),
    "list": Command("catalogue", "list", "recipes and tasks, one line each"),
    "run": Command("run", "run RECIPE [options]", "one experiment into a run directory"),
    "reproduce": Command("reproduce", "reproduce [ID...]", "measure the results table again"),
    "report": Command("report", "report RUN...", "the HTML page of one or more runs"),
    "estimators": Command(
        "estimators",
        "estimators compare M:F",
        "bias, variance and time of gradient estimators on your function",
    ),
    "density": Command("density", "density TABLE.csv", "the density of the rows of your own table"),
    "forecast": Command("forecast", "forecast SERIES.csv", "how your own irregular series go on"),
    "regress": Command("regress", "regress TABLE.csv", "a column of your own table, with error bars"),
    "gaps": Command("gaps", "gaps RUN|M:F", "is a VAE's encoder the problem, or its family of posteriors?"),
    "disentangle": Command(
        "disentangle",
        "disentangle CODES.npz F.csv",
        "which factor does each latent of your codes tell of? MIG, DCI, SAP and others",
    ),
    "tune": Command(
        "tune",
        "tune MODULE:FUNCTION",
        "hyperparameters of your own training, tuned in one run, and whether to trust them",
    ),
    "explain": Command(
        "explain",
        "explain --model M:F --input FILE",
        "which part of an input would have to change for your model to answer differently",
    ),
    "data": Command("data", "data list|fetch|show", "what data there is, what can be had, licences"),
    "completion": Command("completion", "completion bash|zsh|fish", "a script that lets the shell complete"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code, which `--help` explains."""
    is_process = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"backthrough {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        print(f"backthrough: unknown command {name!r}{hint} (see backthrough --help)", file=sys.stderr)
        return 2
    if is_process:
        from backthrough.train.stopping import interrupt

        signal.signal(signal.SIGINT, interrupt)
    return _run_command(COMMANDS[name].module, arguments[1:])


def _run_command(module: str, arguments: list[str]) -> int:
    from backthrough.core import ArgumentError, BackthroughError

    warnings.showwarning = _print_warning
    try:
        return importlib.import_module(f"backthrough.cli.{module}").main(arguments)
    except ArgumentError as error:
        print(f"backthrough: {error}", file=sys.stderr)
        return 2
    except BackthroughError as error:
        print(f"backthrough: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"backthrough: {error.filename or 'file'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("backthrough: stopped", file=sys.stderr)
        return 130


def _print_warning(message: Warning | str, *details: object, **more: object) -> None:
    """One plain line, without the place in the code."""
    print(f"backthrough: warning: {message}", file=sys.stderr)


def _help() -> str:
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"  {command.usage:<{width}}  {command.summary}" for command in COMMANDS.values()]
    return "\n".join(
        [
            "backthrough: gradients and inference carried through what backpropagation stops at.",
            "",
            "usage: backthrough COMMAND [options]   (each has --help)",
            "",
            *lines,
            "",
            "exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C (143 by SIGTERM)",
            f"version {__version__}",
        ]
    )
