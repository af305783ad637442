"""`backthrough explain fit-infill FOLDER|TABLE.csv`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.core import ArgumentError, DataError, check_choice, check_integer, check_positive
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    import numpy as np

    from backthrough.train import Run

NAME = "explain fit-infill"
TEST_PART = 6  # of the examples one in six is held out
OF_ROWS = ("vaeac", "gaussian", "marginal", "mean")
OF_IMAGES = ("unet", *OF_ROWS)


@dataclass(frozen=True)
class Config:
    """What is learned, and how."""

    method: Literal["auto", "unet", "vaeac", "gaussian", "marginal", "mean"] = "auto"
    """By default unet for pictures and vaeac for tables, which take minutes; the others take seconds."""
    scale: Literal["0 to 1", "-1 to 1"] = "0 to 1"
    """What the bytes of pictures become: what your model gets."""
    size: tuple[int, ...] = ()
    """Height and width to which pictures are resized."""
    columns: tuple[str, ...] = ()
    """Columns of the table that your model gets, in its order; all of them when none is named."""
    one_hot: tuple[str, ...] = ()
    """Columns that are one category as one-hot, with commas: --one-hot red,green,blue small,large"""
    n_steps: int | None = None
    """Steps of training; by default the method's own."""
    batch_size: int | None = None
    """Examples in a batch; by default the method's own."""
    learning_rate: float | None = None
    """By default the method's own."""
    seed: int = 0
    """Determines split, weights, masks and order."""


@dataclass(frozen=True)
class Options:
    """Learns from your own pictures or table what hidden parts of one might be, for explanations.

    Into the run directory come infill.npz, errors on held-out examples beside those of the mean, and a
    page with pictures.
    """

    data: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|TABLE.csv")]] = None
    """A folder of pictures, or a CSV file with a header line and numbers in every cell."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where the infiller goes too, beside infill.npz in the run directory."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Fits an infiller to a folder of pictures or to a table."""
    saved = saved_config(arguments, NAME)
    call = parse_run(
        Options,
        arguments,
        prog=f"backthrough {NAME}",
        default=Options(config=with_saved(Config(), saved)),
    )
    path = _existing(call.data, saved)
    config = _checked(call.config, is_folder=path.is_dir())
    if call.out is not None and not call.out.absolute().parent.is_dir():
        raise ArgumentError(f"there is no folder {str(call.out.absolute().parent)!r} (--out)")
    examples, groups = _read(path, config)

    def work(run: "Run") -> None:
        _fit(config, run, examples, groups, path)
        if call.out is not None:
            from backthrough.core.files import write_atomically

            write_atomically(call.out, (run.path / "infill.npz").read_bytes())

    return carry_out(
        NAME,
        work,
        place=call.place,
        config={"data": str(path), **dataclasses.asdict(config)},
        again=["backthrough", *NAME.split()],
    )


def _existing(data: Path | None, saved: dict[str, Any]) -> Path:
    if data is None and "data" in saved:
        data = Path(saved["data"])
    if data is None:
        raise ArgumentError(
            f"{NAME} needs pictures or a table: backthrough {NAME} FOLDER|TABLE.csv (all of it: --help)"
        )
    if not data.exists():
        raise ArgumentError(f"there is no folder or file {str(data)!r}")
    return data.expanduser().absolute()


def _checked(config: Config, *, is_folder: bool) -> Config:
    """The configuration with its method, or a refusal before JAX is imported."""
    known = OF_IMAGES if is_folder else OF_ROWS
    method = known[0] if config.method == "auto" else config.method
    check_choice(f"method for {'pictures' if is_folder else 'a table'}", method, known)
    other = ("columns", "one_hot") if is_folder else ("size",)
    for name in other:
        if getattr(config, name):
            kind = "a table" if is_folder else "pictures"
            raise ArgumentError(f"--{name.replace('_', '-')} is for {kind}")
    if config.one_hot and method != "vaeac":
        raise ArgumentError(f"--one-hot is for vaeac: {method} does not draw columns as one category")
    if config.size and len(config.size) != 2:
        raise ArgumentError(f"--size takes height and width, got {config.size}")
    for name in ("n_steps", "batch_size"):
        value = getattr(config, name)
        if value is not None:
            check_integer(name, value, minimum=1)
            if method not in ("unet", "vaeac"):
                raise ArgumentError(f"--{name.replace('_', '-')} is for unet and vaeac")
    if config.learning_rate is not None:
        check_positive("learning_rate", config.learning_rate)
    check_integer("seed", config.seed, minimum=0)
    return dataclasses.replace(config, method=method)


def _read(path: Path, config: Config) -> tuple["np.ndarray", tuple[tuple[int, ...], ...]]:
    """The examples as the model gets them, and which columns are one category."""
    import numpy as np

    from backthrough.datasets import read_columns, read_images

    if path.is_dir():
        pixels = read_images(path, size=config.size or None).images.astype(np.float32) / 255
        return pixels if config.scale == "0 to 1" else 2 * pixels - 1, ()
    names, rows = read_columns(path, columns=config.columns)
    return rows.astype(np.float32), tuple(group_of(text, names) for text in config.one_hot)


def group_of(text: str, names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of columns that are one category."""
    group = tuple(name.strip() for name in text.split(","))
    if len(group) < 2:
        raise ArgumentError(f"a category of --one-hot has two columns or more, with commas, got {text!r}")
    return tuple(names.index(check_choice("column of --one-hot", name, names)) for name in group)


def _fit(
    config: Config, run: "Run", examples: "np.ndarray", groups: tuple[tuple[int, ...], ...], path: Path
) -> None:
    import jax
    import numpy as np

    from backthrough.explain.infill import check_infiller, evaluate_infiller, fit_infiller, save_infiller
    from backthrough.train import Number

    n_test = len(examples) // TEST_PART
    if n_test < 2:
        raise DataError(f"{path} has {len(examples)} examples; at least {2 * TEST_PART} are needed")
    order = np.random.default_rng(config.seed).permutation(len(examples))
    train, test = examples[order[n_test:]], examples[order[:n_test]]
    fit_key, check_key, measure_key = jax.random.split(jax.random.key(config.seed), 3)
    method: Any = config.method
    try:
        infiller = fit_infiller(
            train,
            method=method,
            key=fit_key,
            one_hot=groups,
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            run=run,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    check_infiller(infiller, train[:4], key=check_key)
    save_infiller(run.path / "infill.npz", infiller)
    found = evaluate_infiller(infiller, train, test, key=measure_key, one_hot=groups)
    run.figures.save_plot("filled", found.plot(), caption=found.caption())
    what = f"{n_test:,} others are held out; hidden features were replaced and no bit of a draw changed"
    numbers = [*found.numbers(), Number("examples to learn from", float(len(train)), "", what)]
    run.save_result(numbers, headline=found.headline(config.method, "filled.svg"))
