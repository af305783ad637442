"""The posterior that the importance-weighted bound trains (Cremer, Morris and Duvenaud 2017)."""
