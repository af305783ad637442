"""Which letters of a splice junction a classifier's answer rests on (FIDO; Chang et al. 2019)."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, check_choice, check_integer, check_positive
from backthrough.datasets import load
from backthrough.explain import Explanation, Positions, Search, explain
from backthrough.explain.compared import Gradient, IntegratedGradients, Occlusion, saliency
from backthrough.explain.infill import VAEAC, Infiller, Marginal
from backthrough.recipes.explain.fido_splice.classifier import SpliceClassifier, predicted, train_classifier
from backthrough.recipes.explain.fido_splice.config import INFILLS, Config
from backthrough.recipes.explain.fido_splice.junctions import (
    DINUCLEOTIDES,
    LENGTH,
    LETTERS,
    Junctions,
    split_junctions,
)
from backthrough.train import Headline, Number, ResultTable, Run, mean_number, with_error

FRESH_DRAWS = 16  # of certificates, and of occlusion's infiller


def run(config: Config, run: Run) -> None:
    """Trains a classifier, explains its right answers, and counts where the two letters rank."""
    _check(config)
    train, test = split_junctions(load("uci-splice"), seed=config.seed)
    model_key, infill_key, explain_key, occlusion_key = jax.random.split(jax.random.key(config.seed), 4)
    model = train_classifier(train, key=model_key, n_steps=config.n_steps, run=run)
    right = predicted(model, test) == test.labels
    rows = np.flatnonzero(right & (test.labels != test.class_names.index("N")))
    if config.n_rows:
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.n_rows])
    shown = test.of(rows)
    found = {}
    for name in config.infills:
        infill = make_infiller(name, train, n_steps=config.infill_steps, key=infill_key)
        found[name] = explain(
            model,
            shown.letters,
            target=shown.labels,
            infill=infill,
            units=Positions(),
            area_cost=config.area_cost,
            search=Search(n_draws=config.n_draws),
            n_counterfactuals=FRESH_DRAWS,
            key=explain_key,
        )
    maps = {_called(name): ranked(own, config.rank) for name, own in found.items()}
    others = compared(model, shown, train, key=occlusion_key)
    numbers = [
        mean_number(
            "accuracy of the classifier", right.astype(float), "", "all test sequences, of three classes"
        ),
        *rank_numbers(config, shown, maps | others),
        *certificate_numbers(found),
    ]
    draw_maps(run, shown, maps, others)
    run.save_result(
        numbers,
        headline=headline(config, shown, next(iter(maps)), maps | others),
        tables=[certificate_table(shown, name, own) for name, own in found.items()],
    )


def _check(config: Config) -> None:
    for name in ("n_draws", "n_steps", "infill_steps"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("n_rows", config.n_rows, minimum=0)
    check_integer("seed", config.seed, minimum=0)
    if not 2 <= check_integer("top", config.top, minimum=2) <= LENGTH:
        raise ArgumentError(f"top must be 2 to {LENGTH}, got {config.top}")
    check_positive("area_cost", config.area_cost)
    check_choice("rank", config.rank, ("joint", "sdr", "ssr"))
    if not config.infills:
        raise ArgumentError("infills needs at least one name")
    for name in config.infills:
        check_choice("infill", name, INFILLS)


def make_infiller(name: str, train: Junctions, *, n_steps: int, key: PRNGKey) -> Infiller:
    """An infiller of letters.

    Args:
        name: Of `INFILLS`.
        train: What it is fitted to; the VAEAC, of letters that are certain, to sequences without others.
        n_steps: Of the VAEAC's training.
        key: For the VAEAC.
    """
    if name == "marginal":
        return Marginal.fit(train.letters)
    return VAEAC.fit(train.letters[train.certain], one_hot="last", n_steps=n_steps, key=key)


def ranked(found: Explanation, rank: str) -> Float[np.ndarray, "row 60"]:
    """What positions are ranked by: a probability, or the geometric mean of both."""
    own = [region.probability for region in found.regions if rank in ("joint", region.kind)]
    return found.draw(np.prod(own, axis=0) ** (1 / len(own)))


def compared(
    model: SpliceClassifier, shown: Junctions, train: Junctions, *, key: PRNGKey
) -> dict[str, Float[np.ndarray, "row 60"]]:
    """Maps by plainer methods."""
    mean = train.letters.mean(axis=0)
    methods = {
        "gradient": Gradient(),
        "integrated gradients": IntegratedGradients(baseline=mean),
        "occlusion by no letter": Occlusion(),
        "occlusion by marginal": Occlusion(infill=Marginal.fit(train.letters), n_samples=FRESH_DRAWS),
    }
    return {
        name: saliency(model, shown.letters, method=own, target=shown.labels, units=Positions(), key=key)
        for name, own in methods.items()
    }


def is_among_first(maps: Float[np.ndarray, "row 60"], shown: Junctions, top: int) -> Bool[np.ndarray, "row"]:
    """Whether both letters of a row's dinucleotide are among the `top` positions that are ranked highest."""
    first = np.argsort(-maps, axis=1, kind="stable")[:, :top]
    places = np.array([DINUCLEOTIDES[shown.class_names[label]] for label in shown.labels])
    return (first[:, None, :] == places[:, :, None]).any(axis=2).all(axis=1)


