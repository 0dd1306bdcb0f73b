"""The contact sheet of a result: every file of it in one picture, the best song first, with its scores.

In: a ``GenerationResult``. Out: a PNG. Refuses to know how pictures are drawn (``output.contact_sheet``) and what the
scores mean.
"""

from __future__ import annotations

from pathlib import Path

from acestep.output.contact_sheet import Panel, contact_sheet
from acestep.result import GenerationResult, score_rows
from acestep.scoring.rank import caption


def draw_result(result: GenerationResult, path: Path) -> Path:
    """Draw every file of a result.

    Raises:
        OutputError: the picture cannot be written; nothing is left behind.
    """
    places = {song: place for place, song in enumerate(result.ranking, start=1)}
    files = sorted(
        zip(result.song_numbers, score_rows(result), result.audios, strict=True), key=lambda file: places[file[0]]
    )
    panels = [
        Panel(audio["tensor"].numpy(), audio["sample_rate"], caption(places[song], row)) for song, row, audio in files
    ]
    return contact_sheet(panels, path)
