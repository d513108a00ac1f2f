#!/usr/bin/env python3
"""Convolutions on arrays: the convolution matrix against its Fourier form, at equal numbers of devices.

Prints what each form costs, and, as medians over the seeds with the least and the largest, its error by programming
error alone, by wires alone, and by both, for a product, its transposed product and the kernel gradients of one
evaluation of b * relu(a * z); then the digits-conv neural ODE solved and differentiated in each form. Writes
fourier_arrays.png and fourier_arrays.svg. Forms:

    direct            the n^2 x n^2 convolution matrix on one array
    direct, tiles     the same on tiles, those without a tap left out
    Fourier           transforms on one array each, every frequency on a 2 x 2 array of its own
    Fourier, tiles    the same with transforms on tiles
    unrolled          the kernel alone as an array of 9 x 1, read once for every pixel

Equal devices: each array of the smaller form is built k times and the products averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from common import Arguments, digits_model, publish

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

import xbar_spice as xs
from xbar_spice.cosim import Problem, SolverOptions, compare
from xbar_spice.cosim.run.convergence import warn_of_failures
from xbar_spice.cosim.run.cosimulation import Run, solve_model
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.compose import BlockDiagonalOperator, MeanOperator
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.report.spread import spread
from xbar_spice.report.style import MARKERS, QUIET, colours, new_figure
from xbar_spice.streams import random_stream
from xbar_spice.study.problem import make_problem

FORMS = ("direct", "direct, tiles", "Fourier", "Fourier, tiles", "unrolled")
VECTORS = 8
READ_SECONDS = 100e-9  # of one read, for its energy
PROGRAMMING, OHM = 0.03, 1.0  # where one of them is held
MOST_COPIES = 32
SOLVER = SolverOptions(xs.NewtonOptions(rtol=1e-7), xs.KrylovOptions(rtol=1e-7))


class Metered(LinearOperator):
    """An analog matrix that adds up its reads, the currents it converts and what its devices dissipate."""

    def __init__(self, array: xs.AnalogMatrix) -> None:
        self.array = array
        self.reads = self.conversions = 0
        self.joules = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.array.shape

    @property
    def devices(self) -> int:
        return sum(crossbar.conductance.size for crossbar in self.array.mapped.crossbars)

    def _forward(self, x: FloatArray) -> FloatArray:
        self._count(x, "rows")
        return self.array.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        self._count(y, "cols")
        return self.array.T.mv(y)

    def _count(self, vectors: FloatArray, side: Side) -> None:
        axis = 0 if side == "rows" else 1
        mapped = self.array.mapped
        self.reads += vectors.shape[1]
        for crossbar, volts in zip(mapped.crossbars, mapped.drives(vectors, side), strict=True):
            self.conversions += crossbar.shape[1 - axis] * vectors.shape[1]
            self.joules += READ_SECONDS * float(crossbar.conductance.sum(axis=1 - axis) @ (volts**2).sum(axis=1))


class UnrolledConvolution(LinearOperator):
    """The kernel as an array of one output, read once for each pixel with the pixels below its taps."""

    def __init__(self, taps: LinearOperator, image_shape: tuple[int, int]) -> None:
        self._taps, self._pixels = taps, image_shape[0] * image_shape[1]
        ones = np.eye(taps.shape[1])
        self._moves = np.stack([np.argmax(xs.convolution_matrix(tap, image_shape), axis=1) for tap in ones])

    @property
    def shape(self) -> tuple[int, int]:
        return self._pixels, self._pixels

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._taps.mv(x[self._moves].reshape(len(self._moves), -1)).reshape(x.shape)

    def _transposed(self, y: FloatArray) -> FloatArray:
        spread = self._taps.T.mv(y.reshape(1, -1)).reshape(len(self._moves), *y.shape)
        total = np.zeros_like(y)
        for pixels, part in zip(self._moves, spread, strict=True):
            total[pixels] += part
        return total


@dataclass
class Built:
    """A convolution on arrays: the operator, and the copies of each of its arrays."""

    operator: LinearOperator
    copies: list[list[Metered]]

    @property
    def devices(self) -> int:
        return sum(meter.devices for arrays in self.copies for meter in arrays)

    def cost(self, x: FloatArray) -> dict[str, float]:
        """Reads in sequence, conversions and energy of one product."""
        self.operator.mv(x)
        meters = [meter for arrays in self.copies for meter in arrays]
        blocks = [arrays[0].reads for arrays in self.copies if arrays[0].array.name.startswith("blocks")]
        others = [arrays[0].reads for arrays in self.copies if not arrays[0].array.name.startswith("blocks")]
        return {
            "devices": self.devices,
            "reads": sum(others) + max(blocks, default=0),  # the frequencies are read at once
            "conversions": sum(meter.conversions for meter in meters),
            "picojoules": 1e12 * sum(meter.joules for meter in meters),
        }


@contextmanager
def build(
    form: str, kernel: FloatArray, shape: tuple[int, int], design: xs.Design, tile: int, seed: int, copies: int = 1
) -> Iterator[Built]:
    """Program a convolution in one of the forms."""
    engine = "nodal" if design.r_word or design.r_bit else "ideal"
    design = replace(design, skip_empty=True, tile=tile if form.endswith("tiles") else None)
    with ExitStack() as opened:
        built: list[list[Metered]] = []

        def array(weights: FloatArray, name: str, small: int | None = None) -> LinearOperator:
            made = replace(design, tile=small) if small else design
            scale = (made.g_max - made.g_min) / np.abs(weights).max() if small is None else block_scale
            arrays = [
                Metered(
                    opened.enter_context(
                        xs.program(
                            weights,
                            made,
                            engine=engine,
                            rng=random_stream(seed, "devices", name, str(copy)),
                            name=name,
                            siemens_per_weight=scale,
                        )
                    )
                )
                for copy in range(copies)
            ]
            built.append(arrays)
            return MeanOperator(arrays)

        if form.startswith("direct"):
            operator = array(xs.convolution_matrix(kernel, shape), "matrix")
        elif form == "unrolled":
            operator = UnrolledConvolution(array(kernel[np.newaxis], "taps"), shape)
        else:
            made = xs.fourier_matrices(kernel, shape)
            # One scale for all frequencies; one program for each row of them, because each draws a whole matrix.
            block_scale = (design.g_max - design.g_min) / np.abs(made.blocks).max()
            width = 2 * shape[1]
            parts = [made.blocks[k : k + width, k : k + width] for k in range(0, len(made.blocks), width)]
            blocks = [array(part, f"blocks{k}", small=2) for k, part in enumerate(parts)]
            operator = xs.FourierConvolution(
                array(made.rows, "rows"), array(made.columns, "columns"), BlockDiagonalOperator(blocks), shape
            )
        yield Built(operator, built)


def signals(n: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Two kernels, images and cotangents."""
    rng = random_stream(seed, "data", str(n))
    return rng.normal(size=9), rng.normal(size=9), rng.normal(size=(n * n, VECTORS)), rng.normal(size=(n * n, VECTORS))


