"""A neural ODE dz/dt = B relu(A z) whose products are reads of arrays: its solution, and the gradient of a loss."""

import numpy as np

import xbar_spice as xs

rng = np.random.default_rng(0)
A, B = rng.standard_normal((12, 8)), rng.standard_normal((8, 12)) / 8
z0, target = rng.standard_normal((8, 5)), rng.standard_normal((8, 5))  # five samples

# Tiles of 8 x 8 devices with wires of 1 ohm a segment; programming leaves every device 2 % off its target.
design = xs.Design(tile=8, r_word=1.0, r_bit=1.0, variation=xs.Variation(programming=0.02))
with xs.program(A, design, rng=rng) as A_hw, xs.program(B, design, rng=rng) as B_hw:
    trajectory = xs.integrate(xs.ReluField(A_hw, B_hw), z0, method="implicit_euler", h=0.25, steps=4)
    gradient = xs.gradients(trajectory, cotangent=trajectory.z[-1] - target)  # of |z(T) - target|^2 / 2

digital = xs.integrate(xs.ReluField(A, B), z0, method="implicit_euler", h=0.25, steps=4)
wanted = xs.gradients(digital, cotangent=digital.z[-1] - target)
for name in ("A", "B", "z0"):
    found, exact = getattr(gradient, name), getattr(wanted, name)
    print(f"gradient of {name:2}: off by {np.linalg.norm(found - exact) / np.linalg.norm(exact):.1%}")