def rank_numbers(
    config: Config, shown: Junctions, maps: dict[str, Float[np.ndarray, "row 60"]]
) -> list[Number]:
    """How often the two letters are among the first, of all and of each class."""
    numbers = []
    for name, own in maps.items():
        found = is_among_first(own, shown, config.top).astype(float)
        what = f"right answers about test sequences, both letters among the first {config.top} of {LENGTH}"
        numbers.append(mean_number(f"{KEY} ({name})", found, "", what))
        for label, kind in enumerate(shown.class_names):
            if (shown.labels == label).any():
                part = found[shown.labels == label]
                numbers.append(mean_number(f"{KEY} of {kind} ({name})", part, "", f"{what}, {kind}"))
    return numbers


KEY = "dinucleotide among the first"


def certificate_numbers(found: dict[str, Explanation]) -> list[Number]:
    """Whether regions keep or lose the class, and how large they are."""
    numbers = []
    for name, own in found.items():
        for region in own.regions:
            what = f"{FRESH_DRAWS} fresh draws of {name} for each sequence, positions {region.verb}"
            label = f"{region.kind.upper()} ({name})"
            numbers.append(mean_number(f"success of the {label}", region.success, "", what))
            numbers.append(mean_number(f"positions of the {label}", region.area * LENGTH, "", what))
    return numbers


def certificate_table(shown: Junctions, name: str, found: Explanation) -> ResultTable:
    """What regions do to the score, by class."""
    rows = []
    for region in found.regions:
        for label, kind in enumerate(shown.class_names):
            own = shown.labels == label
            if own.any():
                means = (found.score, region.score, region.success, region.area * LENGTH)
                cells = (_mean(values[own]) for values in means)
                rows.append((region.kind.upper(), region.verb, kind, str(own.sum()), *cells))
    head = ("region", "positions are", "class", "rows", "score before", "after", "success", "positions")
    return ResultTable(f"Certificates, hidden letters by {name}: means over rows", head, tuple(rows))


def _mean(values: Float[np.ndarray, "row"]) -> str:
    number = mean_number("", values, "", "")
    return with_error(number.value, number.standard_error)


def headline(
    config: Config, shown: Junctions, first: str, maps: dict[str, Float[np.ndarray, "row 60"]]
) -> Headline:
    """How often the first infill's map ranks the letters so high, beside plainer methods."""
    found = {name: is_among_first(own, shown, config.top) for name, own in maps.items()}
    sentence = (
        f"The two letters that end or begin an intron are among the first {config.top} of {LENGTH} positions "
        f"in {_percent(found[first])} of {len(shown.labels)} test sequences ({first}); by the gradient in "
        f"{_percent(found['gradient'])}, by occlusion in {_percent(found['occlusion by no letter'])}, by "
        f"integrated gradients in {_percent(found['integrated gradients'])}."
    )
    return Headline(sentence, f"{KEY} ({first})", "maps.svg")


def _percent(found: Bool[np.ndarray, "row"]) -> str:
    return f"{100 * found.mean():.3g} %"


def _called(infill: str) -> str:
    return f"FIDO, {infill}"


def draw_maps(
    run: Run,
    shown: Junctions,
    maps: dict[str, Float[np.ndarray, "row 60"]],
    others: dict[str, Float[np.ndarray, "row 60"]],
) -> None:
    """Mean maps over positions, a row for each infiller and a column for each class."""
    kinds = [kind for kind in DINUCLEOTIDES if (shown.labels == shown.class_names.index(kind)).any()]
    figure = Figure(figsize=(8.5, 0.5 + 1.9 * len(maps) * len(kinds)), layout="constrained")
    panels = figure.subplots(len(maps) * len(kinds), 1, squeeze=False)[:, 0]
    cases = [(kind, name) for kind in kinds for name in maps]
    for axes, (kind, name) in zip(panels, cases, strict=True):
        own = shown.labels == shown.class_names.index(kind)
        places = DINUCLEOTIDES[kind]
        draw_positions(axes, maps[name][own], places, consensus(shown.letters[own]))
        gradient = others["gradient"][own].mean(axis=0)
        axes.plot(gradient / gradient.max(), color="0.2", linewidth=0.9, label="gradient, of its largest")
        axes.set_title(f"{kind}, {name}: mean of {own.sum()} sequences")
        axes.set_ylabel("probability")
    panels[0].legend(loc="upper left")
    panels[-1].set_xlabel("most frequent letter at each position; the junction is the dashed line")
    caption = (
        "How much each position matters: the mean map over right answers about test sequences, with its "
        "standard error. In colour: the two letters of the intron that biology knows, GT at a donor (EI) and "
        "AG at an acceptor (IE)."
    )
    run.figures.save_plot("maps", figure, caption=caption)


def draw_positions(
    axes: Axes, maps: Float[np.ndarray, "row 60"], places: Sequence[int], letters: str
) -> None:
    """Bars of the mean, dark at the dinucleotide."""
    at = np.arange(LENGTH)
    error = maps.std(axis=0) / np.sqrt(len(maps))
    colours = np.where(np.isin(at, places), "C1", "0.75")
    axes.bar(at, maps.mean(axis=0), yerr=error, color=colours, error_kw={"lw": 0.7})
    axes.axvline(LENGTH / 2 - 0.5, color="0.5", linewidth=0.8, linestyle="--")
    axes.set_xticks(at, list(letters), fontsize="x-small")
    axes.set_xlim(-0.8, LENGTH - 0.2)
    axes.set_ylim(0, 1.05)
    axes.grid(visible=False, axis="x")


def consensus(letters: Float[np.ndarray, "row 60 4"]) -> str:
    """The most frequent letter of each position."""
    return "".join(LETTERS[i] for i in letters.sum(axis=0).argmax(axis=1))