def kernel_gradients(
    operators: Sequence[LinearOperator | None], a: FloatArray, b: FloatArray, z: FloatArray, w: FloatArray, n: int
) -> FloatArray:
    """d(w^T f)/d(a, b) of f = b * relu(a * z): outer products of what was driven and what was read, digital."""
    model = xs.convolution_field(a, b, (n, n), A=operators[0], B=operators[1])
    at = model.evaluate(z)
    taps = model.tie.collect(model.parameter_gradients(at, w, model.pull_hidden(at, w)))
    return np.concatenate([taps["a"], taps["b"]])


def errors(form: str, n: int, design: xs.Design, tile: int, seed: int, copies: int = 1) -> tuple[float, float, float]:
    """Relative errors of a product, of a transposed product and of the kernel gradients."""
    a, b, z, w = signals(n, seed)
    matrix = xs.convolution_matrix(a, (n, n))
    with (
        build(form, a, (n, n), design, tile, 2 * seed, copies) as A,
        build(form, b, (n, n), design, tile, 2 * seed + 1, copies) as B,
    ):
        found = A.operator.mv(z), A.operator.T.mv(w), kernel_gradients((A.operator, B.operator), a, b, z, w, n)
    wanted = matrix @ z, matrix.T @ w, kernel_gradients((None, None), a, b, z, w, n)
    product, transposed, gradient = (compare(*pair).relative_error for pair in zip(found, wanted, strict=True))
    return product, transposed, gradient


