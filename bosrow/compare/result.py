"""What a comparison found: the structure of report.json, and all that the pages are made from.

Promise: `as_json` and `from_json` are each other's reverse. None stands for a number that is not finite or not
defined. A field that is UNSET has no key in the file: it belongs to what the comparison lacks (a second arm, an A/A
group, a test).
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bosrow.report.numbers import without_nan

Number = float | None
Finding = Literal["better", "worse", "no difference found", "too few seeds"]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of report.json."""


class DifferenceOfArms(_Part, frozen=True, kw_only=True):
    """Treatment minus control over seeds: the fields of `statistics.Difference`."""

    effect: Number
    low: Number
    high: Number
    p_value: Number
    degrees_of_freedom: Number
    standard_error: Number
    minimum_detectable: Number
    control_seeds: int
    treatment_seeds: int

    @property
    def seeds(self) -> str:
        """How many seeds stand behind it, for a table."""
        return f"{self.treatment_seeds} + {self.control_seeds} seeds"


class PairedBySeed(_Part, frozen=True, kw_only=True):
    """The same difference, seed k of one arm against seed k of the other."""

    effect: Number
    low: Number
    high: Number
    pairs: int


class OverItems(_Part, frozen=True, kw_only=True):
    """The difference over documents or items, each the mean over seeds: a paired bootstrap."""

    value: Number
    low: Number
    high: Number
    items: int

    @property
    def effect(self) -> Number:
        """The value, by the name that all differences have for it."""
        return self.value


class DifferenceOfMetric(DifferenceOfArms, frozen=True, kw_only=True):
    """The difference of one metric. Every test but the primary one belongs to a family, `p_holm` and `finding`."""

    paired_by_seed: PairedBySeed | UnsetType | None = UNSET
    over_items: OverItems | None
    p_holm: Number | UnsetType = UNSET
    finding: Finding | UnsetType = UNSET


class _MayHoldDifference(_Part, frozen=True, kw_only=True):
    """Something that has all fields of a difference, or none of them."""

    effect: Number | UnsetType = UNSET
    low: Number | UnsetType = UNSET
    high: Number | UnsetType = UNSET
    p_value: Number | UnsetType = UNSET
    degrees_of_freedom: Number | UnsetType = UNSET
    standard_error: Number | UnsetType = UNSET
    minimum_detectable: Number | UnsetType = UNSET
    control_seeds: int | UnsetType = UNSET
    treatment_seeds: int | UnsetType = UNSET

    @property
    def difference(self) -> DifferenceOfArms | None:
        """The difference, where there is one."""
        fields = {name: getattr(self, name) for name in DifferenceOfArms.__struct_fields__}
        return None if UNSET in fields.values() else DifferenceOfArms(**fields)


class PrimaryResult(_MayHoldDifference, frozen=True, kw_only=True):
    """The primary metric, and its difference in the verdict's pair. `relative` is a share of the control's mean."""

    key: str
    title: str
    unit: str
    source: str
    items: int | None
    items_of: str
    control: str | UnsetType = UNSET
    treatment: str | UnsetType = UNSET
    relative: Number | UnsetType = UNSET
    paired_by_seed: PairedBySeed | UnsetType | None = UNSET
    over_items: OverItems | UnsetType | None = UNSET


class SeedsAndDetectable(_Part, frozen=True, kw_only=True):
    """The difference that so many seeds an arm find in 80% of cases."""

    seeds: int
    detectable: float


class PowerAnalysis(_Part, frozen=True, kw_only=True):
    """What these seeds can find, and how many seeds or steps an undecided difference would need."""

    seeds: int | None = None
    steps: int | None = None
    deviation: Number = None
    plan: list[SeedsAndDetectable] = []
    text: str = ""


class PairResult(_Part, frozen=True, kw_only=True):
    """Two arms, and the differences of all metrics that both have, by key."""

    control: str
    treatment: str
    question: str
    metrics: dict[str, DifferenceOfMetric] = msgspec.field(name="figures")

    @property
    def names(self) -> str:
        """What its differences are."""
        return f"{self.treatment} minus {self.control}"


class MeanOfArm(_Part, frozen=True, kw_only=True):
    """An arm's mean over seeds, its 95% interval and the deviation between seeds."""

    mean: Number
    low: Number
    high: Number
    deviation: Number
    seeds: int


class MetricResult(_Part, frozen=True, kw_only=True):
    """One metric, and each arm's mean."""

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher"] | None
    tested: bool
    source: str
    items: int | None
    items_of: str
    digits: int
    chance: Number
    warning: str
    arms: dict[str, MeanOfArm]


class SeenByRun(_Part, frozen=True, kw_only=True):
    """What a run of an arm has seen by its end, the mean over seeds."""

    documents: float
    tokens: float
    rows: float
    predicted: int
    epochs: Number
    seeds: int


class ArmResult(_Part, frozen=True, kw_only=True):
    """An arm and its data; `problem` says why some of these are not known. `ledger` is the manifest's own."""

    label: str
    letter: str | None
    name: str
    policy: str
    fingerprint: str
    seeds: list[int]
    noise_seeds: list[int]
    data_dir: str | None
    ledger: dict[str, Any] | None
    crop_fraction: Number
    problem: str
    seen: SeenByRun | None


