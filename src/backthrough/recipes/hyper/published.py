"""Figures of the paper, read off its plots."""

PUBLISHED = {
    "output": "The paper (50,000 training images, NLL turned into MSE): hypernetwork 0.0374 / 0.0387 "
    "(validation / test), random search 0.0397 / 0.0409, Bayesian optimisation 0.0395 / 0.0408.",
    "weight": "The paper (10,000 training images): factorised hypernetwork 0.0391 / 0.0403 (validation / "
    "test), unrolled 0.0383 / 0.0401 and falling.",
}
