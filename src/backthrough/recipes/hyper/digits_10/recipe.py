"""See `backthrough.recipes.hyper.regularisers`."""

from backthrough.recipes.hyper.regularisers import run

__all__ = ["run"]
