"""What a flow does for the amortization gap at no more parameters (Cremer, Li and Duvenaud 2018)."""
