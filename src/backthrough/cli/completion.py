"""`backthrough completion SHELL`: a script for the shell, made from the tables of commands and recipes."""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro

from backthrough.core import check_choice
from backthrough.recipes import RECIPES

Options = dict[str, tuple[str, ...] | None]
"""Options, each with the values that it may have (none: any), or None for one that takes no value."""

USAGE = """usage: backthrough completion bash|zsh|fish

Prints a script that lets the shell complete commands, recipes and options. To have it always:

  bash  backthrough completion bash > ~/.local/share/bash-completion/completions/backthrough
  zsh   backthrough completion zsh > ~/.backthrough.zsh, and in .zshrc: source ~/.backthrough.zsh
  fish  backthrough completion fish > ~/.config/fish/completions/backthrough.fish"""


def main(arguments: list[str]) -> int:
    """Prints the script of a shell."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    check_choice("shell", arguments[0], SHELLS)
    print(SHELLS[arguments[0]](*_tables()), end="")
    return 0


def _tables() -> tuple[dict[str, tuple[str, ...]], dict[str, Options]]:
    """The words that may follow each command; and the options of each command, or command and word."""
    from backthrough.cli.estimators import Compare
    from backthrough.cli.explain_fit_infill import Options as FitInfill
    from backthrough.cli.main import COMMANDS
    from backthrough.cli.run import options_of

    words: dict[str, tuple[str, ...]] = dict.fromkeys(COMMANDS, ())
    words |= {
        "run": tuple(RECIPES),
        "reproduce": tuple(RECIPES),
        "data": ("list", "fetch", "show"),
        "estimators": ("compare",),
        "explain": ("fit-infill",),
        "completion": tuple(SHELLS),
    }
    options = {f"run {name}": _options(options_of(recipe)) for name, recipe in RECIPES.items()}
    options["estimators compare"] = _options(Compare)
    options["explain fit-infill"] = _options(FitInfill)
    for name, command in COMMANDS.items():
        own = getattr(importlib.import_module(f"backthrough.cli.{command.module}"), "Options", None)
        if dataclasses.is_dataclass(own):
            options[name] = _options(own)
    return words, options


def _options(own: Any) -> Options:
    """The options that tyro makes of a dataclass, those of the dataclasses in it included."""
    found: Options = {"--help": None}
    for field in dataclasses.fields(own):
        kind, marks = _bare(field.type)
        if POSITIONAL in marks:
            continue
        if dataclasses.is_dataclass(kind):
            found |= _options(kind)
        else:
            found[f"--{field.name.replace('_', '-')}"] = None if kind is bool else tuple(_choices(kind))
    return found


def _bare(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type, and what it is annotated with."""
    if get_origin(kind) is not Annotated:
        return kind, ()
    bare, *marks = get_args(kind)
    return bare, tuple(marks)


def _choices(kind: Any) -> Iterable[str]:
    """What a type with literals in it allows."""
    for own in get_args(kind):
        if get_origin(kind) is Literal:
            yield str(own)
        else:
            yield from _choices(own)


def _bash(words: Mapping[str, Iterable[str]], options: Mapping[str, Options]) -> str:
    of_commands = [f'    "{name}") words="{" ".join(own)}" ;;' for name, own in words.items() if own]
    of_options = [f'    "{name}") words="$words {" ".join(own)}" ;;' for name, own in options.items()]
    of_values = [
        f'    "{name} {option}") words="{" ".join(values)}" ;;'
        for name, own in options.items()
        for option, values in own.items()
        if values is not None
    ]
    return "\n".join(
        [
            "_backthrough() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '  local first="${COMP_WORDS[1]}" second="${COMP_WORDS[2]}" words="" key',
            f'  [ "$COMP_CWORD" -eq 1 ] && words="{" ".join(words)}"',
            '  [ "$COMP_CWORD" -eq 2 ] && case "$first" in',
            *of_commands,
            "  esac",
            '  for key in "$first" "$first $second"; do case "$key" in',
            *of_options,
            "  esac; done",
            '  for key in "$first $before" "$first $second $before"; do case "$key" in',
            *of_values,
            "  esac; done",
            '  COMPREPLY=( $(compgen -W "$words" -- "$current") )',
            "}",
            "complete -o default -F _backthrough backthrough",
            "",
        ]
    )


def _zsh(words: Mapping[str, Iterable[str]], options: Mapping[str, Options]) -> str:
    start = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
    return start + _bash(words, options)


def _fish(words: Mapping[str, Iterable[str]], options: Mapping[str, Options]) -> str:
    lines = [f"complete -c backthrough -n __fish_use_subcommand -xa '{' '.join(words)}'"]
    for name, own in words.items():
        if own:
            lines.append(
                f"complete -c backthrough -n '__fish_seen_subcommand_from {name}; "
                f"and not __fish_seen_subcommand_from {' '.join(own)}' -xa '{' '.join(own)}'"
            )
    for name, own in options.items():
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        for option, values in own.items():
            takes = "" if values is None else f" -xa '{' '.join(values)}'" if values else " -r"
            lines.append(f"complete -c backthrough -n '{seen}' -l {option.removeprefix('--')}{takes}")
    return "\n".join(lines) + "\n"


POSITIONAL = _bare(tyro.conf.Positional[int])[1][0]
SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
