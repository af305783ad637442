"""The two inference gaps of VAEs, and what the encoder's size does to them (Cremer, Li and Duvenaud 2018)."""
