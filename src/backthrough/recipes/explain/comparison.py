"""What the recipes of explanations share: one model explained with several infillers, and measured."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.explain import Explanation, Search, Units, explain
from backthrough.explain.compared import Occlusion, saliency
from backthrough.explain.drawing import draw_overview, show_draw, show_input
from backthrough.explain.infill import Blur, Constant, Infiller, LocalMean, Noise
from backthrough.explain.measures import localisation, pointing_game, relevance_mass
from backthrough.train import Number, Run, mean_number

GENERATIVE, OCCLUSION = "generative", "occlusion"
INFILLS = (GENERATIVE, "mean", "blur", "noise", "local-mean")
BLUR, LOCAL = 10 / 224, 5  # part of a side, pixels
MOST_SHOWN = 4


@runtime_checkable
class Options(Protocol):
    """What the configurations have in common."""

    @property
    def infills(self) -> tuple[str, ...]:
        """Infillers that are compared, generative first."""
        ...

    @property
    def n_inputs(self) -> int:
        """Inputs that are explained."""
        ...

    @property
    def n_starts(self) -> int:
        """As in `Search`."""
        ...

    @property
    def most_windows(self) -> int:
        """As in `Search`."""
        ...

    @property
    def n_rounds(self) -> int:
        """As in `Search`."""
        ...

    @property
    def n_proposals(self) -> int:
        """As in `Search`."""
        ...

    @property
    def n_steps(self) -> int:
        """As in `Search`."""
        ...

    @property
    def seed(self) -> int:
        """Determines all draws."""
        ...


@dataclass(frozen=True)
class Case:
    """What is explained, and where the truth is.

    Attributes:
        model: As `explain` takes it.
        x: The inputs.
        target: The class of each.
        units: Of the inputs.
        area_cost: Log-odds for the whole area.
        boxes: The true box of each.
        mean: What the plainest infill puts in, a number or one a channel.
        occlusion: Side and stride of the square of occlusion.
        masks: Exactly what is asked about, where that is known.
        distractors: What should not count.
    """

    model: Any
    x: Float[np.ndarray, "input height width channel"]
    target: Int[np.ndarray, "input"]
    units: Units
    area_cost: float
    boxes: Float[np.ndarray, "input side"]
    mean: Float[np.ndarray, "channel"]
    occlusion: tuple[int, int]
    masks: Bool[np.ndarray, "input height width"] | None = None
    distractors: Bool[np.ndarray, "input height width"] | None = None


def check(config: Options) -> None:
    """Refuses wrong options.

    Raises:
        ArgumentError: naming the option.
    """
    for name in config.infills:
        check_choice("infill", name, INFILLS)
    if config.infills[:1] != (GENERATIVE,) or len(set(config.infills)) < len(config.infills):
        raise ArgumentError(f"infills must be different names, {GENERATIVE} first, got {config.infills}")
    check_integer("n_inputs", config.n_inputs, minimum=1)
    check_integer("seed", config.seed, minimum=0)


@contextlib.contextmanager
def plain_code(wanted: bool) -> Iterator[None]:
    """Makes XLA write plain code, for short searches, which compile far longer than they run."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", bool(wanted or before))
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def explanations(config: Options, case: Case, infiller: Infiller, run: Run) -> dict[str, Explanation]:
    """The inputs explained with each infiller; finished inputs are kept in the run."""
    low, high = float(case.x.min()), float(case.x.max())
    side = case.x.shape[1]
    made: dict[str, Infiller] = {
        GENERATIVE: infiller,
        "mean": Constant(case.mean),
        "blur": Blur(BLUR * side),
        "noise": Noise(low, high),
        "local-mean": LocalMean(LOCAL, default=case.mean),
    }
    search = Search(
        n_starts=config.n_starts,
        most_windows=config.most_windows,
        n_rounds=config.n_rounds,
        n_proposals=config.n_proposals,
        n_steps=config.n_steps,
    )
    return {
        name: explain(
            case.model,
            case.x,
            target=case.target,
            infill=made[name],
            units=case.units,
            area_cost=case.area_cost,
            search=search,
            keep=run.path / "inputs" / name,
            key=jax.random.key(config.seed),
        )
        for name in config.infills
    }


def occlusion_maps(case: Case) -> Float[np.ndarray, "input height width"]:
    """Maps of the plainest method: a square of the mean colour is moved over the picture."""
    window, stride = case.occlusion
    method: Any = Occlusion(window, stride, baseline=case.mean)
    return saliency(case.model, case.x, method=method, target=case.target)


