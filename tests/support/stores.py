"""Stores as a run would leave them, with records made up from a formula."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, final

from xbar_spice.study.store import to_json

TILES = {"name": "tile", "unit": "", "fields": ["circuit.tile"], "values": [8, 16, 32]}
WIRES = {"name": "wires", "unit": "ohm", "fields": ["circuit.r_word", "circuit.r_bit"], "values": [0.5, 2.0]}
DEVICES = {"name": "error", "unit": "", "fields": ["circuit.variation.programming"], "values": [0.0, 0.05]}
MAPPING = {"name": "mapping", "unit": "", "fields": ["circuit.mapping"], "values": ["differential", "interleaved"]}
DRIVE = {"name": "drive", "unit": "", "fields": ["circuit.terminations.drive"], "values": ["single", "double"]}
TRACE = "phase,step,newton,krylov,matrix,direction,batch,relative_error,worst_relative_error,seconds\n"


@final
class StoreMaker:
    """Writes stores as a run would, with records made up from a formula."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, *axes: dict[str, Any], seeds: tuple[int, ...] = (0, 1, 2), **odd: Any) -> Path:
        """A store; `odd` maps a status or entry to a test of the axes and the seed that it applies to."""
        points: list[dict[str, Any]] = [{}]
        for axis in axes:
            points = [point | {axis["name"]: value} for point in points for value in axis["values"]]
        cases = [(point, seed) for point in points for seed in seeds]
        listed = []
        for number, (point, seed) in enumerate(cases):
            case = {"id": f"case{number}", "label": f"{point} seed {seed}", "axes": point, "seed": seed}
            listed.append(case)
            if odd.get("failed", never)(point, seed):
                self._write(f"failures/{case['id']}.json", case | {"error": "E: <b>no</b>", "details": "line 1"})
            elif not odd.get("missing", never)(point, seed):
                self._write_case(case, odd)
        study = {
            "name": "a <study>",
            "axes": list(axes),
            "seeds": list(seeds),
            "cases": listed,
            "models": odd.get("models", []),
        }
        self._write("study.json", study | {"parameters": {}, "versions": {"xbar-spice": "0"}, "written": "2026-01-01"})
        return self.folder

    def _write_case(self, case: dict[str, Any], odd: dict[str, Any]) -> None:
        point, seed = case["axes"], case["seed"]
        tile, wire = point.get("tile", 16), point.get("wires", 1.0)
        error = odd.get("error", lambda *_: 1e-4 * tile**1.5 * wire * (1 + 0.1 * seed))(point, seed)
        compared = {"relative_error": error, "cosine": math.cos(min(error or 0.0, 1.5)), "sign_agreement": 1.0}
        record = {
            "case": case,
            "engine": "nodal",
            "state": compared,
            "loss": {"relative_error": error, "analog": 1.0, "digital": 2.0},
            "accuracy": odd.get("accuracy", lambda *_: {"analog": None, "digital": None})(point, seed),
            "gradients": {name: compared | self._error(odd, name, tile) for name in odd.get("names", ("A", "B", "z0"))},
            "convergence": {
                "analog": {"converged": not odd.get("unconverged", never)(point, seed)},
                "digital": {"converged": True},
            },
            "reads": {"A forward": 2},
            "worst_read_error": error,
            "seconds": 1.0,
        }
        self._write(f"cases/{case['id']}/record.json", record)
        row = f"newton,0,0,,A,forward,2,{'' if error is None else error},,0.1\n"
        self._write(f"cases/{case['id']}/trace.csv", TRACE + 2 * row)

    @staticmethod
    def _error(odd: dict[str, Any], name: str, tile: int) -> dict[str, float]:
        """The error of one gradient, where it is not that of the state."""
        value = odd.get("gradients", {}).get(name)
        return {} if value is None else {"relative_error": value(tile) if callable(value) else value}

    def _write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else to_json(content))


def never(*_: Any) -> bool:
    return False


def always(*_: Any) -> bool:
    return True
