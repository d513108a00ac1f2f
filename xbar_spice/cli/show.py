"""The verb that looks into one array of a model: its voltages and currents under any bias, and a read as a pulse."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xbar_spice.cli.help import SectionOption, Verb, Verbs
from xbar_spice.cli.inputs import given_model, model_options
from xbar_spice.cli.options import circuit_options, existing_file, make_design, seed_option

if TYPE_CHECKING:
    from xbar_spice.engines.nodal.solution import Solution
    from xbar_spice.hardware.biases import Biases
    from xbar_spice.hardware.crossbar import Crossbar
    from xbar_spice.linear.operator import FloatArray
    from xbar_spice.mapping.matrix import MappedArray
    from xbar_spice.transient import PulseRead

__all__ = ["arrays_named", "show"]

_EDGES = ("left", "right", "top", "bottom")
_SHOWN = 5  # cells in the table of the worst ones
_WAVES = 12  # cells whose voltages are drawn under a pulse of biases
BIASES = "Biases in place of a read"

name_option = click.option(
    "--name", default="A.t0_0", show_default=True, help="Matrix and array, as the files of `netlist` are named."
)
output_option = click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("shown"), show_default=True,
    help="Folder of the figure.",
)  # fmt: skip
side_option = click.option(
    "--side", type=click.Choice(["rows", "cols"]), default="rows", show_default=True, help="The driven side of a read."
)


@click.group(cls=Verbs)
def show() -> None:
    """Look into one array of a model, or at what a study is."""


def bias_options(command: Any) -> Any:
    """Add the options that describe biases in place of a read."""
    rows = [
        (f"--{edge}", "VOLT,...", f"At the {edge} ends: one number or one a line; 'open' leaves an end open.")
        for edge in _EDGES
    ]
    rows += [
        (f"--r-{edge}", "OHM,...", f"Behind these, one number or one a line.  [default: --r-{default}]")
        for edge, default in zip(_EDGES, ("driver", "driver", "sense", "sense"), strict=True)
    ]
    rows += [
        ("--gates", "VOLT,...", "Of the gate lines of cells with a transistor: one number or one a word line."),
        ("--amplified", "EDGE,...", "Where amplifiers hold these volts: left, right, top, bottom; with --r-feedback."),
        ("--select", "ROW,COL", "One cell, by a scheme, in place of voltages of your own."),
    ]
    for flag, unit, text in reversed(rows):
        command = click.option(flag, cls=SectionOption, section=BIASES, metavar=unit, help=text)(command)
    schemes = click.Choice(["V/2", "V/3", "floating", "grounded"])
    return click.option(
        "--scheme", cls=SectionOption, section=BIASES, type=schemes, default="V/2", show_default=True,
        help="Of --select: what the other lines get.",
    )(command)  # fmt: skip


def _make_biases(options: dict[str, Any]) -> Callable[[Crossbar, float], Biases] | None:
    """Take the options of biases out of others; what makes the biases of an array, or None for a read."""
    from dataclasses import replace

    from xbar_spice.hardware.biases import Biases, half_select

    volts = {edge: options.pop(edge) for edge in _EDGES}
    ohms = {f"r_{edge}": options.pop(f"r_{edge}") for edge in _EDGES}
    gates, amplified, select, scheme = (options.pop(name) for name in ("gates", "amplified", "select", "scheme"))
    if any(volts.values()) and select:
        raise click.UsageError("--select sets all voltages: leave --left, --right, --top and --bottom out")
    others = {key: _numbers(key, text) for key, text in (ohms | {"gates": gates}).items()}
    edges = {"amplified": tuple(edge.strip() for edge in amplified.split(","))} if amplified else {}
    if any(volts.values()):
        ends = {edge: _numbers(edge, text) for edge, text in volts.items()}
        return lambda crossbar, level: Biases(**ends, **others, **edges)
    if select:
        cell = _cell(select)
        return lambda crossbar, level: replace(half_select(crossbar, cell, level, scheme), **others, **edges)
    if given := [f"--{name.replace('_', '-')}" for name, value in (others | edges).items() if value is not None]:
        raise click.UsageError(f"{', '.join(given)} of a read: give --select, --left, --right, --top or --bottom, too")
    return None


@show.command("array", cls=Verb, later=(circuit_options,))
@click.argument("weights", type=existing_file)
@model_options
@name_option
@side_option
@output_option
@click.option("--volts", type=float, metavar="VOLT", help="Of a read or of --select.  [default: --v-read]")
@bias_options
@seed_option
def show_array(
    weights: Path,
    name: str,
    side: Any,
    output: Path,
    volts: float | None,
    seed: int,
    **options: Any,
) -> None:
    """Draw where an array loses its voltage, and say its worst cells and the currents of its terminals.

    All drivers of a read are at the read voltage. With --left, --right, --top or --bottom the array is under these
    biases instead, and with --select one cell is.
    """
    import numpy as np

    from xbar_spice.engines.nodal.solution import solve_array

    biases, design = _make_biases(options), make_design(options)
    for array in arrays_named(weights, name, design, seed):
        crossbar, level = array.crossbar, design.v_read if volts is None else volts
        solution = solve_array(
            crossbar, biases(crossbar, level) if biases else np.full(crossbar.ports(side), level), side
        )
        _print(f"{name.split('.', maxsplit=1)[0]}.{array.name}", solution)
        _draw(f"array_{name.split('.', maxsplit=1)[0]}_{array.name}", solution, output)


@show.command("pulse", cls=Verb, later=(circuit_options,))
@click.argument("weights", type=existing_file)
@model_options
@name_option
@side_option
@output_option
@click.option("--width", type=float, metavar="SECONDS", default=1e-8, show_default=True, help="At full drive.")
@click.option("--rise", type=float, metavar="SECONDS", help="And fall.  [default: a tenth of the width]")
@click.option("--c-word", type=float, metavar="FARAD", default=1e-15, show_default=True,
              help="At each node of a word line.")  # fmt: skip
@click.option("--c-bit", type=float, metavar="FARAD", default=1e-15, show_default=True,
              help="At each node of a bit line.")  # fmt: skip
@click.option("--c-cell", type=float, metavar="FARAD", default=0.0, show_default=True, help="Across each cell.")
@click.option("--volts", type=float, metavar="VOLT", help="Of a read or of --select.  [default: --v-read]")
@bias_options
@seed_option
def show_pulse(
    weights: Path,
    name: str,
    side: Any,
    output: Path,
    width: float,
    rise: float | None,
    c_word: float,
    c_bit: float,
    c_cell: float,
    volts: float | None,
    seed: int,
    **options: Any,
) -> None:
    """Draw the waveforms of a read as a pulse, and say when it settles and where its energy goes.

    With --left, --right, --top, --bottom or --select all of these volts rise and fall together, as in programming.

    Arrays of ohmic cells are solved by the modes of their network, others by ngspice.
    """
    import numpy as np

    from xbar_spice.hardware.pulse import LineCapacitance, Pulse
    from xbar_spice.report.inside import draw_pulse
    from xbar_spice.report.style import save, styled
    from xbar_spice.transient import read_pulse

    biases, design = _make_biases(options), make_design(options)
    pulse = Pulse(width, 0.1 * width if rise is None else rise)
    for array in arrays_named(weights, name, design, seed):
        crossbar, title = array.crossbar, f"{name.split('.', maxsplit=1)[0]}.{array.name}"
        engine: Any = "modal" if crossbar.device.linear else "ngspice"
        level = design.v_read if volts is None else volts
        drive = biases(crossbar, level) if biases else np.full(crossbar.ports(side), level)
        read = read_pulse(crossbar, drive, pulse, LineCapacitance(c_word, c_bit, c_cell), side, engine=engine)
        times, settling, energy = read.times, read.settling_time(0.01, "largest"), read.energy()
        word, bit = read.voltages(times)
        click.echo(f"{title}: {crossbar.shape[0]} word lines x {crossbar.shape[1]} bit lines, solved by {engine}")
        click.echo(f"within 1 %       after {settling:.4g} s" if np.isfinite(settling) else "within 1 %       never")
        parts = (("cells", energy.cells), ("wires", energy.wires), ("periphery", energy.periphery))
        said = ", ".join(f"{part} {joule:.3g} J" for part, joule in parts)
        click.echo(f"energy           {energy.total:.4g} J: {said}")
        waves = _waves(read, word, bit)
        figure = draw_pulse(times, read.currents(times), read.settled, waves, settling)
        file = f"pulse_{title.replace('.', '_')}"
        with styled():
            click.echo(f"figure           {save(figure, output, file)[0]}")


def _waves(read: PulseRead, word: FloatArray, bit: FloatArray) -> dict[str, FloatArray]:
    """Titles and waveforms of the voltages to draw: the far ends of driven lines, or the cells that see most and least.

    A pulse of biases meets every line; of these the cells count.
    """
    import numpy as np

    if read.side is not None:
        return {"far end of each driven line": word[:, -1] if read.side == "rows" else bit[0]}
    across = (word - bit).reshape(-1, word.shape[2])
    order = np.argsort(-np.abs(across).max(axis=1))[:_WAVES]
    return {f"cells that see most, {len(order)} of {len(across)}": across[order]}


def arrays_named(weights: Path, name: str, design: Any, seed: int) -> list[MappedArray]:
    """The array of a name such as A.t0_0p; of A.t0_0 both halves of a pair."""
    from xbar_spice.cosim import weight_scales
    from xbar_spice.cosim.run.programming import drawn_by, in_digital_numbers, weights_on_arrays
    from xbar_spice.mapping.matrix import map_weights
    from xbar_spice.streams import Streams

    matrix, dot, wanted = name.rpartition(".")
    model = in_digital_numbers(given_model(weights), design, seed)
    matrices = weights_on_arrays(model)
    if matrix not in matrices or not dot:
        raise click.UsageError(f"--name is a matrix, a dot and an array, such as A.t0_0, got {name!r}")
    scale = weight_scales(model, design).get(matrix)
    rng = drawn_by(Streams(seed), matrix, design)
    mapped = map_weights(matrices[matrix], design, rng=rng, siemens_per_weight=scale)
    found = [array for array in mapped.arrays if re.fullmatch(rf"{re.escape(wanted)}[pm]?(_\d+)?", array.name)]
    if not found:
        names = [f"{matrix}.{array.name}" for array in mapped.arrays]
        few = ", ".join(names[:6]) + (f" ... {names[-1]}" if len(names) > 6 else "")
        raise click.UsageError(f"there is no array {name!r}; the arrays of this design are {few}")
    return found


def _numbers(option: str, text: str | None) -> Any:
    """One number or several, of which 'open' is NaN."""
    if text is None:
        return None
    values = []
    for word in text.split(","):
        try:
            values.append(float("nan") if word.strip().lower() == "open" else float(word))
        except ValueError:
            spelled = f"--{option.replace('_', '-')}"
            raise click.UsageError(
                f"{spelled} is a number, or numbers and 'open' between commas, got {text!r}"
            ) from None
    return values[0] if len(values) == 1 else values


def _cell(text: str) -> tuple[int, int]:
    try:
        row, col = (int(word) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--select is a row and a column, such as 3,4, got {text!r}") from None
    return row, col


def _print(title: str, solution: Solution) -> None:
    import numpy as np

    from xbar_spice.cli.tables import print_rows

    crossbar = solution.crossbar
    lost = np.abs(solution.nominal_voltages - solution.cell_voltages)
    order = np.argsort(-np.nan_to_num(lost, nan=-1.0), axis=None)[:_SHOWN]
    cells = [divmod(int(place), crossbar.shape[1]) for place in order]
    rows: list[tuple[str, ...]] = [
        (
            f"{row}, {col}",
            f"{crossbar.conductance[row, col]:.4g}",
            f"{solution.nominal_voltages[row, col]:.5g}",
            f"{solution.cell_voltages[row, col]:.5g}",
            f"{solution.cell_currents[row, col]:.4g}",
        )
        for row, col in cells
    ]
    print_rows(
        f"{title}: {crossbar.shape[0]} word lines x {crossbar.shape[1]} bit lines, the cells that lose most",
        ("row, column", "siemens", "volts meant", "volts", "amperes"),
        rows,
    )
    ends: list[tuple[str, ...]] = [
        (
            edge,
            f"{end.connected.sum()} of {end.connected.size}",
            f"{amperes[end.connected].min():.4g}",
            f"{amperes[end.connected].max():.4g}",
            f"{amperes.sum():.6g}",
        )
        for edge, end, amperes in _connected(solution)
    ]
    print_rows("currents into the terminals, amperes", ("edge", "connected", "least", "most", "sum"), ends)
    wires = solution.word_wire_power.sum() + solution.bit_wire_power.sum()
    parts = (("cells", solution.cell_power.sum()), ("wires", wires), ("periphery", solution.periphery_power))
    said = ", ".join(f"{part} {watts:.3g} W" for part, watts in parts)
    click.echo(f"power            {solution.source_power:.4g} W: {said}")


def _connected(solution: Solution) -> list[tuple[str, Any, Any]]:
    return [(edge, end, getattr(solution.currents, edge)) for edge, end in solution.ends.items() if end.connected.any()]


def _draw(name: str, solution: Solution, output: Path) -> None:
    import numpy as np

    from xbar_spice.report.inside import draw_array
    from xbar_spice.report.style import save, styled

    nominal = solution.nominal_voltages
    worst = (0, 0) if np.isnan(nominal).all() else solution.worst_cell
    volts, title = solution.cell_voltages, "voltage of each cell"
    if not np.isnan(nominal).any():
        volts, title = np.sign(nominal) * (nominal - volts), "voltage lost on the way to each cell"
    terminals = {edge: found for edge, _, found in _connected(solution)}
    figure = draw_array(volts, title, solution.cell_currents, terminals, worst)
    with styled():
        click.echo(f"figure           {save(figure, output, name)[0]}")