class RunResult(_Part, frozen=True, kw_only=True):
    """A run, what is wrong with it, and its metrics by key."""

    path: str
    name: str
    arm: str
    group: str
    seed: int
    step: int
    tokens: int
    ailments: list[str]
    metrics: dict[str, Number] = msgspec.field(name="figures")


class NoiseFloor(_MayHoldDifference, frozen=True, kw_only=True):
    """What two groups of one arm differ by: measured where there is an A/A group, else expected from its seeds."""

    measured: bool
    arm: str | None
    deviation: Number | UnsetType = UNSET
    expected_size: Number | UnsetType = UNSET
    seeds: int | UnsetType = UNSET


class DifferingSetting(_Part, frozen=True, kw_only=True):
    """A setting that runs do not share: each value, as text, with who has it."""

    name: str = msgspec.field(name="knob")
    decisive: bool
    values: dict[str, list[str]]

    def __str__(self) -> str:
        return f"{self.name}: {self.told}"

    @property
    def told(self) -> str:
        """The values, in words."""
        return "; ".join(f"{value} in {', '.join(who)}" for value, who in self.values.items())


class SettingsOfRuns(_Part, frozen=True, kw_only=True):
    """The settings that all runs share, and those in which they differ."""

    same: dict[str, Any]
    different: list[DifferingSetting]


class ArmCurve(_Part, frozen=True, kw_only=True):
    """The mean of an arm's seeds along x, the smallest and the largest."""

    arm: str
    seeds: int
    x: list[float]
    mean: list[Number]
    low: list[Number]
    high: list[Number]


class GapCurve(_Part, frozen=True, kw_only=True):
    """Treatment minus control along x, with its 95% interval; `seeds` of control and treatment."""

    control: str
    treatment: str
    x: list[float]
    mean: list[Number]
    low: list[Number]
    high: list[Number]
    seeds: tuple[int, int]


class LossByPosition(_Part, frozen=True, kw_only=True):
    """The loss by position in the row, on one val set."""

    rows_of: str
    policy: str
    rows: int | None
    series: list[ArmCurve]
    gaps: list[GapCurve]


class LossByDistance(_Part, frozen=True, kw_only=True):
    """The loss of held-out documents by distance from their start."""

    documents: int | None
    series: list[ArmCurve]
    gaps: list[GapCurve]


class Curves(_Part, frozen=True, kw_only=True):
    """Everything that is drawn along an axis."""

    train_loss: list[ArmCurve]
    grad_norm: list[ArmCurve]
    primary: list[ArmCurve]
    gap: list[GapCurve]
    position: list[LossByPosition]
    distance: LossByDistance


class AtEqualTokens(_Part, frozen=True, kw_only=True):
    """The primary metric of the verdict's pair at one step, and so at one number of tokens."""

    step: float
    tokens: float
    control: Number
    treatment: Number
    effect: Number
    low: Number
    high: Number


class AtEqualDocuments(_MayHoldDifference, frozen=True, kw_only=True):
    """The primary metric where both arms have seen as many documents; `problem` says why it is not known."""

    control: str
    treatment: str
    problem: str
    documents: int | UnsetType = UNSET
    control_step: float | UnsetType = UNSET
    treatment_step: float | UnsetType = UNSET
    control_value: Number | UnsetType = UNSET
    treatment_value: Number | UnsetType = UNSET


class Question(_Part, frozen=True, kw_only=True):
    """A question of the protocol, and the sentences that answer it."""

    question: str
    answers: list[str]


class Judgement(_Part, frozen=True, kw_only=True):
    """The verdict, and what a reader should know in the same breath."""

    verdict: Literal["better", "worse", "inconclusive"]
    sentence: str
    reasons: list[str]
    caveats: list[str]
    primary: PrimaryResult
    to_decide: PowerAnalysis


class ComparisonResult(Judgement, frozen=True, kw_only=True):
    """All of report.json."""

    schema: int
    bosrow_version: str
    pairs: list[PairResult] = msgspec.field(name="comparisons")
    metrics: list[MetricResult] = msgspec.field(name="figures")
    arms: list[ArmResult]
    runs: list[RunResult]
    noise_floor: NoiseFloor
    settings: SettingsOfRuns = msgspec.field(name="knobs")
    curves: Curves
    equal_tokens: list[AtEqualTokens]
    equal_documents: list[AtEqualDocuments]
    confounds: list[str]
    questions: list[Question] = []

    @property
    def compared_arms(self) -> list[ArmResult]:
        """The arms that have runs of their own, not of the noise floor alone."""
        return [arm for arm in self.arms if arm.seeds]

    def metric(self, key: str) -> MetricResult:
        """The metric `key`, which must be there."""
        return next(metric for metric in self.metrics if metric.key == key)


def as_json(result: ComparisonResult) -> dict[str, Any]:
    """The content of report.json: null for numbers that are not finite."""
    return without_nan(msgspec.to_builtins(result))


def from_json(content: Any) -> ComparisonResult:
    """The comparison that `as_json` wrote. Raises msgspec.ValidationError for anything else."""
    return msgspec.convert(content, ComparisonResult)
