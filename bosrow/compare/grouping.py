"""Runs into arms, and which arms are compared with which.

Promise: an arm is a data fingerprint; its letter and name come from arm.json, else from the policy. Two runs that
could only be one (the same arm and seed) are refused, since they are no two samples of anything.
"""

from dataclasses import dataclass
from itertools import groupby

from bosrow.compare.runs import TrainedRun
from bosrow.errors import OptionError, UserError

STREAM = "stream"


@dataclass(frozen=True)
class Arm:
    """Runs on one data set, by seed. `noise` are those of its A/A group."""

    letter: str | None
    name: str
    fingerprint: str
    policy: str
    runs: tuple[TrainedRun, ...]
    noise: tuple[TrainedRun, ...] = ()

    @property
    def label(self) -> str:
        """Letter and name, as a person would say them."""
        return f"{self.letter} {self.name}" if self.letter and self.letter != self.name else self.name

    @property
    def seeds(self) -> list[int]:
        """Its seeds, in order."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class Pair:
    """Two arms that are compared. `question`: what their difference answers."""

    control: Arm
    treatment: Arm
    question: str


def arms_of(runs: list[TrainedRun]) -> list[Arm]:
    """The arms of `runs`, by letter, else stream first, then as given. Raises UserError where runs contradict."""
    by_fingerprint: dict[str, list[TrainedRun]] = {}
    for run in runs:
        by_fingerprint.setdefault(run.fingerprint, []).append(run)
    arms = [_arm(members) for members in by_fingerprint.values()]
    arms = [_with_own_name(arm, arms) for arm in arms]
    return sorted(arms, key=lambda arm: (arm.letter or "~", arm.policy != STREAM))


def _arm(members: list[TrainedRun]) -> Arm:
    first = members[0]
    for label in ("letter", "name"):
        said = {getattr(run.arm, label) for run in members} - {None}
        if len(said) > 1:
            raise UserError(
                f"runs on one data set ({first.fingerprint[:8]}) give its arm the {label}s {', '.join(sorted(said))} "
                f"in arm.json: {', '.join(run.name for run in members)}; one arm has one {label}"
            )
    members = sorted(members, key=lambda run: run.seed)
    for seed, group in groupby(members, key=lambda run: run.seed):
        same = [str(run.path) for run in group]
        if len(same) > 1:
            raise UserError(
                f"{' and '.join(same)} are seed {seed} on the same data: one run twice, which says nothing about the "
                "deviation between seeds; leave one of them out"
            )
    letter = next((run.arm.letter for run in members if run.arm.letter), None)
    name = next((run.arm.name for run in members if run.arm.name), None) or first.policy
    main = tuple(run for run in members if run.arm.group == "main")
    noise = tuple(run for run in members if run.arm.group != "main")
    return Arm(letter, name, first.fingerprint, first.policy, main, noise)


def _with_own_name(arm: Arm, arms: list[Arm]) -> Arm:
    """`arm`, with the fingerprint's first digits in its name if another one is called alike."""
    if sum(other.label == arm.label for other in arms) == 1:
        return arm
    name = f"{arm.name} {arm.fingerprint[:8]}"
    return Arm(arm.letter, name, arm.fingerprint, arm.policy, arm.runs, arm.noise)


def pairs_of(arms: list[Arm], control: str | None, treatment: str | None) -> list[Pair]:
    """What is compared, the verdict's pair first; none for one arm alone. Raises OptionError for unknown names."""
    arms = [arm for arm in arms if arm.runs]
    asked = _named(arms, control, "--control"), _named(arms, treatment, "--treatment")
    if len(arms) < 2:
        return []
    base = asked[0] or _control(arms, asked[1])
    main = asked[1] or next((arm for arm in arms if arm.letter == "B" and arm is not base), None)
    main = main or next(arm for arm in arms if arm is not base)
    pairs = [Pair(base, main, "the verdict")]
    by_letter = {arm.letter: arm for arm in arms}
    selected = by_letter.get("C")
    if selected is not None and main.letter == "B" and base.letter == "A":
        pairs.append(Pair(selected, main, "alignment alone: the same tokens, aligned or not"))
        pairs.append(Pair(base, selected, "selection alone: the tokens that B kept, not aligned"))
    known = {pair.treatment.fingerprint for pair in pairs} | {pair.control.fingerprint for pair in pairs}
    pairs += [Pair(base, arm, "") for arm in arms if arm.fingerprint not in known]
    return pairs


def _named(arms: list[Arm], name: str | None, flag: str) -> Arm | None:
    if name is None:
        return None
    found = [arm for arm in arms if name in (arm.letter, arm.name, arm.label)]
    if not found:
        raise OptionError(f"{flag} {name!r} is no arm of these runs; there are: {', '.join(arm.label for arm in arms)}")
    return found[0]


def _control(arms: list[Arm], treatment: Arm | None) -> Arm:
    """The arm that others are compared with: A, else the baseline's policy, else the first one."""
    free = [arm for arm in arms if arm is not treatment]
    lettered = [arm for arm in free if arm.letter == "A"]
    streams = [arm for arm in free if arm.policy == STREAM]
    return (lettered or streams or free)[0]
