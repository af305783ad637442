"""A latent ODE beside an RNN on spirals seen at irregular times."""
