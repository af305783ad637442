"""Experiments: each a frozen `Config` and a `run(config, run)`."""

from backthrough.recipes.catalogue import RECIPES, Recipe, find_recipe

__all__ = ["RECIPES", "Recipe", "find_recipe"]
