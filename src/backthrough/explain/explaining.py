"""`explain`: which units of an input a model's answer rests on."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import (
    ArgumentError,
    PRNGKey,
    Scalar,
    check_choice,
    check_integer,
    check_key,
)
from backthrough.estimators import n_evaluations
from backthrough.explain.certificate import (
    Answer,
    Certified,
    certify,
    check_answer,
    n_calls,
    notes_of,
    regions_of,
)
from backthrough.explain.explanation import Explanation, Kind
from backthrough.explain.infill import Infiller, check_infiller
from backthrough.explain.learning import choose_estimator
from backthrough.explain.objective import Objective, Question
from backthrough.explain.problem import CLIP, Problem, make_problem
from backthrough.explain.search import Search, Searcher
from backthrough.explain.units import Partition, Units
from backthrough.train import map_in_chunks

KINDS: tuple[Kind, ...] = ("ssr", "sdr")
DRAWS = 4  # of an infiller whose draws differ
MOST_COST = 1e6  # beyond it scores are lost in single precision
AREA_COST = 50.0  # log-odds for the whole area: 1e-3 for each of 224 x 224 pixels
AT_ONCE_ON_HOST = 32
EFFORT = 1  # of the compiler: at 3 it unrolls loops of a few units for a minute, and runs no faster


def explain(
    model: Any,
    x: Any,
    *,
    target: Any,
    infill: Any,
    units: Any,
    objective: str = "both",
    estimator: Any = "auto",
    area_cost: float = AREA_COST,
    search: Search | None = None,
    score: Callable[[Array], Scalar] | None = None,
    clip: float = CLIP,
    n_counterfactuals: int = 4,
    at_once: int | None = None,
    keep: str | Path | None = None,
    key: Any,
) -> Explanation:
    """Which region would have to change, realistically, for the model to answer differently.

    Chang et al. 2019 (FIDO): units of the input are kept or hidden at random, what is hidden is filled in
    with what could as well have been there, and the probabilities of keeping are learned. The smallest
    destroying region (SDR) is what the class cannot do without, the smallest supporting region (SSR) what
    suffices. What is returned is not only a map but a set of units with its certificate: the score before and
    after.

    Args:
        model: A JAX function or Equinox module of ONE input (outputs are logits, or wrap it: `JaxModel`), a
            torch module, a classifier of scikit-learn's kind, or `NumpyModel(function of a batch)`.
        x: Inputs along a leading axis, floating-point, as the model takes them.
        target: The class that is asked about, by its position among the outputs, for all inputs or for each;
            None: what the model predicts.
        infill: Fills in what is hidden. It is tested: kept features must stay, hidden ones must not be read.
        units: What is kept or hidden as one: `Grid`, `Pixels`, `Superpixels`, `Columns`, `Positions`.
        objective: `"ssr"`, `"sdr"` or `"both"`.
        estimator: Of gradients through the draws; see `choose_estimator`.
        area_cost: Log-odds that the whole area costs: a unit is selected if its part of the area costs less
            than it changes the score by.
        search: Settings of the search; `PUBLISHED` is the recipe of the paper.
        score: Maps the outputs of one input to the number to explain, in place of the log-odds of a class:
            for a model with one output, or a regression.
        clip: How far probabilities are kept from 0 and 1, so that log-odds are finite.
        n_counterfactuals: Draws of the certificate.
        at_once: Inputs in one program: more are quicker, and need more memory. By default 1 for a JAX model
            on a CPU, so that a result does not depend on the other inputs by one bit, and 32 elsewhere.
        keep: A folder for finished inputs, from which a stopped call goes on.
        key: Determines everything; input i uses `fold_in(key, i)`. Or one key for each input.

    Returns:
        The explanation, on the host.

    Raises:
        ArgumentError: for a model, target, infiller, unit or setting that cannot be, naming it and the cure.
        DataError: for inputs that are not finite.

    Examples:
        >>> import jax, numpy as np
        >>> from backthrough.explain import Columns, explain
        >>> from backthrough.explain.infill import Mean
        >>> weight = np.array([[0.0, 0.0], [3.0, 0.1]])  # the second class rests on the first column
        >>> found = explain(
        ...     lambda row: jax.numpy.asarray(weight) @ row,
        ...     np.ones((1, 2)),
        ...     target=1,
        ...     infill=Mean.fit(np.array([[1.0, 1.0], [-1.0, -1.0]])),
        ...     units=Columns(),
        ...     area_cost=2.0,
        ...     key=jax.random.key(0),
        ... )
        >>> found.sdr.selected.tolist()
        [[True, False]]
    """
    if isinstance(x, Tracer):
        raise ArgumentError("explain looks at values and compiles for itself: call it outside of jit")
    check_choice("objective", objective, (*KINDS, "both"))
    check_integer("n_counterfactuals", n_counterfactuals, minimum=1)
    cost = _check_cost(area_cost)
    problem = make_problem(model, x, target, score=score, clip=clip)
    partition = _partition(units, problem.x.shape[1:])
    keys = _keys(key, len(problem.x))
    check_infiller(infill, problem.x, key=jax.random.fold_in(keys[0], 0x1EAF))
    search = search or Search()
    chosen = choose_estimator(
        estimator,
        differentiable=problem.bound.differentiable,
        conditional=infill.conditional,
        n_units=partition.n_units,
        key=jax.random.key(0),
    )
    sets = dist.Bernoulli(logits=jnp.zeros(partition.n_units))
    per_step = n_evaluations(jnp.sum, sets, estimator=chosen, n_samples=search.n_samples)
    kinds: tuple[Kind, ...] = tuple(kind for kind in KINDS if objective in (kind, "both"))
    loss = Objective(
        problem.score,
        infill,
        jnp.asarray(partition.labels),
        jnp.asarray(partition.area, jnp.float32),
        jnp.asarray(cost, jnp.float32),
    )
    n_draws = search.n_draws or (1 if _draws_are_the_same(infill, problem.x[0], keys[0]) else DRAWS)
    searcher = Searcher.of(search, partition, chosen, n_draws)
    if at_once is None:
        alone = problem.bound.differentiable and jax.default_backend() == "cpu"
        at_once = 1 if alone else AT_ONCE_ON_HOST
    found = map_in_chunks(
        partial(_explain_chunk, kinds, n_counterfactuals),
        (loss, searcher),
        (problem.x, problem.target, keys),
        at_once=at_once,
        label="explaining",
        keep=keep,
        effort=EFFORT,
        signature=lambda: _signature(problem, infill, (search, n_draws, chosen, kinds, n_counterfactuals)),
    )
    check_answer(found)
    total = search.n_calls(len(searcher.windows), per_step, n_draws)
    total += n_calls(n_counterfactuals, partition.n_units)
    regions = {
        kind: regions_of(kind, jax.tree_util.tree_map(lambda own, i=i: own[:, i], found.regions), total)
        for i, kind in enumerate(kinds)
    }
    return Explanation(
        x=np.asarray(problem.x),
        target=np.asarray(problem.target),
        predicted=problem.predicted,
        score=found.score,
        ssr=regions.get("ssr"),
        sdr=regions.get("sdr"),
        partition=partition,
        notes=notes_of(problem, infill, found.score, list(regions.values())),
        classes=problem.bound.classes,
    )


def _explain_chunk(
    kinds: tuple[Kind, ...],
    n_draws: int,
    shared: tuple[Objective, Searcher],
    chunk: tuple[Array, Array, Array],
) -> Answer:
    objective, searcher = shared

    def of_input(x: Array, target: Array, key: PRNGKey) -> Answer:
        score = objective.score(x, target)

        def of_kind(is_sdr: Array, key: PRNGKey) -> Certified:
            question = Question(x, target, is_sdr, searcher.reach(score))
            return certify(objective, searcher, question, n_draws, key)

        is_sdr = jnp.array([kind == "sdr" for kind in kinds])
        own = jax.vmap(lambda number: jax.random.fold_in(key, number))(is_sdr.astype(jnp.uint32))
        return Answer(score, jax.vmap(of_kind)(is_sdr, own))

    return jax.vmap(of_input)(*chunk)


def _draws_are_the_same(infill: Infiller, x: Array, key: PRNGKey) -> bool:
    """Whether what is filled in does not depend on the key."""
    draws = infill.sample(x, jnp.zeros(x.shape, bool), key=key, n_samples=2)
    return bool(jnp.array_equal(draws[0], draws[1]))


def _signature(problem: Problem, infill: Infiller, settings: Any) -> Float[np.ndarray, "number"]:
    """Numbers that change with model, score, infiller and settings: finished inputs are found by them."""
    x, target = problem.x[0], problem.target[0]
    hidden = jnp.zeros(x.shape, bool)
    half = hidden.reshape(-1).at[: x.size // 2].set(True).reshape(x.shape)
    keys = jax.random.split(jax.random.key(0))
    draws = [
        infill.sample(x, mask, key=key, n_samples=1) for mask, key in zip((hidden, half), keys, strict=True)
    ]
    scores = [problem.score(own[0], target) for own in draws]
    words = hashlib.sha256(repr(settings).encode()).digest()
    parts = (problem.bound.outputs, *draws, *scores, np.frombuffer(words, np.uint8))
    return np.concatenate([np.asarray(own, np.float32).reshape(-1) for own in parts])


def _check_cost(area_cost: float) -> float:
    try:
        cost = float(area_cost)
    except (TypeError, ValueError):
        raise ArgumentError(f"area_cost must be a number, got {area_cost!r}") from None
    if not (np.isfinite(cost) and cost >= 0):
        raise ArgumentError(f"area_cost must be finite and not negative, got {area_cost!r}")
    if cost > MOST_COST:
        raise ArgumentError(
            f"area_cost is in log-odds for the whole area, at most {MOST_COST:g}, got {area_cost!r}"
        )
    return cost


def _partition(units: Any, shape: tuple[int, ...]) -> Partition:
    if not isinstance(units, Units):
        raise ArgumentError(f"units must be Grid, Pixels, Superpixels, Columns or Positions, got {units!r}")
    return units.cut(shape)


def _keys(key: Any, n: int) -> Array:
    """One key for each input."""
    if isinstance(key, jax.Array) and key.ndim == 1 and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if len(key) != n:
            raise ArgumentError(f"key must be one key or one for each of {n} inputs, got {len(key)}")
        return key
    check_key(key)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))
