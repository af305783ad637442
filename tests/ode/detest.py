"""The non-stiff problems of DETEST (Hull, Enright, Fellen and Sedgwick 1972), for JAX and for NumPy."""

import numpy as np

END = 20.0


def _first_order(size, diagonal, below, above=None):
    matrix = np.diag(np.full(size, 1.0) * diagonal) + np.diag(np.full(size - 1, 1.0) * below, -1)
    return matrix if above is None else matrix + np.diag(np.full(size - 1, 1.0) * above, 1)


def _chain():
    """C1 and C2, whose last substance does not decay."""
    c1 = _first_order(10, np.r_[-np.ones(9), 0.0], 1.0)
    c2 = _first_order(10, np.r_[-np.arange(1.0, 10.0), 0.0], np.arange(1.0, 10.0))
    return c1, c2


def _linear(matrix):
    return lambda xp, t, y: xp.asarray(matrix) @ y


MASSES = np.array([9.54786104043e-4, 2.85583733151e-4, 4.37273164546e-5, 5.17759138449e-5, 2.77777777778e-6])
PLACES = np.array(
    [
        [3.42947415189, 3.35386959711, 1.35494901715],
        [6.64145542550, 5.97156957878, 2.18231499728],
        [11.2630437207, 14.6952576794, 6.27960525067],
        [-30.1552268759, 1.65699966404, 1.43785752721],
        [-21.1238353380, 28.4465098142, 15.3882659679],
    ]
)
SPEEDS = np.array(
    [
        [-0.557160570446, 0.505696783289, 0.230578543901],
        [-0.415570776342, 0.365682722812, 0.169143213293],
        [-0.325325669158, 0.189706021964, 0.0877265322780],
        [-0.0240476254170, -0.287659532608, -0.117219543175],
        [-0.176860753121, -0.216393453025, -0.0148647893090],
    ]
)


def _planets(xp, t, y):
    """C5: five planets about a sun that they move."""
    x, v = y[:15].reshape(5, 3), y[15:].reshape(5, 3)
    cubes = xp.sum(x**2, axis=1) ** 1.5
    apart = x[None] - x[:, None]
    between = (xp.sum(apart**2, axis=2) + xp.eye(5)) ** 1.5
    masses = xp.asarray(MASSES)
    pull = masses[None, :, None] * (apart / between[..., None] - (x / cubes[:, None])[None])
    pull = xp.sum(pull * (1 - xp.eye(5))[..., None], axis=1)
    slope = 2.95912208286 * (-(1.00000597682 + masses)[:, None] * x / cubes[:, None] + pull)
    return xp.concatenate([v.ravel(), slope.ravel()])


def _spiral(xp, t, y):
    r = xp.sqrt(y[0] ** 2 + y[1] ** 2)
    return xp.stack([-y[1] - y[0] * y[2] / r, y[0] - y[1] * y[2] / r, y[0] / r])


def _orbit(xp, t, y):
    return xp.concatenate([y[2:], -y[:2] / xp.sum(y[:2] ** 2) ** 1.5])


def _second(acceleration):
    return lambda xp, t, y: xp.stack([y[1], acceleration(xp, t, *y)])


def _unit(size):
    return np.eye(size)[0]


def _ellipse(e):
    return np.array([1 - e, 0.0, 0.0, np.sqrt((1 + e) / (1 - e))])


_C1, _C2 = _chain()
PROBLEMS = {
    "A1": (lambda xp, t, y: -y, [1.0]),
    "A2": (lambda xp, t, y: -(y**3) / 2, [1.0]),
    "A3": (lambda xp, t, y: y * xp.cos(t), [1.0]),
    "A4": (lambda xp, t, y: y / 4 * (1 - y / 20), [1.0]),
    "A5": (lambda xp, t, y: (y - t) / (y + t), [4.0]),
    "B1": (lambda xp, t, y: xp.stack([2 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1])]), [1.0, 3.0]),
    "B2": (_linear(np.array([[-1.0, 1, 0], [1, -2, 1], [0, 1, -1]])), [2.0, 0.0, 1.0]),
    "B3": (lambda xp, t, y: xp.stack([-y[0], y[0] - y[1] ** 2, y[1] ** 2]), [1.0, 0.0, 0.0]),
    "B4": (_spiral, [3.0, 0.0, 0.0]),
    "B5": (lambda xp, t, y: xp.stack([y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]]), [0.0, 1.0, 1.0]),
    "C1": (_linear(_C1), _unit(10)),
    "C2": (_linear(_C2), _unit(10)),
    "C3": (_linear(_first_order(10, -2.0, 1.0, 1.0)), _unit(10)),
    "C4": (_linear(_first_order(51, -2.0, 1.0, 1.0)), _unit(51)),
    "C5": (_planets, np.concatenate([PLACES.ravel(), SPEEDS.ravel()])),
    **{f"D{i + 1}": (_orbit, _ellipse(e)) for i, e in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))},
    "E1": (
        _second(lambda xp, t, y, v: -(v / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * y)),
        [0.6713967071418030, 0.09540051444747446],
    ),
    "E2": (_second(lambda xp, t, y, v: (1 - y**2) * v - y), [2.0, 0.0]),
    "E3": (_second(lambda xp, t, y, v: y**3 / 6 - y + 2 * xp.sin(2.78535 * t)), [0.0, 0.0]),
    "E4": (_second(lambda xp, t, y, v: 0.032 - 0.4 * v**2), [30.0, 0.0]),
    "E5": (_second(lambda xp, t, y, v: xp.sqrt(1 + v**2) / (25 - t)), [0.0, 0.0]),
}
