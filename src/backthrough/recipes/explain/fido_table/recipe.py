"""Which measurements a forest's diagnoses rest on, columns filled in with and without their correlations."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from backthrough.core import ArgumentError, check_choice, check_integer, check_positive
from backthrough.explain import Columns, Explanation, Search, SklearnModel, explain
from backthrough.explain.compared import Occlusion, saliency
from backthrough.explain.infill import GaussianConditional, Infiller, Marginal
from backthrough.explain.measures import Curve, deletion_curve
from backthrough.recipes.explain.fido_table.config import INFILLS, Config
from backthrough.train import Headline, Number, ResultTable, Run, mean_number

FRESH_DRAWS = 16  # of certificates, occlusion and deletion
MALIGNANT = 0


class Table(NamedTuple):
    """Rows of training and test, and what the columns are.

    Attributes:
        x_train: Rows to learn from.
        y_train: Their classes.
        x_test: Held-out rows.
        y_test: Their classes.
        units: Columns of one measurement together, with names.
    """

    x_train: Float[np.ndarray, "train column"]
    y_train: Int[np.ndarray, "train"]
    x_test: Float[np.ndarray, "test column"]
    y_test: Int[np.ndarray, "test"]
    units: Columns


def run(config: Config, run: Run) -> None:
    """Fits a forest, explains some of its right answers with each infiller, and measures the maps."""
    _check(config)
    table = read_table(config.seed)
    forest = RandomForestClassifier(config.n_trees, random_state=config.seed, n_jobs=1)
    forest.fit(table.x_train, table.y_train)
    clip = 0.5 / config.n_trees  # a forest is never surer than all of its trees
    right = forest.predict(table.x_test) == table.y_test
    rows = np.flatnonzero(right & (table.y_test == MALIGNANT))  # most of what is drawn is benign
    if config.n_rows:
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.n_rows])
    x = table.x_test[rows]
    model = SklearnModel(forest)
    explain_key, occlusion_key, deletion_key = jax.random.split(jax.random.key(config.seed), 3)
    numbers = [mean_number("accuracy of the forest", right.astype(float), "", "test rows")]
    tables, areas, explained = [], {}, {}
    for name in config.infills:
        infill = make_infiller(name, table)
        found = explain(
            model,
            x,
            target=MALIGNANT,
            infill=infill,
            units=table.units,
            area_cost=config.area_cost,
            search=Search(n_draws=config.n_draws),
            clip=clip,
            n_counterfactuals=FRESH_DRAWS,
            key=explain_key,
        )
        occlusion: Any = Occlusion(infill=infill, n_samples=FRESH_DRAWS)
        plain = saliency(
            model, x, method=occlusion, target=MALIGNANT, units=table.units, clip=clip, key=occlusion_key
        )
        curves = {
            other: deletion_curve(
                model,
                x,
                maps,
                infill=infill,
                target=MALIGNANT,
                units=table.units,
                n_steps=len(table.units.names),
                n_samples=FRESH_DRAWS,
                key=deletion_key,
            )
            for other, maps in (("FIDO", needed(found)), ("occlusion", plain))
        }
        explained[name] = found
        areas |= {(other, name): curve for other, curve in curves.items()}
        numbers += certificate_numbers(name, found) + deletion_numbers(name, curves)
        tables.append(certificates(config, name, found))
    draw_rows(config, run, explained)
    draw_deletion(run, areas)
    run.save_result(numbers, headline=headline(config, numbers), tables=tables)


def _check(config: Config) -> None:
    for name in ("n_trees", "n_draws", "n_shown"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("n_rows", "seed"):
        check_integer(name, getattr(config, name), minimum=0)
    check_positive("area_cost", config.area_cost)
    if not config.infills:
        raise ArgumentError("infills needs at least one name")
    for name in config.infills:
        check_choice("infill", name, INFILLS)


def read_table(seed: int) -> Table:
    """Breast cancer of scikit-learn, 0 malignant and 1 benign; of each measurement mean, error and worst."""
    data: Any = load_breast_cancer()
    parts = train_test_split(data.data, data.target, test_size=0.3, random_state=seed, stratify=data.target)
    x_train, x_test, y_train, y_test = map(np.asarray, parts)
    columns = [str(name).removeprefix("mean ").removeprefix("worst ") for name in data.feature_names]
    columns = [name.removesuffix(" error") for name in columns]
    names = tuple(dict.fromkeys(columns))
    groups = tuple(tuple(i for i, own in enumerate(columns) if own == name) for name in names)
    return Table(x_train, y_train, x_test, y_test, Columns(groups, names))


def make_infiller(name: str, table: Table) -> Infiller:
    """An infiller of columns, fitted to the training rows."""
    if name == "gaussian":
        return GaussianConditional.fit(table.x_train)
    return Marginal.fit(table.x_train)


def needed(found: Explanation) -> Float[np.ndarray, "row column"]:
    """The probability with which each column is in what the answer cannot do without."""
    assert found.sdr is not None
    return found.draw(found.sdr.probability)


def certificate_numbers(infill: str, found: Explanation) -> list[Number]:
    """How often the regions do what they say, and how many measurements they take."""
    numbers = []
    for region in found.regions:
        name = f"{region.kind.upper()} ({infill})"
        what = f"malignant test rows told rightly, {FRESH_DRAWS} fresh draws each, measurements {region.verb}"
        numbers.append(mean_number(f"success of the {name}", region.success, "", what))
        n_units = region.selected.sum(axis=1).astype(float)
        numbers.append(mean_number(f"measurements of the {name}", n_units, "", what))
    return numbers


def deletion_numbers(infill: str, curves: dict[str, Curve]) -> list[Number]:
    """Areas under the class's probability while measurements are hidden, and how much less one is."""
    areas = {name: curve.probability_area for name, curve in curves.items()}
    what = f"the most important first, {infill} in their place; low where the map is good"
    numbers = [mean_number(f"deletion area ({name}, {infill})", own, "", what) for name, own in areas.items()]
    gain = areas["occlusion"] - areas["FIDO"]
    return [*numbers, mean_number(f"{GAIN} ({infill})", gain, "", "of the same rows, paired")]


