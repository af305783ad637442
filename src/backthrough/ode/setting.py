"""What a solve is given: the field, and the data of each lane."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import AnyTableau
from backthrough.ode.programs import Lanes
from backthrough.ode.rungekutta import Field
from backthrough.ode.tableaux import Tableau

FlatField = Callable[[Array, Array, Sequence[Any]], Array]
"""(time, state (size,), leaves) -> derivative (size,), for one example."""

N_LEADING = 4  # arguments before the leaves: y0, ts, limits (tolerances and the largest step), gaps


class Problem(NamedTuple):
    """The unchanging part of a solve.

    Attributes:
        field: The vector field on flat states.
        tableau: The method.
        max_steps: The most steps tried.
        n_steps: For a fixed-step method, the steps between neighbouring times.
        memory: Bytes that stored states may take; None for what is quick.
        compact: Whether lanes that have finished are dropped.
        throw: Whether a backward solve that fails raises.
        stop_at_ts: Whether steps end at the save times.
        tail: The method as it is compiled for the few lanes that go on when most have finished.
    """

    field: FlatField
    tableau: AnyTableau
    max_steps: int
    n_steps: int = 0
    memory: float | None = None
    compact: bool = True
    throw: bool = True
    stop_at_ts: bool = False
    tail: AnyTableau | None = None

    def of_tail(self) -> "Problem":
        """The problem for the few lanes that go on."""
        return self if self.tail is None else self._replace(tableau=self.tail)


def explicit(problem: Problem) -> Tableau:
    """The method, which must be an explicit one."""
    assert isinstance(problem.tableau, Tableau)
    return problem.tableau


class Setting(NamedTuple):
    """The data of a solve; with lanes, every entry but `leaves` ends in the axis of lanes.

    Times run forward from 0 whatever their direction was: `s = sign * (t - t0)`.

    Attributes:
        t0: The first time.
        sign: 1 or -1.
        times: All times but the first, as s.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        largest: The largest step; None if none was given.
        low: The beginnings of the gaps in time that lie before the last one, as s; infinite for others. Shape
            (jumps,).
        high: Their ends.
        leaves: The arrays that the field needs besides time and state.
        leaf_lanes: Which leaves have a leading axis of lanes; None without lanes.
    """

    t0: Array
    sign: Array
    times: Array
    rtol: Array
    atol: Array
    largest: Array | None
    low: Array
    high: Array
    leaves: tuple[Any, ...]
    leaf_lanes: Lanes

    @property
    def span(self) -> Array:
        """The last time, as s."""
        return self.times[-1]

    def real_time(self, s: Array) -> Array:
        """The time t of s."""
        return self.t0 + self.sign * s

    def take(self, lanes: Array) -> "Setting":
        """The setting of some of the lanes."""
        assert self.leaf_lanes is not None
        leaves = [
            jnp.take(x, lanes, axis=0) if own else x
            for x, own in zip(self.leaves, self.leaf_lanes, strict=True)
        ]
        of_lanes: Any = self._asdict()
        own = {
            name: jnp.take(of_lanes[name], lanes, axis=-1)
            for name in ("t0", "sign", "times", "rtol", "atol", "largest", "low", "high")
            if of_lanes[name] is not None
        }
        return self._replace(**own, leaves=tuple(leaves))

    def own(self, wanted: Sequence[int], n: int) -> "Setting":
        """The setting in which each lane has its own copy of some leaves."""
        assert self.leaf_lanes is not None
        leaves, flags = list(self.leaves), list(self.leaf_lanes)
        for i in wanted:
            if not flags[i]:
                leaves[i], flags[i] = jnp.broadcast_to(leaves[i], (n, *leaves[i].shape)), True
        return self._replace(leaves=tuple(leaves), leaf_lanes=tuple(flags))


def unpack(arguments: Sequence[Any], lanes: Lanes, n: int | None = None) -> tuple[Array, Setting]:
    """The initial state and the setting from a program's arguments, for `n` lanes."""
    leading = arguments[:N_LEADING]
    leaves = tuple(arguments[N_LEADING:])
    leaf_lanes = None
    if lanes is not None:
        leaf_lanes = lanes[N_LEADING:]
        leading = [
            x if own else jnp.broadcast_to(x[..., None], (*x.shape, n))
            for x, own in zip(leading, lanes, strict=False)
        ]
    y0, ts, limits, gaps = leading
    sign = jnp.where(ts[-1] >= ts[0], 1.0, -1.0).astype(ts.dtype)
    times = sign * (ts[1:] - ts[0])
    rtol, atol = limits[:2]
    largest = limits[2] if limits.shape[0] > 2 else None
    low, high = gaps - ts[0]  # a solve with gaps runs forward
    low, high = (jnp.where(high < times[-1], edge, jnp.inf) for edge in (low, high))
    return y0, Setting(ts[0], sign, times, rtol, atol, largest, low, high, leaves, leaf_lanes)


def on_lanes(field: FlatField, setting: Setting) -> FlatField:
    """`field` for states `(size, lanes)` and times `(lanes,)`, if the setting has lanes."""
    if setting.leaf_lanes is None:
        return field
    axes = [0 if own else None for own in setting.leaf_lanes]
    return jax.vmap(field, in_axes=(-1, -1, axes), out_axes=-1)


def forward_field(problem: Problem, setting: Setting) -> Field:
    """The field in s, which always runs forward."""
    field = on_lanes(problem.field, setting)

    def at(s: Array, y: Array) -> Array:
        return setting.sign * field(setting.real_time(s), y, list(setting.leaves))

    return at
