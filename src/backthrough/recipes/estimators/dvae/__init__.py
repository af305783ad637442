"""VAEs with Bernoulli layers by several gradient estimators."""
