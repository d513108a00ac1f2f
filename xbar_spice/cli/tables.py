"""Tables on the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from xbar_spice.cosim.run.comparison import SMALLEST_SIGN
from xbar_spice.cosim.run.record import Record

__all__ = ["print_attribution", "print_cosimulation", "print_gradients", "print_rows"]

_LAYER = re.compile(r"(.+)\[(\d+)\] (\w+)")  # of a read of a matrix of one layer
_SIGNS = f"same sign        of entries from {SMALLEST_SIGN:g} of the largest on; zeros are not opposite"


def print_rows(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table; all columns but the first are aligned to the right."""
    table = Table()
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _say(title)
    Console().print(table)


def _say(text: str) -> None:
    """Text whose lines are left as they are: a table's width is no measure for its title."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def print_cosimulation(record: Record) -> None:
    """What one co-simulation showed."""
    compared = {"state z_T": record.state}
    compared |= {f"gradient of {name}": values for name, values in record.gradients.items()}
    print_rows(
        f"analog ({record.engine}) against digital, {record.data}",
        ("", "relative error", "cosine", "same sign"),
        [
            (name, f"{found.relative_error:.3e}", f"{found.cosine:.6f}", f"{found.sign_agreement:.2%}")
            for name, found in compared.items()
        ],
    )
    loss, accuracy, convergence = record.loss, record.accuracy, record.convergence["analog"]
    lines = [_SIGNS, f"loss             {loss.analog:.6g} analog, {loss.digital:.6g} digital"]
    if record.flow is not None:
        flow = record.flow
        lines.append(
            f"likelihood       {flow.nats_above:+.4f} nats above digital; least determinant of a step "
            f"{flow.least_determinant:.3g} analog, {flow.digital_least_determinant:.3g} digital"
        )
    if accuracy.analog is not None:
        lines.append(f"accuracy         {accuracy.analog:.2%} analog, {accuracy.digital:.2%} digital")
    reads = ", ".join(f"{count} {kind}" for kind, count in _by_layers(record.reads).items())
    lines.append(f"reads            {sum(record.reads.values())} ({reads}) in {record.read_seconds:.1f} s")
    if record.verified is not None:
        judged = record.verified
        lines.append(
            f"verified         {judged.reads} of {judged.of} reads by {judged.engine}, {judged.worst:.1e} apart"
        )
    for run, grown in (record.growth or {}).items():
        lines.append(
            f"growth           {run}: abscissa up to {max(grown.abscissa):.3g}/s, numerical up to "
            f"{max(grown.numerical_abscissa):.3g}/s: differences grow at most {grown.bound:.3g} fold"
        )
    if record.parallel is not None:
        errors = ", ".join(f"{error:.1e}" for error in record.parallel.errors)
        lines.append(
            f"parallel in time {errors} off after each iteration; {record.parallel.critical_path} steps wait for each "
            f"other in place of {record.parallel.sequential}"
        )
    if record.fixed_point is not None:
        rounded = record.fixed_point
        lines.append(
            f"fixed point      {rounded.activations} activations rounded, {rounded.activations_saturated} out of "
            f"range; {rounded.weights} weights, {rounded.weights_saturated} out of range"
        )
    if record.writes is not None:
        of = (f"{name} {one.forward} forward, {one.adjoint} back" for name, one in record.writes.items())
        devices = sum(one.devices for one in record.writes.values())
        lines.append(f"writes           {'; '.join(of)}; {devices} devices with another target")
    if record.activations is not None:
        lines.append(f"activations      {record.activations}: every read takes some rows at a time")
    if record.feedback is not None:
        solves = ", ".join(f"{count} {kind}" for kind, count in record.feedback.solves.items())
        lines.append(f"circuit solves   {solves}; worst error {record.feedback.worst_error:.1e} of the solution")
    lines.append(f"Newton steps     {convergence.newton_iterations} (most of any sample, by time step)")
    if convergence.unstable_samples:
        lines.append(f"UNSTABLE         samples {convergence.unstable_samples}: the method amplifies what is damped")
    _say("\n".join(lines))


def _by_layers(reads: Mapping[str, int]) -> dict[str, int]:
    """Reads by matrix and direction, those of all layers together."""
    found: dict[str, int] = {}
    layers: dict[str, set[str]] = {}
    for kind, count in reads.items():
        layer = _LAYER.fullmatch(kind)
        name = kind if layer is None else f"{layer[1]} {layer[3]}"
        found[name] = found.get(name, 0) + count
        if layer is not None:
            layers.setdefault(name, set()).add(layer[2])
    return {f"{name} in {len(layers[name])} layers" if name in layers else name: n for name, n in found.items()}


def print_gradients(record: dict[str, Any]) -> None:
    """How the gradients of one model on one set of arrays differ."""
    meaning = {
        "bias": "bias: hardware - true",
        "shift": "shift: true - digital",
        "total": "total: hardware - digital",
        "transpose": "transpose: hardware - effective",
        "hybrid": "hybrid - true",
    }
    parameters = list(record["differences"]["shift"])
    print_rows(
        f"gradients on arrays ({record['engine']}), {record['data']}",
        ("", "of", "relative error", "cosine", "same sign"),
        [
            (
                text if number == 0 else "",
                parameter,
                f"{found['relative_error']:.3e}",
                f"{found['cosine']:.6f}",
                f"{found['sign_agreement']:.2%}",
            )
            for name, text in meaning.items()
            for number, parameter in enumerate(parameters)
            for found in (record["differences"][name][parameter],)
        ],
    )
    loss, descent = record["loss"], record["descent"]
    best = descent["true"]["expected"]
    mismatch = ", ".join(f"{name} {value:.1e}" for name, value in record["adjoint_mismatch"].items())
    worth = "none is worth anything: the true gradient is zero"
    if best:
        steps = (f"{found['expected'] / best:.3%} ({name})" for name, found in descent.items() if name != "true")
        worth = f"expected to be worth {', '.join(steps)} of one along the true gradient"
    lines = [
        _SIGNS,
        f"loss             {loss['analog']:.6g} analog, {loss['digital']:.6g} digital",
        f"small step       {worth}",
        f"transposed reads off the transpose by {mismatch} (relative, random vectors)",
    ]
    _say("\n".join(lines))


def print_attribution(record: dict[str, Any]) -> None:
    """What each source of error counts for, one table for each measure."""
    _say(f"errors by source ({record['engine']}), {record['data']}")
    for measure, values in record["measures"].items():
        sampled = record["orders"] > 0
        rows: list[tuple[str, ...]] = [
            (
                str(source),
                f"{values['alone'][source]:.3%}",
                f"{values['shapley'][source]:.3%}" + (f" +- {values['shapley error'][source]:.3%}" if sampled else ""),
                f"{values['all but'][source]:.3%}",
            )
            for source in record["sources"]
        ]
        rows.append(("sum", "", f"{sum(values['shapley'].values()):.3%}", ""))
        print_rows(
            f"relative error of {measure}: {values['total']:.3%} with all sources, {values['none']:.1e} with none",
            ("", "alone", "Shapley", "all but"),
            rows,
        )
