"""What the columns of a study's table are: made from the records, each with its unit and its meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

from xbar_spice.mapping.power import READ_SECONDS

__all__ = [
    "ACCURACY",
    "ACCURACY_LOSS",
    "DIGITAL_ACCURACY",
    "ENERGY",
    "LOSS_ERROR",
    "NATS_ABOVE",
    "READS",
    "SECONDS",
    "STATE_ERROR",
    "VERIFIED",
    "WORST_READ",
    "WRITES",
    "Quantity",
    "columns_of",
    "dictionary",
    "gradient",
    "place",
    "quantity",
]

STATE_ERROR, LOSS_ERROR = "state.relative_error", "loss.relative_error"
ACCURACY, DIGITAL_ACCURACY, ACCURACY_LOSS = "accuracy.analog", "accuracy.digital", "accuracy.loss"
READS, SECONDS, WORST_READ = "reads", "seconds", "worst_read_error"
NATS_ABOVE = "flow.nats_above"
ENERGY, VERIFIED, WRITES = "read_energy", "verified.worst", "writes"
_NO_ANGLE = 1e-14  # that rounding leaves of 1 - cosine

_NANOSECONDS = f"{1e9 * READ_SECONDS:g}"

Scalar = bool | int | float | str | None


def gradient(name: str, entry: str) -> str:
    """The column of an entry of the gradient of a parameter, such as "relative_error", "cosine" or "angle"."""
    return f"gradient.{name}.{entry}"


@final
@dataclass(frozen=True)
class Quantity:
    """What the columns of one kind hold.

    Attributes:
        pattern: Their names, with * for that of a parameter, a matrix or a run.
        unit: Of the values; empty if they have none.
        text: What they are, in which {} stands for what * is.
    """

    pattern: str
    unit: str
    text: str


QUANTITIES = (
    Quantity("id", "", "content of everything that can change the result, as a hash: the name of the case"),
    Quantity("label", "", "the case in words: values on the axes, and the seed"),
    Quantity("seed", "", "from which the devices of the chip were drawn; the same seed is the same chip on all axes"),
    Quantity("status", "", "ok, not converged, failed, or not run"),
    Quantity("error", "", "why the case failed"),
    Quantity("engine", "", "who answered the reads"),
    Quantity("samples", "", "number of samples"),
    Quantity(
        "state.relative_error", "", "norm of analog - digital over that of digital, of the final states of all samples"
    ),
    Quantity("state.cosine", "", "cosine of the angle between the analog and the digital final state"),
    Quantity("state.angle", "degree", "that angle"),
    Quantity("state.sign_agreement", "", "part of the entries of the final state that matter whose signs agree"),
    Quantity("gradient.*.relative_error", "", "norm of hardware - digital over that of digital, of the gradient of {}"),
    Quantity("gradient.*.cosine", "", "cosine of the angle between the hardware and the digital gradient of {}"),
    Quantity("gradient.*.angle", "degree", "angle between the hardware and the digital gradient of {}"),
    Quantity(
        "gradient.*.sign_agreement", "", "part of the entries of the gradient of {} that matter whose signs agree"
    ),
    Quantity("loss.*", "", "loss of the {} run"),
    Quantity(LOSS_ERROR, "", "size of analog - digital over that of digital, of the loss"),
    Quantity(NATS_ABOVE, "nats", "mean negative log-likelihood of the samples of a flow, analog less digital"),
    Quantity(
        "flow.least_determinant",
        "",
        "least determinant of a step of the flow, of any sample, analog: it can be run back where that is > 0",
    ),
    Quantity("flow.digital_least_determinant", "", "the same of the digital run"),
    Quantity("growth.*.abscissa", "1/s", "largest real part of an eigenvalue of a step's Jacobian, {} run"),
    Quantity("growth.*.numerical_abscissa", "1/s", "largest eigenvalue of its symmetric part, {} run"),
    Quantity("growth.*.bound", "", "by which small differences grow at most until the end, {} run"),
    Quantity("parallel.coarse_error", "", "of the coarse sweep of a run parallel in time, relative to the last state"),
    Quantity("parallel.error", "", "the same after its last iteration"),
    Quantity("parallel.critical_path", "", "steps of it that have to wait for each other"),
    Quantity("parallel.steps", "", "all of its steps"),
    Quantity("fixed_point.*", "", "how many {} the digital part rounded; saturated are those out of range"),
    Quantity("accuracy.*", "", "part of the samples that the {} run classifies correctly"),
    Quantity(ACCURACY_LOSS, "", "digital less analog accuracy, as a part of the samples"),
    Quantity("newton.*", "", "Newton steps of the {} run: the most of any sample, added over the time steps"),
    Quantity("krylov.*", "", "products of the linear solves of the {} forward run, counted likewise"),
    Quantity("adjoint_krylov.*", "", "products of the linear solves of the {} adjoint run, counted likewise"),
    Quantity(
        "nfe.*", "", "evaluations of f in the {} forward run (NFE), counted likewise; each reads every matrix of f"
    ),
    Quantity("rejected.*", "", "attempts in vain of an adaptive method in the {} forward run, counted likewise"),
    Quantity("adjoint_nfe.*", "", "evaluations of J^T w in the {} adjoint run: the most of any sample"),
    Quantity("residual.*", "", "largest residual that the {} run left of an implicit equation"),
    Quantity(READS, "", "reads of the arrays; one serves all samples"),
    Quantity("reads.*", "", "reads of the arrays of {}"),
    Quantity(
        ENERGY,
        "joule",
        f"what the drivers deliver to all arrays of a matrix in a read of {_NANOSECONDS} ns of one sample, the average "
        "over the reads of the case: an upper bound where cells are ohmic, in which wires cost nothing",
    ),
    Quantity(f"{ENERGY}.*", "joule", f"the same of the first read of {{}}; power times {_NANOSECONDS} ns"),
    Quantity(WORST_READ, "", "largest relative error of a read against the digital product"),
    Quantity("verified.engine", "", "who answered a part of the reads, too"),
    Quantity("verified.reads", "", "how many reads that engine answered"),
    Quantity(VERIFIED, "", "largest difference of a current between the two, over the largest of its array"),
    Quantity("noise", "", "what read noise and converters leave of an implicit equation, relative to the state"),
    Quantity(WRITES, "", "writes of arrays that the weights of all steps share"),
    Quantity(f"{WRITES}.*", "", "writes on the way {}"),
    Quantity(f"{WRITES}.devices", "", "devices that got another target, in all writes"),
    Quantity("activations", "", "selections of rows that the reads took"),
    Quantity("programming.pulses", "", "programming pulses at all cells of all arrays together"),
    Quantity("programming.seconds", "second", "length of all programming pulses, one after the other"),
    Quantity("programming.energy", "joule", "energy that the terminals delivered in them"),
    Quantity("programming.disturb", "", "the most that they changed a cell they were not for, over g_max - g_min"),
    Quantity("programming.given_up", "", "cells that did not come near enough to their targets"),
    Quantity("programming.passes", "", "passes through an array, the most of any"),
    Quantity("read_seconds", "second", "time of the reads"),
    Quantity(SECONDS, "second", "time of the case"),
    Quantity("written", "", "when the result was kept, UTC"),
)
"""The data dictionary, without the axes of the study; where two patterns fit, the longer one holds."""


def quantity(column: str) -> Quantity | None:
    """What a column holds; None of one that nobody has described.

    Example:
        >>> quantity("gradient.encoder.weight.angle")
        Quantity(pattern='gradient.encoder.weight.angle', unit='degree', text='angle between the hardware and the \
digital gradient of encoder.weight')
    """
    best = _known(column)
    if best is None:
        return None
    before, _, after = best.pattern.partition("*")
    return Quantity(column, best.unit, best.text.format(column[len(before) : len(column) - len(after)]))


def dictionary() -> str:
    """The data dictionary as a table in Markdown, for the page on results."""
    rows = [f"| `{one.pattern}` | {one.unit} | {one.text.format('*')} |" for one in QUANTITIES]
    return "\n".join(["| column | unit | is |", "|---|---|---|", *rows])


def place(column: str) -> tuple[int, str]:
    """Where a column stands in a table: in the order of the data dictionary, and what nobody has described at the end.

    Example:
        >>> sorted(["seconds", "gradient.A.angle", "state.cosine"], key=place)
        ['state.cosine', 'gradient.A.angle', 'seconds']
    """
    known = _known(column)
    return (len(QUANTITIES) if known is None else QUANTITIES.index(known), column)


def _known(column: str) -> Quantity | None:
    fitting = [known for known in QUANTITIES if fnmatchcase(column, known.pattern)]
    return max(fitting, key=lambda known: len(known.pattern), default=None)


def columns_of(record: Mapping[str, Any]) -> dict[str, Scalar]:
    """The entries of a record as columns, derived ones included; what it does not have is left out.

    Args:
        record: As the plain values that JSON holds, which has no NaN but null.
    """
    found: dict[str, Scalar] = {"engine": record["engine"], "samples": record.get("samples")}
    found |= dict(_compared("state", record["state"]))
    for name, compared in record["gradients"].items():
        found |= dict(_compared(f"gradient.{name}", compared))
    found |= {f"loss.{name}": _number(value) for name, value in record["loss"].items()}
    accuracy = record.get("accuracy") or {}
    if accuracy.get("analog") is not None and accuracy.get("digital") is not None:
        found |= {ACCURACY: accuracy["analog"], DIGITAL_ACCURACY: accuracy["digital"]}
        found[ACCURACY_LOSS] = accuracy["digital"] - accuracy["analog"]
    for run, entry in record["convergence"].items():
        found |= dict(_solved(run, entry))
    reads = record["reads"]
    found |= {READS: sum(reads.values())} | {f"reads.{kind}": count for kind, count in reads.items()}
    found |= _together(record.get("programming") or {})
    found |= _writes(record.get("writes") or {})
    found |= _energies(record.get("read_power") or {}, reads)
    found |= {
        name: record.get(name) for name in (WORST_READ, "noise", "activations", "read_seconds", SECONDS, "written")
    }
    found |= {f"flow.{name}": _number(value) for name, value in (record.get("flow") or {}).items()}
    found |= {f"fixed_point.{name}": count for name, count in (record.get("fixed_point") or {}).items()}
    found |= dict(_monitored(record))
    verified = record.get("verified") or {}
    found |= {f"verified.{name}": verified[name] for name in ("engine", "reads", "worst") if name in verified}
    return {name: value for name, value in found.items() if value is not None}


def _monitored(record: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for run, grown in (record.get("growth") or {}).items():
        for name in ("abscissa", "numerical_abscissa"):
            yield f"growth.{run}.{name}", max(map(_number, grown[name]), default=math.nan)
        yield f"growth.{run}.bound", _number(grown["bound"])
    if parallel := record.get("parallel"):
        errors = [_number(error) for error in parallel["errors"]]
        yield from {"parallel.coarse_error": errors[0], "parallel.error": errors[-1]}.items()
        yield from ((f"parallel.{name}", parallel[name]) for name in ("critical_path", "steps"))


def _together(costs: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What programming all matrices took; of disturb and passes the most."""
    found: dict[str, list[float]] = {}
    for entries in costs.values():
        for name, value in entries.items():
            found.setdefault(name, []).append(value)
    return {
        f"programming.{name}": (max if name in ("disturb", "passes") else sum)(values) for name, values in found.items()
    }


