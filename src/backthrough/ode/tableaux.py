"""The coefficients of the explicit Runge-Kutta methods."""

from dataclasses import dataclass, field

import numpy as np

from backthrough.ode import dop853_numbers as dop853


@dataclass(frozen=True, eq=False)
class Tableau:
    """One explicit Runge-Kutta method.

    Attributes:
        name: What it is called in messages.
        order: The order of the solution that is carried on.
        a: The lower rows of the Butcher matrix, from the second stage on.
        c: The times of the stages in a step, from the second stage on.
        b: The weights of the solution. For an adaptive method the last row of `a` equals `b`: the last
            stage is the first of the next step.
        error: The weights of the error estimate; none for a fixed-step method.
        error_order: One above the order of the lower solution, the exponent of step control.
        second_error: The second estimate that DOP853 combines with the first.
        dense: Row i holds the coefficients of theta, theta^2, ... in the weight of stage i, for
            y(t + theta h).
        a_dense: Rows of further stages that only the interpolant needs.
        c_dense: Their times.
        looped: Whether the stages of a step are made in a loop. It compiles the field once instead of once
            a stage, and costs a few microseconds a stage, so it is for fields that take longer than that.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    c: tuple[float, ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()
    error_order: int = 0
    second_error: tuple[float, ...] = ()
    dense: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    a_dense: tuple[tuple[float, ...], ...] = ()
    c_dense: tuple[float, ...] = ()
    looped: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether it estimates its own error."""
        return bool(self.error)

    @property
    def n_stages(self) -> int:
        """Evaluations in the solution of a step; the stage that only the error needs is not counted."""
        return len(self.a) if self.adaptive else len(self.a) + 1


def _polynomial(*factors: list[float]) -> np.ndarray:
    """The product of polynomials given from the constant term up, without its constant term, to theta^4."""
    product = np.ones(1)
    for factor in factors:
        product = np.convolve(product, factor)
    return np.pad(product, (0, 5 - len(product)))[1:5]


_B5 = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)

# Dormand and Prince 1980; the interpolant is Shampine's (1986) of order 4, as in SciPy.
DOPRI5 = Tableau(
    name="Dopri5",
    order=5,
    a=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _B5,
    ),
    c=(1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    b=_B5,
    error=(-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40),
    error_order=5,
    dense=np.array(
        [
            [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
            [0, 0, 0, 0],
            [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
            [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
            [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
            [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
            [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
        ]
    ),
)

_BT = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
)

# Tsitouras 2011, with its own interpolant of order 4.
TSIT5 = Tableau(
    name="Tsit5",
    order=5,
    a=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        _BT,
    ),
    c=(0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    b=_BT,
    error=(
        0.0017800110522257773,
        0.0008164344596567463,
        -0.007880878010261994,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918686,
        -0.015151515151515152,
    ),
    error_order=5,
    dense=np.stack(
        [
            _polynomial(
                [0, -1.0530884977290216],
                [-1.3299890189751412, 1],
                [0.7139816917074209, -1.4364028541716351, 1],
            ),
            _polynomial([0, 0, 0.1017], [1.2949852507374631, -2.1966568338249754, 1]),
            _polynomial([0, 0, 2.490627285651252793], [1.57803468208092486, -2.38535645472061657, 1]),
            _polynomial([0, 0, -16.54810288924490272], [-1.21712927295533244, 1], [-0.61620406037800089, 1]),
            _polynomial([0, 0, 47.37952196281928122], [-1.203071208372362603, 1], [-0.658047292653547382, 1]),
            _polynomial([0, 0, -34.87065786149660974], [-1.2, 1], [-2 / 3, 1]),
            _polynomial([0, 0, 2.5], [-1.0, 1], [-0.6, 1]),
        ]
    ),
)

# Bogacki and Shampine 1989, with the cubic Hermite interpolant.
BOSH3 = Tableau(
    name="Bosh3",
    order=3,
    a=((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    c=(1 / 2, 3 / 4, 1.0),
    b=(2 / 9, 1 / 3, 4 / 9),
    error=(5 / 72, -1 / 12, -1 / 9, 1 / 8),
    error_order=3,
    dense=np.array([[1, -4 / 3, 5 / 9], [0, 1, -2 / 3], [0, 4 / 3, -8 / 9], [0, -1, 1]]),
)


def _dop853_dense() -> np.ndarray:
    """Hairer's seven combinations of the stages, multiplied out to powers of theta."""
    n = len(dop853.D[0])
    first, last, step = np.zeros(n), np.zeros(n), np.zeros(n)
    first[0], last[12] = 1.0, 1.0
    step[:12] = dop853.A[-1]
    rows = [step, first - step, 2 * step - (first + last), *np.array(dop853.D)]
    power = np.array([0.0, 1.0])  # theta, theta (1 - theta), theta^2 (1 - theta), ...
    weights = np.zeros((n, 8))
    for index, row in enumerate(rows):
        weights[:, : len(power)] += np.outer(row, power)
        power = np.convolve(power, [1.0, -1.0] if index % 2 == 0 else [0.0, 1.0])
    return weights[:, 1:]


# Prince and Dormand's 8(5,3) of Hairer, Norsett and Wanner 1993, with the interpolant of order 7.
DOPRI8 = Tableau(
    name="Dopri8",
    order=8,
    a=dop853.A,
    c=dop853.C[1:],
    b=dop853.A[-1],
    error=dop853.E5,
    error_order=8,
    second_error=dop853.E3,
    dense=_dop853_dense(),
    a_dense=dop853.A_DENSE,
    c_dense=dop853.C_DENSE,
)

EULER = Tableau(name="Euler", order=1, a=(), c=(), b=(1.0,))
MIDPOINT = Tableau(name="Midpoint", order=2, a=((1 / 2,),), c=(1 / 2,), b=(0.0, 1.0))
HEUN = Tableau(name="Heun", order=2, a=((1.0,),), c=(1.0,), b=(1 / 2, 1 / 2))
RK4 = Tableau(
    name="RK4",
    order=4,
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    c=(1 / 2, 1 / 2, 1.0),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
