"""How good a region is, measured afresh, and what a reader must know before trusting it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.explain.explanation import Kind, Regions
from backthrough.explain.infill import Infiller
from backthrough.explain.objective import Objective, Question
from backthrough.explain.problem import Problem
from backthrough.explain.search import Region, Searcher

CURVE_POINTS = 16


class Certified(NamedTuple):
    """A region with what was measured of it afresh."""

    region: Region
    scores: Float[Array, "draw"]
    counterfactuals: Float[Array, "draw ..."]
    curve: Float[Array, "point"]
    curve_area: Float[Array, "point"]
    area: Scalar
    loss: Scalar


class Answer(NamedTuple):
    """All of one input; regions have an axis of kinds."""

    score: Scalar
    regions: Certified


def certify(
    objective: Objective, searcher: Searcher, question: Question, n_draws: int, key: PRNGKey
) -> Certified:
    """Searches, and measures the best set with draws that the search has not seen."""
    search_key, draw_key, curve_key = jax.random.split(key, 3)
    region = searcher(objective, question, key=search_key)
    selected = region.selected.astype(objective.area.dtype)
    n_units = len(selected)
    counts = jnp.asarray(np.unique(np.linspace(0, n_units, min(CURVE_POINTS, n_units) + 1).round()))
    rank = jnp.argsort(jnp.argsort(-region.probability[0], stable=True))
    sets = rank < counts[:, None]
    # The set and those of the curve go through infiller and model together: half of the program.
    every = jnp.concatenate([jnp.repeat(selected[None], n_draws, axis=0), sets.astype(selected.dtype)])
    keys = jnp.concatenate([jax.random.split(draw_key, n_draws), jnp.repeat(curve_key[None], len(sets))])
    filled = jax.vmap(lambda own, key: objective.filled(question, own, key=key, n_draws=1)[0])(every, keys)
    scores, curve = jnp.split(
        jax.vmap(objective.score, in_axes=(0, None))(filled, question.target), [n_draws]
    )
    mean = jnp.mean(scores)
    return Certified(
        region=region,
        scores=scores,
        counterfactuals=filled[:n_draws],
        curve=curve,
        curve_area=jnp.sum(sets * objective.area, axis=1),
        area=jnp.sum(objective.area * selected),
        loss=jnp.where(question.is_sdr, mean, -mean) + objective.price(selected),
    )


def n_calls(n_draws: int, n_units: int) -> int:
    """Inputs that the model is called with for a certificate."""
    return n_draws + min(CURVE_POINTS, n_units) + 1


def regions_of(kind: Kind, found: Certified, n_calls: int) -> Regions:
    """What was found for one kind of region, of all inputs; arrays are on the host."""
    scores = np.asarray(found.scores)
    n_draws = scores.shape[1]
    error = np.full(len(scores), np.nan)
    if n_draws > 1:
        error = scores.std(axis=1, ddof=1) / np.sqrt(n_draws)
    positive = scores > 0
    probability = np.asarray(found.region.probability)
    return Regions(
        kind=kind,
        probability=probability[:, 0],
        spread=probability.std(axis=1),
        selected=np.asarray(found.region.selected),
        score=scores.mean(axis=1),
        score_error=error,
        success=(positive if kind == "ssr" else ~positive).mean(axis=1),
        area=np.asarray(found.area),
        loss=np.asarray(found.loss),
        counterfactuals=np.asarray(found.counterfactuals),
        curve=np.asarray(found.curve),
        curve_area=np.asarray(found.curve_area),
        history=np.asarray(found.region.history),
        changes=np.asarray(found.region.changes),
        n_model_calls=n_calls,
    )


def notes_of(
    problem: Problem, infill: Infiller, score: Float[np.ndarray, "input"], regions: list[Regions]
) -> tuple[str, ...]:
    """What a reader must know before trusting it."""
    notes = []
    if infill.leaks:
        notes.append(
            f"{type(infill).__name__} reads what it hides: what is hidden is not gone, so sets are too "
            "large, or wrong"
        )
    if problem.score.custom is None:
        classes, outputs = problem.bound.classes, problem.bound.outputs
        for own in np.unique(np.asarray(problem.target)):
            if str(own) in classes and classes[own] != str(own):
                notes.append(f"target {own} is a position, of the class {classes[own]!r}, not {str(own)!r}")
        if problem.bound.kind == "sigmoid" and outputs.min() >= 0 and outputs.max() <= 1:
            notes.append(
                "all outputs lie in [0, 1], and outputs='sigmoid' takes them for logits: if they are "
                "probabilities, return logits"
            )
        others = int(np.sum(problem.predicted != np.asarray(problem.target)))
        if others:
            notes.append(f"{others} of {len(score)} inputs have another predicted class than the target")
        for own in regions:
            trivial = int(np.sum(score <= 0)) if own.kind == "sdr" else 0
            if trivial:
                notes.append(f"{trivial} of {len(score)} inputs have a score of 0 or less as they are")
    limit = problem.score.limit * (1 - 2e-3)  # in single precision 1 - clip is a little off
    every = np.concatenate([np.abs(score), *(np.abs(own.score) for own in regions)])
    clipped = int(np.sum(every >= limit))
    if clipped:
        notes.append(
            f"{clipped} of {len(every)} scores are at the limit of {problem.score.limit:.3g} of clipped "
            f"probabilities (clip={problem.score.clip:g})"
        )
    for own in regions if problem.score.custom is None else ():
        failed = own.success <= 0.5
        hopeless = own.curve[:, -1] > 0 if own.kind == "sdr" else own.curve[:, -1] <= 0
        answer = "keep" if own.kind == "ssr" else "lose"
        if failed.any():
            notes.append(
                f"{failed.sum()} of {len(score)} inputs do not {answer} the class by their {own.kind}: lower "
                "area_cost lets sets grow"
            )
        if hopeless.any():
            what = "hiding" if own.kind == "sdr" else "keeping"
            notes.append(
                f"{hopeless.sum()} of {len(score)} inputs do not {answer} the class by {what} everything"
            )
    return tuple(notes)


def check_answer(found: Answer) -> None:
    """Refuses answers that hold a NaN, naming the input."""
    for name, values in (
        ("score", found.score),
        ("score with parts hidden", found.regions.scores),
        ("score while units are selected", found.regions.curve),
        ("loss while probabilities are learned", found.regions.region.history),
        ("loss while the set is changed", found.regions.region.changes),
    ):
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise ArgumentError(
                f"the {name} of input {int(np.argmax(bad))} is not finite: the model returns NaN or infinity "
                "for inputs with parts filled in"
            )
