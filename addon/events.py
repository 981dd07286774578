# SPDX-License-Identifier: GPL-3.0-or-later
"""The solver's events: one JSON object per line of its standard output, turned into typed values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

# Stages in their order, with the words an artist reads and the share of the whole they usually take.
STAGES = {
    "open": ("Opening the clip", 0.02),
    "track": ("Tracking", 0.50),
    "depth": ("Reading depth", 0.20),
    "start": ("First cameras", 0.08),
    "adjust": ("Adjusting", 0.15),
    "check": ("Checking", 0.03),
    "write": ("Writing", 0.02),
}


@dataclass(frozen=True)
class Event:
    """One event. `kind` is progress, preview, warning, result or error; `data` is the whole object."""

    kind: str
    data: dict = field(default_factory=dict)

    def text(self, key: str, default: str = "") -> str:
        """A field as one line of text."""
        value = self.data.get(key, default)
        return " ".join(str(value).split()) if value is not None else default

    def number(self, key: str, default: float | None = None) -> float | None:
        """A field as a number, or the default where it is missing or not one."""
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return default
        return float(value)


def parse_line(line: str) -> Event | None:
    """The event of a line; None for anything else a library may have printed."""
    line = line.strip()
    if not line.startswith("{"):
        return None
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        return None
    return Event(data["event"], data)


def stage_label(stage: str) -> str:
    """The words for a stage; unknown ones are shown as they are."""
    return STAGES.get(stage, (stage.replace("_", " ").capitalize() or "Working", 0.0))[0]


def overall_fraction(stage: str, done: float, total: float) -> float:
    """How far the whole solve is, 0 to 1, from how far one stage is."""
    if stage not in STAGES:
        return 0.0
    before = 0.0
    for name, (_, share) in STAGES.items():
        if name == stage:
            part = min(1.0, max(0.0, done / total)) if total and total > 0 else 0.0
            return min(1.0, before + share * part)
        before += share
    return 1.0


def time_left_text(seconds: float | None) -> str:
    """ "about 40 s left", "about 3 min left"; empty when unknown."""
    if seconds is None or seconds < 0 or seconds != seconds:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
