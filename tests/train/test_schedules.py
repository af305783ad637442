import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.train import schedule


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("constant", lambda t: np.ones_like(t)),
        ("linear", lambda t: 1 - 0.9 * t),
        ("cosine", lambda t: 0.1 + 0.9 * (1 + np.cos(np.pi * t)) / 2),
        ("exponential", lambda t: 0.1**t),
    ],
)
@pytest.mark.parametrize("warm_up", [0, 20])
def test_a_schedule_has_its_closed_form(name, shape, warm_up):
    rate = schedule(name, 0.5, n_steps=100, warm_up=warm_up, final=0.1)
    steps = np.arange(130)
    rising = steps / max(warm_up, 1)
    falling = shape(np.clip((steps - warm_up) / (100 - warm_up), 0, 1))
    expected = 0.5 * np.where(steps < warm_up, rising, falling)
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-5)


def test_what_is_wrong_is_named():
    good = {"learning_rate": 0.1, "n_steps": 10}
    for wrong, message in (
        ({"name": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"warm_up": 10}, "warm_up must be less than n_steps=10, got 10"),
        ({"final": 0.0}, r"final must lie in \(0, 1\], got 0.0"),
    ):
        with pytest.raises(ArgumentError, match=message):
            schedule(**{"name": "cosine", **good, **wrong})
