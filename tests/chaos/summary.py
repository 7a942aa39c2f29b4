"""What is printed at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .rounds import Outcome
from .scenario import Kind


def summary(outcomes: Sequence[Outcome]) -> str:
    """The totals, a line each; the last four have to be 0."""
    done: Counter[Kind] = sum((o.done for o in outcomes), Counter())
    skipped: Counter[Kind] = sum((o.skipped for o in outcomes), Counter())
    found = [o.findings for o in outcomes]
    rows = {
        "runs": len(outcomes),
        "runs that went wrong": sum(o.failed for o in outcomes),
        "calls": sum(o.calls for o in outcomes),
        "kills": sum(done.values()),
        **{f"  {kind}": done[kind] for kind in Kind if done[kind]},
        **{f"  {kind} (skipped: not possible here)": times for kind, times in skipped.items()},
        "checkpoints saved": sum(f.saved for f in found),
        "attempts that went on from one": sum(f.restored for f in found),
        "checkpoints not deleted": sum(len(f.leftovers) for f in found),
        "checkpoints not in the journal": sum(len(f.strays) for f in found),
        "results acknowledged": sum(f.acknowledged for f in found),
        "lost": sum(len(f.lost) for f in found),
        "duplicated": sum(len(f.duplicated) for f in found),
        "finished trials repeated": sum(len(f.repeated) for f in found),
        "checkpoints lost": sum(len(f.checkpoints) for f in found),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}} {number:>8}" for name, number in rows.items())


def report(outcome: Outcome) -> str:
    """One run in a line, or in more if something is wrong."""
    mark = "FAILED" if outcome.failed else "ok"
    done = ", ".join(f"{kind} {n}" for kind, n in outcome.done.items() if n) or "nothing hit"
    lines = [
        f"{mark:<6} seed {outcome.scenario.seed}: {outcome.scenario} -> {done}; "
        f"{outcome.calls} calls, {outcome.findings.acknowledged} results, "
        f"{outcome.findings.saved} checkpoints, {outcome.findings.restored} restored, "
        f"{outcome.seconds:.1f} s"
    ]
    lines += _some("not deleted", outcome.findings.leftovers)
    lines += _some("not in the journal", outcome.findings.strays)
    lines += [f"       {fault}" for fault in outcome.findings.faults[:20]]
    if outcome.failed:
        lines.append(f"       kept in {outcome.directory}")
    return "\n".join(lines)


def _some(what: str, paths: Sequence[str]) -> list[str]:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [f"       {what}: {paths[0]}{more}"] if paths else []
