"""The ledger of a run's privacy budget: what was spent, on what, and what is taken as public.

It is one JSON file of parameters, no data: written before a release is made or a step is taken, so that whatever ends a run
finds it there. Resuming goes on in it; a step that is taken again after a resume is counted once, since nothing of the lost
one had left the worker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from twinlake.core.errors import BudgetError, DataError
from twinlake.tables.parts import write_text
from twinlake.train.accounting import Release, accountant, spent

LEDGER = "ledger.json"
ROUNDING = 1e-6  # relative: sums of floats may differ in their last bits


@dataclass(frozen=True)
class Budget:
    """What may be spent. `unit`: "row", or the column whose values are the people; `rows`: of the table, taken as public."""

    epsilon: float
    delta: float
    unit: str
    max_rows_per_unit: int
    rows: int

    @property
    def adjacency(self) -> str:
        """Between which tables an observer can hardly tell."""
        if self.unit == "row":
            return "tables that differ by one row, added or removed"
        return f"tables that differ by all rows of one {self.unit}, added or removed"


def delta_of(wanted: float | str, rows: int) -> float:
    """`wanted`, or for "auto" the smaller of 1e-6 and 1 / (10 * `rows`)."""
    return min(1e-6, 1.0 / (10.0 * max(1, rows))) if wanted == "auto" else float(wanted)


@dataclass
class Ledger:
    """What stands in `file`. `told`: parameters of each release for the reader; `public`: what is not in the budget;
    `earlier`: what models that this run folder held before had spent; `published`: whether anything was shown of this one."""

    file: Path
    budget: Budget
    public: dict[str, str]
    releases: dict[str, Release]
    told: dict[str, dict[str, Any]]
    earlier: list[dict[str, Any]]
    published: bool = False

    @classmethod
    def begin(cls, file: Path, budget: Budget, public: dict[str, str]) -> Ledger:
        """A new ledger in the place of an old one, whose sum it keeps if anything of it was shown."""
        earlier: list[dict[str, Any]] = []
        if file.is_file():
            old = cls.open(file)
            earlier = [*old.earlier, *([{"epsilon": old.spent(), "delta": old.budget.delta}] if old.published else [])]
        ledger = cls(file, budget, public, {}, {}, earlier)
        ledger._write()
        return ledger

    @classmethod
    def open(cls, file: Path) -> Ledger:
        """The ledger in `file`. Errors: DataError."""
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            releases = {name: Release(**entry) for name, entry in raw["releases"].items()}
            return cls(file, Budget(**raw["budget"]), raw["public"], releases, raw["told"], raw["earlier"], raw["published"])
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{file.name} of this run is missing or damaged; choose a new run.dir to start again") from None

    def reopened(self) -> Ledger:
        """The same as it stands in the file now: workers write there too."""
        return Ledger.open(self.file)

    def spend(self, release: Release, **told: Any) -> None:
        """Notes `release` before it is made; one of the same name takes its place, since nothing of that was shown.

        Errors: BudgetError (the sum would be over the budget; the ledger stays as it is)."""
        if not self.allows(release):
            raise BudgetError(
                f"{release.name}: epsilon would be over the {self.budget.epsilon:g} of privacy.epsilon; "
                "nothing more is taken from these rows"
            )
        self.releases[release.name] = release
        self.told[release.name] = told or self.told.get(release.name, {})
        self._write()

    def allows(self, release: Release) -> bool:
        """Whether `release`, in the place of one of its name, is within the budget."""
        known = self.releases.get(release.name)
        if known is not None and replace(known, steps=release.steps) == release and release.steps <= known.steps:
            return True
        after = {**self.releases, release.name: release}
        return spent(list(after.values()), self.budget.delta) <= self.budget.epsilon * (1 + ROUNDING)

    def reserve(self, release: Release, steps: int, **told: Any) -> bool:
        """Whether `release` may go on up to `steps` steps in all, which then stand in the ledger, as those from before do."""
        known = self.releases.get(release.name)
        more = replace(release, steps=max(steps, known.steps if known is not None else 0))
        if not self.allows(more):
            return False
        self.spend(more, **told)
        return True

    def restart(self, name: str, shown: bool) -> None:
        """Takes back the release `name`, to be made anew in another way; if something of it was `shown`, its sum is kept."""
        if self.releases.pop(name, None) is not None:
            if shown:
                self.earlier.append({"epsilon": Ledger.open(self.file).spent(), "delta": self.budget.delta})
            self._write()

    def show(self) -> None:
        """Notes that something made from these releases leaves the run: from now on they can't be taken back."""
        self.published = True
        self._write()

    def spent(self, releases: Sequence[Release] | None = None) -> float:
        """Epsilon of what stands in the ledger."""
        return spent(list(self.releases.values()) if releases is None else releases, self.budget.delta)

    def guarantee(self) -> dict[str, Any]:
        """What is promised, as plain data for model.json, the evaluation and the report."""
        releases = [{k: v for k, v in asdict(r).items() if v is not None} for r in self.releases.values()]
        return {
            "epsilon": round(self.spent(), 6),
            "delta": self.budget.delta,
            "budget": self.budget.epsilon,
            "unit": self.budget.unit,
            "max_rows_per_unit": self.budget.max_rows_per_unit,
            "adjacency": self.budget.adjacency,
            "accountant": accountant(list(self.releases.values())),
            "rows": self.budget.rows,
            "noise": "Gaussian, of the operating system's generator, rounded to a declared granularity",
            "releases": [entry | self.told.get(entry["name"], {}) for entry in releases],
            "public": self.public,
            "earlier": self.earlier,
        }

    def _write(self) -> None:
        content = {
            "budget": asdict(self.budget),
            "public": self.public,
            "releases": {name: asdict(release) for name, release in self.releases.items()},
            "told": self.told,
            "earlier": self.earlier,
            "published": self.published,
        }
        write_text(self.file, json.dumps(content, indent=1))


def guarantee_of(folder: Path) -> dict[str, Any] | None:
    """What the model in `folder` promises (`Ledger.guarantee`), from its model.json; None where it promises nothing."""
    found: dict[str, Any] | None = json.loads((folder / "model.json").read_text(encoding="utf-8")).get("privacy")
    return found


def told_guarantee(guarantee: dict[str, Any] | None) -> dict[str, Any]:
    """A guarantee in a few words, for a table of facts."""
    if guarantee is None:
        return {"differential privacy": False}
    spent_in_all = f"epsilon {guarantee['epsilon']:.4g} at delta {guarantee['delta']:.2g}"
    told = {
        "differential privacy": f"{spent_in_all}, by {guarantee['accountant']}",
        "neighbours": guarantee["adjacency"],
        "treated as public": "; ".join(guarantee["public"]),
    }
    for release in guarantee["releases"]:
        sampled = f", {release['steps']} steps of rate {release['rate']:.3g}" if release["rate"] < 1 else ""
        clipped = f", clip {release['clip']:g}" if "clip" in release else ""
        noise = f"sigma {release['sigma']:.4g}" if "sigma" in release else f"rho {release['rho']:.4g}"
        told[f"spent on {release['name']}"] = noise + sampled + clipped
    if guarantee["earlier"]:
        told["spent before on models of this run folder"] = ", ".join(
            f"epsilon {e['epsilon']:.4g}" for e in guarantee["earlier"]
        )
    return told
