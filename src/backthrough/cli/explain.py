"""`backthrough explain --model MODULE:FUNCTION --input FILE`, and `backthrough explain fit-infill`."""

import dataclasses
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backthrough.cli.explain_inputs import (
    RANGES,
    Channels,
    Inputs,
    Scale,
    check_inputs_options,
    check_units,
    read_inputs,
    units_of,
)
from backthrough.cli.problems import blaming_the_user, call_problem, needed_arguments
from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.core import ArgumentError, check_integer
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    import numpy as np

    from backthrough.explain import Explanation, Infiller
    from backthrough.train import Run

FIT = "fit-infill"
FITTED = ("unet", "vaeac", "gaussian", "marginal", "mean")
OF_PICTURES = ("local-mean", "blur", "noise")
SIMPLE = (*OF_PICTURES, "constant:NUMBER")
RETURNS = "the model"
MOST_FIGURES, MOST_PICTURES = 3, 200
LEAST_WINDOW = 5  # pixels of a side that the local mean is over
OUT_OF = 224  # pixels of a side, for which the paper gives its numbers
BLUR, WINDOW = 10 / OUT_OF, 15 / OUT_OF


@dataclass(frozen=True)
class Config:
    """What is explained, and how."""

    model: Annotated[str, tyro.conf.arg(metavar="MODULE:FUNCTION")] = ""
    """A function without arguments that returns the model, in the current folder or installed: a JAX
    function or Equinox module of one input, a torch module, a classifier, or a JaxModel, NumpyModel, ..."""
    input: Annotated[str, tyro.conf.arg(metavar="FILE|FOLDER")] = ""
    """A picture, a folder of them, a .npy or .npz of inputs along a leading axis, or a CSV file of rows."""
    infill: Annotated[str, tyro.conf.arg(metavar="FILE|NAME")] = ""
    """What hidden parts might be: a file of explain fit-infill; or constant:NUMBER, and of pictures
    local-mean, noise or blur."""
    target: int | None = None
    """The class that is asked about, by its place among the model's outputs; what it predicts by default."""
    objective: Literal["both", "sdr", "ssr"] = "both"
    """sdr: what the class cannot do without; ssr: what suffices for it."""
    units: Annotated[str, tyro.conf.arg(metavar="UNITS")] = "auto"
    """What is kept or hidden as one: grid:ROWSxCOLUMNS, pixels, columns, positions, positions:WIDTH. By
    default a grid of 8 x 8 (pixels of a small picture), columns of a table, positions of a sequence."""
    area_cost: float = 50.0
    """Log-odds that the whole area costs: lower it if regions are empty, raise it if they are everything."""
    scale: Scale = "0 to 1"
    """What the bytes of pictures become: what your model gets."""
    size: tuple[int, ...] = ()
    """Height and width to which pictures are resized."""
    channels: Channels = "auto"
    """Where your model has the channels of a picture, first as in torch; by default last, none if grey."""
    columns: tuple[str, ...] = ()
    """Columns of the table that your model gets, in its order; all of them when none is named."""
    one_hot: tuple[str, ...] = ()
    """Columns that are hidden together, with commas: --one-hot red,green,blue small,large"""
    n_inputs: int | None = None
    """Only the first so many; all of them by default, each some seconds."""
    n_draws: int = 4
    """Counterfactuals of each region, drawn after the search."""
    seed: int = 0
    """Determines all draws."""


