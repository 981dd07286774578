"""Whether the picture races, as in a whip pan, and what is kept of a race until the clip is tracked."""

from __future__ import annotations

from .flow import Picture
from .live import Live
from .whip import Passing, Race

LONGEST = 40  # frames of a race that are kept; a camera that races for longer is not on its way from one view to another


class RaceWatch:
    """The state of the picture from frame to frame: racing; began and ended, the first frame of the last race and the first one
    after it; from_the_start, whether there was no calm before it; sharp, the last picture before it, with its tracks, until they
    were looked for again."""

    def __init__(self) -> None:
        self.racing = False
        self.from_the_start = False
        self._never_calm = True
        self.began = self.ended = -1
        self.sharp: tuple[Picture, Live] | None = None
        self._passing: list[Passing] = []
        self._races: list[Race] = []

    def now(self, fast: bool, hurried: bool, index: int, last: Picture, live: Live) -> None:
        """Whether the picture has raced into frame `index`; hurried: at least it has moved as fast as that, streaks or not; last,
        live: the picture before, and its tracks."""
        if fast and not self.racing:
            self.began, self.sharp, self.from_the_start = index, (last, live), self._never_calm
            self._passing = [Passing(index - 1, last.fine, live.id, live.xy)]
        elif self.racing and not fast:
            self.ended = index
        self.racing = fast
        self._never_calm &= hurried

    def raced_within(self, frames: int, index: int) -> bool:
        """Whether the picture has raced in one of the last so many frames."""
        return self.racing or (self.ended >= 0 and index - self.ended <= frames)

    def keep(self, index: int, picture: Picture, live: Live) -> list[Race]:
        """Hear what was found in a frame. Returns earlier races that are to be worked off, for the sake of memory."""
        if not self._passing:
            return []
        self._passing.append(Passing(index, picture.fine, live.id, live.xy))
        if not self.racing:
            return self._over(ended=True)
        if len(self._passing) > LONGEST:
            self._passing = []
        return []

    def at_the_end(self) -> list[Race]:
        """What is left to be worked off once the clip is over."""
        earlier = self._over(ended=False) if self._passing else []
        races, self._races = earlier + self._races, []
        return races

    def _over(self, *, ended: bool) -> list[Race]:
        earlier, race = self._races, Race(self._passing, ended)
        self._passing = []
        if sum(len(r.passing) for r in earlier) + len(race.passing) > LONGEST:
            self._races = [race]
            return earlier
        self._races = [*earlier, race]
        return []
