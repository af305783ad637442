"""The test that an infiller keeps what is kept, and reads nothing of what is hidden."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped

from backthrough.core import ArgumentError, PRNGKey, check_integer, check_key
from backthrough.explain.infill.infiller import Infiller

N_SAMPLES = 2
METHODS = ("conditional", "leaks", "sample")


def check_infiller(
    infiller: Any, x: Shaped[np.ndarray | Array, "..."], *, key: PRNGKey, n_masks: int = 4
) -> None:
    """Refuses an infiller that changes kept features, or whose draws depend on hidden ones.

    It fills in examples under masks of which the first keeps nothing and the second everything, and again
    with other numbers, zeros, the largest numbers of the type and NaNs in place of what is hidden. What
    comes back must not differ in a single bit. With `leaks=True` the hidden features stay as they are.

    Args:
        infiller: What is tested: any `Infiller`, one's own too.
        x: Examples along a leading axis; no more than `n_masks` of them are used.
        key: Determines masks and draws.
        n_masks: How many masks, two or more; each costs ten draws, in a handful of calls.

    Raises:
        ArgumentError: naming what is wrong and how it is mended: with the infiller, or with x, which is not
            what the infiller was fitted to.

    Examples:
        >>> from backthrough.explain.infill import LocalMean
        >>> check_infiller(LocalMean(3), np.ones((2, 8, 8, 3), np.float32), key=jax.random.key(0))
    """
    missing = [name for name in METHODS if not hasattr(infiller, name)]
    if missing:
        raise ArgumentError(
            f"{_name(infiller)} is no infiller, it lacks {', '.join(missing)}; a NumPy function on batches "
            "becomes one by NumpyInfiller(f)"
        )
    check_key(key)
    check_integer("n_masks", n_masks, minimum=2)
    _check_examples(x)
    own_check = getattr(infiller, "check", None)
    if own_check is not None:
        own_check(x)
    examples = jnp.asarray(np.resize(np.asarray(x), (n_masks, *x.shape[1:])))
    _check_type(infiller, examples[0], key)
    mask_key, sample_key, other_key = jax.random.split(key, 3)
    masks = _masks(mask_key, examples.shape)
    keys = jax.random.split(sample_key, n_masks)

    def fill(values: Array) -> np.ndarray:
        return np.asarray(_filled(infiller, values, masks, keys))

    found = fill(examples)
    _check_kept(infiller, found, np.asarray(examples), np.asarray(masks))
    _check_same(
        found,
        fill(examples),
        f"{_name(infiller)} gives other draws with the same key: it must be a pure function of x, mask and "
        "key",
    )
    if infiller.leaks:
        return
    for name, others in _replacements(examples, other_key).items():
        changed = jnp.where(masks, examples, others)
        _check_same(
            found,
            fill(changed),
            f"{_name(infiller)} reads hidden features: with {name} in their place it gives other draws. "
            "Begin with jnp.where(mask, x, 0) and use only that and the mask, or declare leaks=True",
        )


def _check_examples(x: Any) -> None:
    if x.ndim < 2 or not x.size:
        raise ArgumentError(f"x needs a leading axis of examples that have features, got shape {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ArgumentError(
            f"x must hold floating-point numbers, scaled as for the model, got {x.dtype}; for pictures of "
            "bytes that may be x.astype(np.float32) / 255"
        )
    values = np.asarray(x).astype(np.float64)
    if not np.isfinite(values).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ArgumentError(f"x must be finite, but x{list(at)} is {values[at]}")


def _check_type(infiller: Infiller, x: Array, key: PRNGKey) -> None:
    """Shape and type of the draws, before anything is computed."""
    made = eqx.filter_eval_shape(
        lambda x, mask, key: infiller.sample(x, mask, key=key, n_samples=N_SAMPLES),
        x,
        jnp.ones(x.shape, bool),
        key,
    )
    if getattr(made, "shape", None) != (N_SAMPLES, *x.shape):
        raise ArgumentError(
            f"{_name(infiller)} must give draws of shape (n_samples, *x.shape), here "
            f"{(N_SAMPLES, *x.shape)}, got {getattr(made, 'shape', made)}"
        )
    if made.dtype != x.dtype:
        raise ArgumentError(
            f"{_name(infiller)} must give draws in the type of x, {x.dtype}, got {made.dtype}: end with "
            "jnp.where(mask, x, filled.astype(x.dtype))"
        )


def _masks(key: PRNGKey, shape: tuple[int, ...]) -> Bool[Array, "mask ..."]:
    """Nothing kept, everything kept, and then a random part of the features."""
    part_key, feature_key = jax.random.split(key)
    parts = jax.random.uniform(part_key, (shape[0],)).at[:2].set(jnp.array([0.0, 1.0]))
    return jax.random.uniform(feature_key, shape) < parts.reshape(-1, *(1 for _ in shape[1:]))


@eqx.filter_jit
def _filled(infiller: Infiller, examples: Array, masks: Array, keys: Array) -> Array:
    return jax.vmap(lambda x, mask, key: infiller.sample(x, mask, key=key, n_samples=N_SAMPLES))(
        examples, masks, keys
    )


def _replacements(examples: Array, key: PRNGKey) -> dict[str, Array]:
    """What is put in place of hidden features."""
    largest = jnp.full_like(examples, jnp.finfo(examples.dtype).max)
    return {
        "other numbers": jax.random.normal(key, examples.shape).astype(examples.dtype),
        "zeros": jnp.zeros_like(examples),
        "very large numbers": largest,
        "NaNs": jnp.full_like(examples, jnp.nan),
    }


def _check_kept(infiller: Infiller, found: np.ndarray, x: np.ndarray, masks: np.ndarray) -> None:
    kept = np.broadcast_to(masks[:, None], found.shape)
    changed = kept & (_bits(found) != _bits(np.broadcast_to(x[:, None], found.shape)))
    if changed.any():
        at = tuple(int(i) for i in np.argwhere(changed)[0])
        raise ArgumentError(
            f"{_name(infiller)} changes features that are kept: {x[at[0]][at[2:]]} became {found[at]}. End "
            "with jnp.where(mask, x, filled.astype(x.dtype))"
        )
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        at = np.argwhere(~np.isfinite(values))[0]
        part = masks[at[0]].mean()
        raise ArgumentError(
            f"{_name(infiller)} drew {values[tuple(at)]} where {part:.0%} of the features are kept; masks "
            "that keep nothing must work too"
        )


def _check_same(found: np.ndarray, again: np.ndarray, message: str) -> None:
    if (_bits(found) != _bits(again)).any():
        difference = np.nanmax(np.abs(found.astype(np.float64) - again.astype(np.float64)))
        raise ArgumentError(f"{message} (largest difference {difference:.3g})")


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _name(infiller: object) -> str:
    return type(infiller).__name__
