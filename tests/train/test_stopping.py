import signal
import sys
import time

import pytest

from backthrough.train.stopping import interrupt


def test_an_interrupt_is_not_lost_in_the_collector():
    """An exception in JAX's callback would be printed and ignored, so the signal comes again after it."""
    caught = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))

    def _xla_gc_callback():
        interrupt(signal.SIGINT, sys._getframe())

    try:
        _xla_gc_callback()
        assert not caught
        for _ in range(100):
            time.sleep(0.01)
            if caught:
                break
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, None)