@dataclass(frozen=True)
class Options:
    """Which part of an input would have to change, realistically, for your model to answer differently?

    Into the run directory come explanation.npz with maps, masks and counterfactuals; certificates.csv with
    the scores before and after; of pictures also maps and counterfactuals as PNG; and a page. What hidden
    parts might be is learned from your data by: backthrough explain fit-infill FOLDER|TABLE.csv
    """

    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Explains inputs, or fits an infiller."""
    if arguments and arguments[0] == FIT:
        from backthrough.cli import explain_fit_infill

        return explain_fit_infill.main(arguments[1:])
    saved = saved_config(arguments, "explain")
    call = parse_run(
        Options,
        arguments,
        prog="backthrough explain",
        default=Options(config=with_saved(Config(), saved)),
    )
    config = _checked(call.config)
    inputs = read_inputs(
        Path(config.input),
        scale=config.scale,
        size=config.size,
        channels=config.channels,
        columns=config.columns,
        most=config.n_inputs,
    )
    if config.infill in OF_PICTURES and inputs.kind != "picture":
        raise ArgumentError(
            f"--infill {config.infill} is for pictures; of rows and sequences: backthrough explain {FIT}, or "
            "constant:NUMBER"
        )
    model = call_problem(config.model, RETURNS, is_answer=_is_model)
    return carry_out(
        "explain",
        lambda run: _explain(config, run, model, inputs),
        place=call.place,
        config=dataclasses.asdict(config),
        again=["backthrough", "explain"],
    )


def _is_model(found: Any) -> bool:
    """Whether what is named is the model itself: an object, or a function of one input."""
    from backthrough.explain import Adapter

    if isinstance(found, type):
        return False
    known = (
        isinstance(found, Adapter) or hasattr(found, "predict_proba") or hasattr(found, "decision_function")
    )
    return known or (callable(found) and len(needed_arguments(found)) == 1)


def _checked(config: Config) -> Config:
    """The configuration with absolute paths, or a refusal before anything heavy is imported."""
    if not config.model:
        raise ArgumentError("explain needs a model: --model MODULE:FUNCTION (all of it: --help)")
    if not config.input:
        raise ArgumentError("explain needs what is to be explained: --input FILE (all of it: --help)")
    if not config.infill:
        raise ArgumentError(
            f"explain needs what hidden parts might be: --infill FILE of backthrough explain {FIT}, or "
            f"{', '.join(SIMPLE)}"
        )
    if config.target is not None:
        check_integer("target", config.target, minimum=0)
    check_units(config.units)
    check_inputs_options(scale=config.scale, size=config.size, most=config.n_inputs)
    check_integer("n_draws", config.n_draws, minimum=1)
    check_integer("seed", config.seed, minimum=0)
    if not (config.area_cost >= 0 and config.area_cost < float("inf")):
        raise ArgumentError(f"area_cost must be finite and not negative, got {config.area_cost}")
    path = Path(config.input).expanduser()
    if not path.exists():
        raise ArgumentError(f"there is no file or folder {config.input!r} (--input)")
    return dataclasses.replace(config, input=str(path.absolute()), infill=_settled(config.infill))


def _settled(infill: str) -> str:
    """The absolute path of the infiller's file, or the name of a simple one."""
    path = Path(infill).expanduser()
    if path.is_file():
        return str(path.absolute())
    name, colon, number = infill.partition(":")
    if name in FITTED:
        raise ArgumentError(
            f"--infill {name} is learned from data first: backthrough explain {FIT} FOLDER|TABLE.csv "
            f"--method {name} --run-dir DIR, and then --infill DIR/infill.npz"
        )
    if name == "constant" and colon:
        try:
            float(number)
        except ValueError:
            raise ArgumentError(
                f"--infill constant:NUMBER has a number, such as constant:0, got {infill!r}"
            ) from None
        return infill
    if infill not in OF_PICTURES:
        raise ArgumentError(
            f"--infill is a file of backthrough explain {FIT}, or {', '.join(SIMPLE)}; there is no file "
            f"{infill!r}"
        )
    return infill


def _explain(config: Config, run: "Run", model: Any, inputs: Inputs) -> None:
    import jax

    from backthrough.explain import explain
    from backthrough.explain.measures import scores_at_random
    from backthrough.explain.reporting import headline, numbers, tables

    infill = _infiller(config.infill, inputs)
    units = units_of(config.units, inputs, _groups(config.one_hot, inputs))
    key = jax.random.key(config.seed)
    with blaming_the_user():
        try:
            found = explain(
                model,
                inputs.x,
                target=config.target,
                infill=infill,
                units=units,
                objective=config.objective,
                area_cost=config.area_cost,
                n_counterfactuals=config.n_draws,
                keep=run.path / "inputs",
                key=key,
            )
        except ArgumentError:
            _check_one_input(model, inputs, config.input)
            raise
        at_random = scores_at_random(model, found, infill=infill, key=jax.random.fold_in(key, 0xACA5))
    found.save(run.path / "explanation.npz")
    table = found.table()
    table["input"] = [inputs.names[i] for i in table["input"]]
    table.to_csv(run.path / "certificates.csv", index=False)
    if inputs.kind == "picture":
        _write_pictures(run.path, found, inputs, config.scale)
    picture = _draw(run, found, inputs.names)
    run.save_result(
        numbers(found, at_random),
        headline=headline(found, at_random, inputs.names, picture),
        tables=tables(found, inputs.names),
    )


def _check_one_input(model: Any, inputs: Inputs, path: str) -> None:
    """Says so, if the file holds one input and not a batch: the model takes the whole, and not its parts.

    Raises:
        ArgumentError: with the cure.
    """
    import jax.numpy as jnp

    from backthrough.explain import adapt

    for is_whole in (False, True):
        try:
            adapt(model).bind(jnp.asarray(inputs.x[None] if is_whole else inputs.x))
        except ArgumentError:
            continue
        if not is_whole:
            return
        raise ArgumentError(
            f"{path} holds one input of shape {inputs.x.shape}, and inputs come along a leading axis: save "
            "x[None]"
        )


