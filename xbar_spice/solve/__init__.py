"""Neural ODE solvers and their exact discrete gradients; they see linear operators only."""
