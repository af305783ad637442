"""A decoder accommodates the posterior that it is trained with (Cremer, Li and Duvenaud 2018)."""
