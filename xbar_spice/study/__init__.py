"""Batches of co-simulations: a study file, its cases, who runs them, and where the results are kept."""
