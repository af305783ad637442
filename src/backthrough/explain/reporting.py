"""An explanation in words and numbers, beside as much chosen at random."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from backthrough.core import check_integer
from backthrough.explain.explanation import Explanation, Kind, Regions
from backthrough.train import Headline, Number, ResultTable, mean_number

MOST_ROWS = 20
AtRandom = Mapping[Kind, Float[np.ndarray, "input set"]]
"""Scores with as many units chosen at random, as `measures.scores_at_random` has them."""


def sentence(explanation: Explanation, at_random: AtRandom, names: Sequence[str] = ()) -> str:
    """What came out, and whether it is more than as much at random does.

    Args:
        explanation: What was found.
        at_random: What as many units at random do.
        names: Of the inputs.
    """
    if len(explanation) == 1:
        parts = [_of_one(explanation, own, at_random[own.kind], *names[:1]) for own in explanation.regions]
        return f"{'; '.join(parts)}. Scores are log-odds: above 0 the class has more than half."
    parts = [_of_many(explanation, own, at_random[own.kind]) for own in explanation.regions]
    return f"{'; '.join(parts)}."


def headline(
    explanation: Explanation, at_random: AtRandom, names: Sequence[str] = (), picture: str = ""
) -> Headline:
    """The sentence, and the number that it rests on."""
    first = explanation.regions[-1]
    return Headline(sentence(explanation, at_random, names), f"score, region {first.verb}", picture)


def numbers(explanation: Explanation, at_random: AtRandom) -> list[Number]:
    """Means over the inputs; of one input, over the draws."""
    n = len(explanation)
    over = "one input" if n == 1 else f"mean over {n:,} inputs"
    found = [_number("score as it is", explanation.score, f"log-odds of the class, {over}")]
    for own in explanation.regions:
        what = f"with the {own.kind.upper()} {own.verb} and the rest filled in"
        if own.kind == "sdr":
            what = "with the SDR hidden and filled in"
        score = _number(f"score, region {own.verb}", own.score, f"{what}, {over}")
        if n == 1 and own.score_error[0] > 0:
            draws = own.counterfactuals.shape[1]
            score = Number(
                score.name, score.value, "", f"{what}, {over}, {draws} draws", float(own.score_error[0])
            )
        random = at_random[own.kind]
        ends = "keep" if own.kind == "ssr" else "lose"
        found += [
            score,
            _number(
                f"score, at random {own.verb}",
                random.mean(axis=1),
                f"as many units, {random.shape[1]} sets, {over}",
            ),
            _number(f"area {own.verb}", own.area, f"part of the whole, {over}"),
            _number(f"success ({own.kind})", own.success, f"part of the draws that {ends} the class, {over}"),
        ]
    calls = sum(own.n_model_calls for own in explanation.regions)
    found.append(Number("model calls", float(calls), "", "of the search, with changed inputs, for one input"))
    return found


def tables(
    explanation: Explanation, names: Sequence[str], *, most_rows: int = MOST_ROWS
) -> list[ResultTable]:
    """What a reader must know before trusting it, and the certificates of the first inputs."""
    check_integer("most_rows", most_rows, minimum=1)
    found = []
    if explanation.notes:
        notes = tuple((note[0].upper() + note[1:],) for note in explanation.notes)
        found.append(ResultTable("Before you trust it", ("note",), notes))
    head = ("input", "region", "class", "score before", "score after", "success", "area", "units")
    rows = []
    for own in explanation.table().to_dict("records"):
        error = own["standard error"]
        spread = f" ± {error:.2g}" if error > 0 else ""
        rows.append(
            (
                names[own["input"]] if names else str(own["input"]),
                own["region"],
                own["class"],
                f"{own['score before']:.2f}",
                f"{own['score after']:.2f}{spread}",
                f"{own['success']:.0%}",
                f"{own['area']:.1%}",
                own["which"],
            )
        )
    shown = rows[:most_rows]
    more = "" if len(rows) == len(shown) else f", the first {len(shown)} of {len(rows):,}"
    found.append(ResultTable(f"Certificates{more}", head, tuple(shown)))
    return found


def _of_one(
    explanation: Explanation, own: Regions, random: Float[np.ndarray, "input set"], name: str = "the input"
) -> str:
    label = explanation.name_of(int(explanation.target[0]))
    before, after, area = explanation.score[0], own.score[0], f"{own.area[0]:.0%}"
    chance = f"as much at random: {random[0].mean():.1f}"
    if not own.selected[0].any():
        return f"no part of {name} is worth its area ({own.kind.upper()})"
    if own.kind == "ssr":
        verdict = "keeps" if own.success[0] > 0.5 else "does not keep"
        return f"{area} of {name} alone {verdict} class {label}, with a score of {after:.1f} ({chance})"
    if before <= 0:
        return f"{name} has a score of {before:.1f} for class {label} as it is, so there is nothing to lose"
    verdict = "loses" if own.success[0] > 0.5 else "does not lose"
    return (
        f"with {area} of {name} hidden, it {verdict} class {label}: its score goes from {before:.1f} to "
        f"{after:.1f} ({chance})"
    )


def _of_many(explanation: Explanation, own: Regions, random: Float[np.ndarray, "input set"]) -> str:
    n = len(explanation)
    area = f"{own.area.mean():.0%}"
    done = int(np.sum(own.success > 0.5))
    if own.kind == "ssr":
        chance = int(np.sum((random > 0).mean(axis=1) > 0.5))
        return f"{area} alone suffice for the class in {done} of {n:,} inputs; as much at random in {chance}"
    chance = int(np.sum((random <= 0).mean(axis=1) > 0.5))
    return f"with {area} hidden, {done} of {n:,} inputs lose their class; with as much at random {chance}"


def _number(name: str, values: Float[np.ndarray, "input"], what: str) -> Number:
    if len(values) == 1:
        return Number(name, float(values[0]), "", what)
    return mean_number(name, values, "", what)