def measured(
    found: Mapping[str, Explanation], occlusion: Float[np.ndarray, "input height width"], case: Case
) -> list[Number]:
    """Certificates and localisation with each infiller, and localisation by occlusion."""
    n = len(case.x)
    over = f"mean over {n:,} inputs"
    numbers = []
    for name, own in found.items():
        for region in own.regions:
            what = "score and area's price" if region.kind == "sdr" else "less the score, and area's price"
            draws = f"draws that {'lose' if region.kind == 'sdr' else 'keep'} the class, {over}"
            kind = region.kind.upper()
            numbers += [
                mean_number(f"loss of the {kind} ({name})", region.loss, "", f"{what}, {over}"),
                mean_number(
                    f"success of the {kind} ({name})",
                    region.success,
                    "",
                    draws,
                ),
                mean_number(f"area of the {kind} ({name})", region.area, "", f"part of the picture, {over}"),
            ]
        numbers += _localised(name, own.map, own.mask("sdr").astype(float), case)
    return numbers + _localised(OCCLUSION, occlusion, occlusion, case)


def _localised(name: str, maps: np.ndarray, region: np.ndarray, case: Case) -> list[Number]:
    over = f"mean over {len(case.x):,} inputs"
    box = "box of the map above its mean" if name == OCCLUSION else "box of the SDR"
    numbers = [
        mean_number(
            f"overlap ({name})",
            localisation(region, case.boxes).overlap,
            "",
            f"{box} and the true one, intersection over union, {over}",
        ),
        mean_number(
            f"pointing ({name})",
            pointing_game(maps, case.boxes),
            "",
            f"whether the highest place of the map lies in the true box, {over}",
        ),
    ]
    if case.masks is not None:
        on_digits = relevance_mass(maps, case.masks, distractors=case.distractors)
        numbers += [
            mean_number(
                f"mass ({name})",
                relevance_mass(maps, case.masks),
                "",
                f"part of all relevance that lies on what is asked about, {over}",
            ),
            mean_number(
                f"mass of digits ({name})",
                on_digits,
                "",
                f"part of the relevance on digits that lies on the one asked about, {over}",
            ),
        ]
    return numbers


def draw(run: Run, found: Mapping[str, Explanation], case: Case, *, what: str, truth: str) -> str:
    """The overview, and with several infillers what each puts in; returns the name of the first picture."""
    first = found[GENERATIVE]
    caption = (
        f"{what}, dashed: {truth}. Then the map, the region that suffices, what the infiller makes of it "
        "alone, the region that is indispensable, and the picture with it filled in; below, log-odds of the "
        "class (above 0 it has more than half)."
    )
    run.figures.save_plot(
        "regions", draw_overview(first, rows=_shown(first), boxes=case.boxes), caption=caption
    )
    if len(found) > 1:
        run.figures.save_plot(
            "infills",
            _draw_infills(found),
            caption="The indispensable region with each infiller, filled in by it; below, the log-odds that "
            "are left, and the region's part of the area. A region can be small because it holds what "
            "matters, or because what was filled in is like nothing that the model knows.",
        )
    return "regions.svg"


def _shown(explanation: Explanation) -> Sequence[int]:
    return range(min(MOST_SHOWN, len(explanation)))


def _draw_infills(found: Mapping[str, Explanation]) -> Figure:
    """A row for each input, a column for each infiller."""
    rows = _shown(found[GENERATIVE])
    figure = Figure(figsize=(1.5 * (1 + len(found)), 1.68 * len(rows) + 0.2), layout="constrained")
    panels = figure.subplots(len(rows), 1 + len(found), squeeze=False)
    for panel, index in zip(panels, rows, strict=True):
        show_input(panel[0], found[GENERATIVE], index)
        panel[0].set_xlabel(f"score {found[GENERATIVE].score[index]:.1f}", fontsize="small")
        for axes, own in zip(panel[1:], found.values(), strict=True):
            region = own.sdr
            assert region is not None
            show_draw(axes, own, region, index, region.counterfactuals[index][0])
            axes.set_xlabel(f"{region.score[index]:.1f} ({region.area[index]:.0%})", fontsize="small")
    for axes, title in zip(panels[0], ("input", *found), strict=True):
        axes.set_title(title, fontsize="small")
    return figure


def value_of(numbers: Sequence[Number], name: str) -> float:
    """The value of one of them."""
    return next(own.value for own in numbers if own.name == name)
