"""Whether each latent says one thing: metrics of codes against known factors."""
