import subprocess
import sys

import backthrough


def test_the_public_face_is_lazy():
    assert set(backthrough.__all__) == {
        "core",
        "datasets",
        "density",
        "estimators",
        "explain",
        "flows",
        "forecast",
        "hyper",
        "latent",
        "natgrad",
        "nets",
        "ode",
        "recipes",
        "recommend",
        "regress",
        "report",
        "train",
    }
    code = (
        "import sys, backthrough as bt; bt.core.log_mean_exp; assert 'backthrough.latent' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_recipe_keeps_its_contract():
    import dataclasses

    for recipe in backthrough.recipes.RECIPES.values():
        module = recipe.load_config()
        assert callable(recipe.load().run)
        assert module.SCALES.keys() == {"quick", "full"}
        shown = [] if module.DEMO is None else [module.DEMO.config]
        assert all(isinstance(config, module.Config) for config in [*module.SCALES.values(), *shown])
        assert module.Config.__dataclass_params__.frozen
        assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(module.Config))
        assert module.__doc__


def test_compiled_sums_of_products_are_right():
    """jax-ml/jax#39103, wrong on CPUs with jaxlib 0.10.2 unless the package switches some fusions off."""
    import jax
    import jax.numpy as jnp

    rows = jnp.stack([jnp.arange(40_000.0), jnp.zeros(40_000), jnp.zeros(40_000)], axis=1)

    def squares(rows):
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(rows)

    assert (jax.jit(squares)(rows) == squares(rows)).all()