GAIN = "deletion area of occlusion less FIDO's"


def certificates(config: Config, infill: str, found: Explanation) -> ResultTable:
    """The sets of the rows that are drawn, by name, and what they do."""
    names = np.array(found.partition.names)
    rows = []
    for i in unsure(found, config.n_shown):
        for region in found.regions:
            chosen = ", ".join(names[region.selected[i]]) or "none"
            after = f"{region.score[i]:.2f} ± {region.score_error[i]:.2f}"
            before = f"{found.score[i]:.2f}"
            success = f"{region.success[i]:.0%}"
            rows.append((str(i), region.kind.upper(), chosen, before, after, success))
    head = ("row", "region", f"measurements {infill} leaves or takes", "score before", "after", "success")
    return ResultTable(f"Certificates of the least sure rows ({infill})", head, tuple(rows))


def unsure(found: Explanation, n: int) -> Int[np.ndarray, "shown"]:
    """The rows of which the model is least sure."""
    return np.argsort(found.score, kind="stable")[:n]


def headline(config: Config, numbers: list[Number]) -> Headline:
    """Whether sets do what they say, and whether the map is better than hiding one column after the other."""
    by_name = {number.name: number for number in numbers}
    first = config.infills[0]
    kept, lost = (by_name[f"success of the {kind} ({first})"] for kind in ("SSR", "SDR"))
    few = by_name[f"measurements of the SSR ({first})"]
    sentence = (
        f"Of ten measurements {few.value:.1f} keep a forest's diagnosis in {100 * kept.value:.0f} % of draws "
        f"of the rest, and hiding the needed ones loses it in {100 * lost.value:.0f} % ({first}). Ranked by "
        "what is needed the class is lost "
        + ", ".join(f"{_compared(by_name[f'{GAIN} ({name})'])} ({name})" for name in config.infills)
        + " than when ranked by hiding one after the other."
    )
    return Headline(sentence, f"{GAIN} ({first})", "deletion.svg")


def _compared(gain: Number) -> str:
    """In a word, if it is more than two standard errors."""
    error = 2 * (gain.standard_error or 0.0)
    return "sooner" if gain.value > error else "later" if gain.value < -error else "no sooner or later"


def draw_rows(config: Config, run: Run, explained: dict[str, Explanation]) -> None:
    """Bars of the rows of which the forest is least sure, a column for each infiller."""
    from backthrough.explain.drawing import draw_bars

    first = next(iter(explained.values()))
    shown = unsure(first, config.n_shown)
    figure = Figure(figsize=(0.6 + 3.4 * len(explained), 1.6 + 1.5 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), len(explained), squeeze=False, sharex=True, sharey=True)
    for line, i in zip(panels, shown, strict=True):
        for axes, (name, found) in zip(line, explained.items(), strict=True):
            assert found.sdr is not None
            region = found.sdr
            draw_bars(
                axes, region.probability[i], region.spread[i], region.selected[i], found.partition.names
            )
            scores = f"{found.score[i]:.1f} → {region.score[i]:.1f}"
            axes.set_title(f"row {i}, {name}: {scores}", fontsize="small")
            axes.label_outer()
    caption = (
        "What the diagnosis cannot do without: the probability with which each measurement is hidden, with "
        "its spread over starts, for the rows of which the forest is least sure. In colour: the best set; "
        "above: the log-odds before and after."
    )
    run.figures.save_plot("rows", figure, caption=caption)


def draw_deletion(run: Run, areas: dict[tuple[str, str], Curve]) -> None:
    """The probability of the class while measurements are hidden."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    infills = list(dict.fromkeys(name for _, name in areas))
    for (method, name), curve in areas.items():
        style = "-" if method == "FIDO" else "--"
        colour = f"C{infills.index(name)}"
        mean = curve.probability.mean(axis=0)
        axes.plot(curve.fraction, mean, style, color=colour, label=f"{method}, {name}")
    axes.set_xlabel("part of the measurements that is hidden")
    axes.set_ylabel("probability of the class")
    axes.set_ylim(0, 1.02)
    axes.legend()
    caption = (
        "The forest's probability of its right answer while measurements are hidden, the most important "
        "first by each method. What is hidden is drawn by the infiller that is named."
    )
    run.figures.save_plot("deletion", figure, caption=caption)
