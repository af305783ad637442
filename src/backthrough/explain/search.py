import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import optax
from typing import NamedTuple
from backthrough.estimators import expect, LeaveOneOut
from backthrough.explain.objective import Objective


class Lane(NamedTuple):
    x: object
    target: object
    is_sdr: object


def evaluate(objective, lane, sets, key):
    """loss and score of each set"""

    def one(m):
        s = jnp.mean(objective.scores(lane.x, lane.target, m.astype(jnp.float32), lane.is_sdr, key=key))
        return jnp.where(lane.is_sdr, s, -s) + objective.price(m.astype(jnp.float32)), s

    return jax.vmap(one)(sets)


def scan_windows(objective, lane, sets, key, at_once=32):
    pad = (-len(sets)) % at_once
    padded = jnp.concatenate([sets, jnp.zeros((pad, sets.shape[1]), bool)]).reshape(
        -1, at_once, sets.shape[1]
    )
    loss, score = jax.lax.map(lambda s: evaluate(objective, lane, s, key), padded)
    return loss.reshape(-1)[: len(sets)], score.reshape(-1)[: len(sets)]


def pick_starts(sets, loss, n):
    """best, then best that overlaps less than half with those chosen"""
    chosen = []
    penal = loss
    for _ in range(n):
        i = jnp.argmin(penal)
        chosen.append(i)
        s = sets[i]
        iou = jnp.sum(sets & s, 1) / jnp.maximum(jnp.sum(sets | s, 1), 1)
        penal = jnp.where(iou > 0.5, jnp.inf, penal)
    return sets[jnp.stack(chosen)]


def near(m, adjacent):
    """units on either side of the border of m"""
    inside = adjacent @ m.astype(jnp.float32) > 0
    outside = adjacent @ (~m).astype(jnp.float32) > 0
    return (m & outside) | (~m & inside)


def propose(m, small, key, n, adjacent):
    """n changed sets: a random small window that meets the border is added or taken away; flips"""
    border = near(m, adjacent)
    touches = (small & border).any(1)
    touches = touches | ~touches.any()
    k1, k2, k3 = jax.random.split(key, 3)
    w = jax.random.categorical(k1, jnp.where(touches, 0.0, -jnp.inf), shape=(n,))
    add = jax.random.bernoulli(k2, 0.5, (n, 1))
    flip = small[w]
    return jnp.where(add, m | flip, m & ~flip)


def polish(objective, lane, start, small, adjacent, key, n_rounds, n_proposals):
    loss0, score0 = evaluate(objective, lane, start[None], key)

    def round_(state, k):
        m, loss, score = state
        sets = propose(m, small, k, n_proposals, adjacent)
        l, s = evaluate(objective, lane, sets, key)
        i = jnp.argmin(l)
        better = l[i] < loss
        return (
            jnp.where(better, sets[i], m),
            jnp.where(better, l[i], loss),
            jnp.where(better, s[i], score),
        ), loss

    (m, l, s), hist = jax.lax.scan(round_, (start, loss0[0], score0[0]), jax.random.split(key, n_rounds))
    return m, l, s, hist


def learn(objective, lane, logits, key, n_steps, n_samples, lr, estimator=None, warm=0):
    estimator = estimator or LeaveOneOut()
    opt = optax.adam(optax.linear_schedule(lr, 0.0, n_steps))

    def step(state, inp):
        logits, mem, best = state
        t, k = inp
        k1, k2 = jax.random.split(k)
        cost = jnp.minimum(1.0, (t + 1) / max(warm, 1))

        def loss(l):
            f = lambda m: objective.effect(lane.x, lane.target, m, lane.is_sdr, key=k2)
            return expect(
                f, dist.Bernoulli(logits=l), key=k1, estimator=estimator, n_samples=n_samples
            ) + cost * objective.price(jax.nn.sigmoid(l))

        v, g = jax.value_and_grad(loss)(logits)
        u, mem = opt.update(g, mem)
        logits = jnp.clip(logits + u, -8, 8)
        return (logits, mem, best), v

    (logits, _, _), hist = jax.lax.scan(
        step, (logits, opt.init(logits), 0), (jnp.arange(n_steps), jax.random.split(key, n_steps))
    )
    return logits, hist
