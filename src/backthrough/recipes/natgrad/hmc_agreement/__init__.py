"""Agreement with Hamiltonian Monte Carlo."""