def _writes(by_matrix: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How often all shared arrays were written, forwards and back."""
    if not by_matrix:
        return {}
    total = {key: sum(one[key] for one in by_matrix.values()) for key in ("forward", "adjoint", "devices")}
    return {WRITES: total["forward"] + total["adjoint"]} | {f"writes.{key}": value for key, value in total.items()}


def _energies(power: Mapping[str, float | None], reads: Mapping[str, int]) -> dict[str, Scalar]:
    """Joule of reads: on average, and of each matrix and direction."""
    if not power:
        return {}
    joule = {kind: READ_SECONDS * _number(watts) for kind, watts in power.items()}
    every = sum(joule[kind] * reads.get(kind, 0) for kind in joule) / sum(reads.get(kind, 0) for kind in joule)
    return {ENERGY: every, **{f"{ENERGY}.{kind}": value for kind, value in joule.items()}}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _compared(name: str, compared: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for entry, value in compared.items():
        yield f"{name}.{entry}", _number(value)
    yield f"{name}.angle", _angle(_number(compared.get("cosine")))


def _angle(cosine: float) -> float:
    """Degrees; rounding may leave a cosine a little off 1, which is no angle."""
    if math.isnan(cosine) or 1.0 - cosine > _NO_ANGLE:
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
    return 0.0


def _solved(run: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for name in ("newton", "krylov", "adjoint_krylov"):
        if counts := entry.get(f"{name}_iterations"):
            yield f"{name}.{run}", sum(counts)
    for name, key in (("nfe", "evaluations"), ("rejected", "rejected")):
        if counts := entry.get(key):
            yield f"{name}.{run}", sum(counts)
    if spent := entry.get("adjoint_evaluations"):
        yield f"adjoint_nfe.{run}", spent
    yield f"residual.{run}", entry.get("worst_residual")