def _infiller(name: str, inputs: Inputs) -> "Infiller":
    """The infiller of the file or of a simple name, for the layout of the inputs."""
    from backthrough.explain.infill import Blur, Constant, LocalMean, Noise, Relaid, load_infiller

    if name.startswith("constant:"):
        return Constant(float(name.partition(":")[2]))
    low, high = (float(inputs.x.min()), float(inputs.x.max()))
    sides = inputs.x.shape[2:] if inputs.channels == "first" else inputs.x.shape[1:3]
    if name == "noise":
        return Noise(low, high if high > low else low + 1, channels=inputs.channels)
    if name == "blur":
        return Blur(BLUR * min(sides), channels=inputs.channels)
    if name == "local-mean":
        window = max(LEAST_WINDOW, 2 * round(WINDOW * min(sides) / 2) + 1)
        return LocalMean(window, default=(low + high) / 2, channels=inputs.channels)
    infiller = load_infiller(name)
    seen, shape = getattr(infiller, "seen", None), inputs.x.shape[1:]
    if seen is not None and inputs.kind == "picture" and seen.shape != shape:
        last = _last(shape, inputs.channels)
        if inputs.channels == "first" and seen.shape == last:
            return Relaid(infiller, own="last", channels="first")
        if inputs.channels is not None and last[2] == 1 and seen.shape == last[:2]:
            return Relaid(infiller, own=None, channels=inputs.channels)
    return infiller


def _last(shape: tuple[int, ...], channels: str | None) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if channels == "first" else (*shape, 1)[:3]


def _groups(one_hot: tuple[str, ...], inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """The numbers of columns that are hidden together."""
    from backthrough.cli.explain_fit_infill import group_of

    if one_hot and not inputs.columns:
        raise ArgumentError("--one-hot names columns of a table, and --input is none")
    return tuple(group_of(text, inputs.columns) for text in one_hot)


def _draw(run: "Run", found: "Explanation", names: tuple[str, ...]) -> str:
    """Figures of the first few inputs; returns the file name of the first."""
    for i in range(min(MOST_FIGURES, len(found))):
        run.figures.save_plot(f"input-{i}", found.plot(i), caption=_caption(found, names[i]))
    if len(found) > MOST_FIGURES:
        print(f"backthrough: figures show the first {MOST_FIGURES} of {len(found):,} inputs", file=sys.stderr)
    return "input-0.svg"


def _caption(found: "Explanation", name: str) -> str:
    if found.partition.canvas.ndim != 2:
        return f"{name}: the probability that a unit belongs to the region; the best set is coloured."
    shown = {
        "ssr": "what suffices for the class, alone and with all else filled in",
        "sdr": "what the class cannot do without, and the picture with it filled in",
    }
    return f"{name}: {'; '.join(shown[own.kind] for own in found.regions)}."


def _write_pictures(path: Path, found: "Explanation", inputs: Inputs, scale: Scale) -> None:
    """Maps and counterfactuals as PNG, in the size of the input."""
    import numpy as np

    low, high = RANGES[scale] if inputs.scaled else (float(found.x.min()), float(found.x.max()))
    size = found.partition.canvas.shape
    folder = path / "counterfactuals"
    folder.mkdir(exist_ok=True)
    n = min(len(found), MOST_PICTURES)
    if n < len(found):
        print(
            f"backthrough: pictures of the first {n} inputs; explanation.npz holds all {len(found):,}",
            file=sys.stderr,
        )
    for i, name in enumerate(_file_names(inputs.names[:n])):
        _save_png(path / f"map-{name}.png", np.rint(255 * found.map[i]))
        for own in found.regions:
            for draw, values in enumerate(own.counterfactuals[i]):
                pixels = _picture(values, size)
                bytes_ = np.rint(255 * np.clip((pixels - low) / max(high - low, 1e-12), 0, 1))
                _save_png(folder / f"{name}-{own.kind}-{draw}.png", bytes_)


def _picture(values: "np.ndarray", size: tuple[int, ...]) -> "np.ndarray":
    from backthrough.explain.drawing import as_picture

    return as_picture(values, size)


def _save_png(path: Path, values: "np.ndarray") -> None:
    import numpy as np
    from PIL import Image

    from backthrough.core.files import write_atomically

    picture = Image.fromarray(values.astype(np.uint8))
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def _file_names(names: tuple[str, ...]) -> list[str]:
    """Names that can be part of a file's, each once."""
    plain = [re.sub(r"[^\w-]+", "-", name.rsplit(".", 1)[0]).strip("-") or "input" for name in names]
    return [own if plain.count(own) == 1 else f"{own}-{i}" for i, own in enumerate(plain)]