def errors_of_seeds(form: str, n: int, design: xs.Design, tile: int, seeds: int, copies: int = 1) -> FloatArray:
    """(seeds, 3) errors; a seed draws kernels, signals and devices."""
    return np.array([errors(form, n, design, tile, seed, copies) for seed in range(seeds)])


@dataclass
class Study:
    """The tables, and what they leave for the figure."""

    sizes: list[int]
    seeds: int
    tile: int
    cost: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    by_devices: dict[tuple[str, int], dict[int, float]] = field(default_factory=dict)
    by_size: dict[tuple[str, float], dict[int, float]] = field(default_factory=dict)

    def costs(self) -> None:
        print("one product: devices (both of each pair), reads in sequence, converted currents, pJ at 100 ns a read")
        for n in self.sizes:
            kernel, _, z, _ = signals(n, 0)
            for form in FORMS:
                with build(form, kernel, (n, n), xs.Design(), self.tile, 0) as built:
                    self.cost[form, n] = built.cost(z[:, :1])
                values = "".join(f"{value:>12.5g}" for value in self.cost[form, n].values())
                print(f"{size(n)} {form:16}{values}", flush=True)

    def programming(self) -> None:
        heading(f"programming error of {PROGRAMMING:.0%} alone, k copies of every array")
        design = xs.Design(variation=xs.Variation(programming=PROGRAMMING))
        for n in self.sizes:
            for form in FORMS[:3] + FORMS[4:]:  # tiles change nothing for a transform without wires
                curve = self.by_devices.setdefault((form, n), {})
                for k in self.copies(form, n):
                    found = errors_of_seeds(form, n, design, self.tile, self.seeds, k)
                    curve[int(self.cost[form, n]["devices"]) * k] = middle(found)[0]
                    row(n, form, k, found)

    def copies(self, form: str, n: int) -> list[int]:
        """1, and what makes the devices of the direct forms."""
        equal = {max(1, int(self.cost[of, n]["devices"] // self.cost[form, n]["devices"])) for of in FORMS[:2]}
        return sorted({1, *(k for k in equal if k <= MOST_COPIES)})

    def equal(self, form: str, n: int) -> int:
        """How often a form can be built from the devices of the matrix on tiles, at least once."""
        return max(1, int(self.cost["direct, tiles", n]["devices"] // self.cost[form, n]["devices"]))

    def windows(self) -> None:
        n = self.sizes[min(1, len(self.sizes) - 1)]
        heading(f"programming error of {PROGRAMMING:.0%} alone, equal devices, by the window g_max / g_min")
        for ratio in (1000, 100, 10, 3):
            design = xs.Design(g_min=1e-4 / ratio, variation=xs.Variation(programming=PROGRAMMING))
            for form in FORMS[:3]:
                k = self.equal(form, n) if form == "Fourier" else 1
                row(n, f"{form}, {ratio} : 1", k, errors_of_seeds(form, n, design, self.tile, self.seeds, k))

    def wires(self) -> None:
        heading("wires alone (copies do not help)")
        for ohm in (0.3, OHM, 3.0):
            for n in self.sizes:
                for form in FORMS:
                    # Nothing varies but the signals, and a whole array of 32 x 32 images takes long: one draw of them.
                    found = errors_of_seeds(form, n, xs.Design(r_word=ohm, r_bit=ohm), self.tile, 1)
                    self.by_size.setdefault((form, ohm), {})[n] = middle(found)[0]
                    row(n, f"{form}, {ohm:g} ohm", 1, found)

    def both(self) -> None:
        heading(f"wires of {OHM:g} ohm and programming error of {PROGRAMMING:.0%}, equal devices")
        varied = xs.Variation(programming=PROGRAMMING)
        for n in self.sizes:
            for form in FORMS[:4]:
                k = self.equal(form, n) if form.startswith("Fourier") else 1
                found = errors_of_seeds(
                    form, n, xs.Design(r_word=OHM, r_bit=OHM, variation=varied), self.tile, self.seeds, k
                )
                row(n, form, k, found)


def neural_ode(model: xs.Model, tile: int, seeds: int) -> list[tuple[str, str, FloatArray]]:
    """Errors of the last state and of the kernel gradients of the digits-conv model, by circuit and form."""
    problem = make_problem(model, samples=VECTORS, seed=0)
    digital = solve_model(problem, xs.ReluField(model.A, model.B), SOLVER)
    heading(f"the digits-conv neural ODE, {model.steps} steps", ("state", "gradient a", "gradient b"))
    found = []
    varied = xs.Variation(programming=PROGRAMMING)
    on_tiles, fourier = (devices(form, problem, tile) for form in ("direct, tiles", "Fourier"))
    for circuit, design in (
        (f"{OHM:g} ohm", xs.Design(r_word=OHM, r_bit=OHM)),
        (f"{PROGRAMMING:.0%}", xs.Design(variation=varied)),
        (f"{OHM:g} ohm, {PROGRAMMING:.0%}", xs.Design(r_word=OHM, r_bit=OHM, variation=varied)),
    ):
        for form, copies in (("direct", 1), ("direct, tiles", 1), ("Fourier", 1), ("Fourier", on_tiles // fourier)):
            if copies > 1 and not design.variation.random:
                continue
            runs = [
                solve_form(problem, form, design, tile, seed, copies)
                for seed in range(seeds if design.variation.random else 1)
            ]
            errors = [
                [compare(run[name], digital_part(digital)[name]).relative_error for name in ("state", "a", "b")]
                for run in runs
            ]
            found.append((circuit, f"{form}, k = {copies}" if copies > 1 else form, middle(np.array(errors))))
            row(8, f"{form}, {circuit}", copies, np.array(errors))
    return found


def kernels_of(problem: Problem) -> xs.Kernels:
    kernels = problem.model.kernels
    assert kernels is not None, "the task is a convolution"
    return kernels


def devices(form: str, problem: Problem, tile: int) -> int:
    kernels = kernels_of(problem)
    with build(form, kernels.a, kernels.image_shape, xs.Design(), tile, 0) as built:
        return built.devices


def digital_part(run: Run) -> dict[str, FloatArray]:
    return {"state": run.trajectory.z[-1], "a": run.parameters["a"], "b": run.parameters["b"]}


def solve_form(
    problem: Problem, form: str, design: xs.Design, tile: int, seed: int, copies: int
) -> dict[str, FloatArray]:
    """Solve and differentiate with both convolutions in one form."""
    kernels = kernels_of(problem)
    with (
        build(form, kernels.a, kernels.image_shape, design, tile, 2 * seed, copies) as A,
        build(form, kernels.b, kernels.image_shape, design, tile, 2 * seed + 1, copies) as B,
    ):
        run = solve_model(problem, xs.ReluField(A.operator, B.operator), SOLVER)
    warn_of_failures(f"neural ODE, {form}", {f"seed {seed}": run.convergence})
    return digital_part(run)


def draw(study: Study, ode: list[tuple[str, str, FloatArray]]) -> Figure:
    """Error against devices, error by wires against size, and the neural ODE."""
    figure, panels = new_figure(1, 3 if ode else 2, width=4.1, height=3.7, share=False)
    hues = dict(zip(FORMS, colours(FORMS, ordered=False), strict=True))
    places = dict(zip(study.sizes, MARKERS, strict=False))
    for (form, n), curve in study.by_devices.items():
        panels[0].loglog(list(curve), list(curve.values()), color=hues[form], marker=places[n])
    keys = [Line2D([], [], color=hues[form], label=form) for form in dict.fromkeys(of for of, _ in study.by_devices)]
    keys += [Line2D([], [], color=QUIET, marker=place, ls="", label=f"{n} x {n}") for n, place in places.items()]
    panels[0].legend(handles=keys, fontsize=7.5)
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    panels[0].set(
        xlabel="devices; along a line, copies", title=f"programming error {PROGRAMMING:.0%}: error of a product"
    )
    for (form, ohm), curve in study.by_size.items():
        if ohm == OHM:
            place = MARKERS[FORMS.index(form)]
            panels[1].loglog(list(curve), list(curve.values()), color=hues[form], marker=place, label=form)
    panels[1].set(xlabel="image n x n", title=f"wires of {OHM:g} ohm: error of a product")
    panels[1].set_xticks(study.sizes, [str(n) for n in study.sizes])
    panels[1].legend(fontsize=7.5)
    for axes in panels[:2]:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
    if ode:
        bars(panels[2], ode)
    return figure


def bars(axes: Axes, ode: list[tuple[str, str, FloatArray]]) -> None:
    """The gradient error of kernel a in the neural ODE, a group of bars for each circuit."""
    circuits = list(dict.fromkeys(circuit for circuit, _, _ in ode))
    forms = list(dict.fromkeys(form for _, form, _ in ode))
    hues = dict(zip(FORMS, colours(FORMS, ordered=False), strict=True))
    width = 0.8 / len(forms)
    for place, form in enumerate(forms):
        values = {circuit: found[1] for circuit, of, found in ode if of == form}
        heights = [circuits.index(circuit) + (place - (len(forms) - 1) / 2) * width for circuit in values]
        hatch = "//" if "k =" in form else None
        axes.bar(
            heights, list(values.values()), width, color=hues[form.split(", k")[0]], hatch=hatch, label=form, ec="w"
        )
    axes.set_xticks(range(len(circuits)), circuits)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_title("digits-conv neural ODE: gradient of kernel a")
    axes.grid(visible=False, axis="x")
    axes.legend(fontsize=7.5)


def size(n: int) -> str:
    return f"{n:>3} x {n:<3}"


def heading(text: str, columns: tuple[str, str, str] = ("product", "transposed", "gradients")) -> None:
    print(f"\n{text}\n{'':46}" + "".join(f"{column:>28}" for column in columns))


def row(n: int, label: str, copies: int, found: FloatArray) -> None:
    """One line of a table: (seeds, 3) errors."""
    values = "".join(f"{spread(column, '.2%'):>28}" for column in found.T)
    print(f"{size(n)} {label:30} k = {copies:<4}{values}", flush=True)


def middle(found: FloatArray) -> FloatArray:
    """(3,) medians over the seeds."""
    return np.asarray(np.median(found, axis=0))


def main() -> None:
    options = Arguments(__doc__, weights=None, sizes=[8, 16, 32], seeds=8, tile=16).parse(sizes=[4], seeds=1)
    study = Study(options.sizes, options.seeds, options.tile)
    study.costs()
    study.programming()
    study.windows()
    study.wires()
    study.both()
    ode = [] if options.quick else neural_ode(digits_model(options), options.tile, options.seeds)
    publish(lambda: draw(study, ode), options.out, "fourier_arrays")


if __name__ == "__main__":
    main()
