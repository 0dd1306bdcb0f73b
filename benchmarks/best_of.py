"""What choosing the best of several songs is worth: agreement with the request of the chosen song, and of all.

    python -m benchmarks.best_of --requests 32 --songs 4                 # composed songs that obey half of the time
    python -m benchmarks.best_of --model tiny --requests 32 --songs 4    # songs of a model

In: a model, or the composer of the training data. Out: a table of means and standard errors. Our own ears choose,
librosa and mir_eval judge what was chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import numpy as np

from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.scoring.rank import ranked
from acestep.scoring.scores import Scores
from acestep.scoring.sound import measure
from acestep.training.compose import compose
from acestep.training.ears import NOTES, Heard, key_score, tempo_agrees
from acestep.training.evaluation.studio import asked_for, held_out_song
from acestep.training.render import Renderer

SECONDS = 16.0
OBEYED = 0.5  # how often a composed song has the tempo, and the key, that was asked for
KEYS = tuple(f"{note} {mode}" for note in NOTES for mode in ("major", "minor"))
Songs = tuple[int, str, list[np.ndarray]]  # bpm and key asked for, float32 [2, S] each


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.best_of", description=main.__doc__)
    parser.add_argument("--model", help="a model that is here; default: composed songs")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--songs", type=int, default=4)
    arguments = parser.parse_args(argv)
    make = composed() if arguments.model is None else played(arguments.model)
    rows = [judged(*make(number, arguments.songs)) for number in range(arguments.requests)]
    print(f"{arguments.requests} requests, {arguments.songs} songs each, {arguments.model or 'composed'}")
    print(f"{'':8}{'best':>14}{'mean of all':>14}{'gain':>14}")
    for column, name in enumerate(("tempo", "key")):
        best, mean = ([row[place][column] for row in rows] for place in (0, 1))
        gain = [one - other for one, other in zip(best, mean, strict=True)]
        print(f"{name:8}" + "".join(f"{shown(values):>14}" for values in (best, mean, gain)))


def judged(bpm: int, key: str, songs: Sequence[np.ndarray]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Tempo and key agreement, by other ears, of the song that ours would choose, and of all in the mean."""
    chosen = ranked([Scores(measure(song, SAMPLE_RATE, bpm=bpm, keyscale=key)) for song in songs])[0]
    heard = [Heard.of(song) for song in songs]
    agreements = [(float(tempo_agrees(one.tempo, bpm)), key_score(one.key, key)) for one in heard]
    return agreements[chosen], (fmean(tempo for tempo, _ in agreements), fmean(score for _, score in agreements))


def composed() -> Callable[[int, int], Songs]:
    """Songs of the composer, each with the tempo and the key of the request or with others."""
    renderer = Renderer()

    def make(number: int, count: int) -> Songs:
        rng = np.random.default_rng(number)
        wanted = int(rng.integers(60, 181)), str(rng.choice(KEYS))
        scores = [
            compose(
                int(rng.integers(1 << 31)),
                duration_s=SECONDS,
                bpm=wanted[0] if rng.random() < OBEYED else int(rng.integers(60, 181)),
                keyscale=wanted[1] if rng.random() < OBEYED else str(rng.choice(KEYS)),
            )
            for _ in range(count)
        ]
        return *wanted, [renderer.render(score).mix for score in scores]

    return make


def played(model: str) -> Callable[[int, int], Songs]:
    """Songs of a model, without a planner, from the words of held-out songs."""
    handler = AceStepHandler()
    handler.initialize_service(config_path=model)

    def make(number: int, count: int) -> Songs:
        params: GenerationParams = asked_for(held_out_song(number))
        result = generate_music(handler, None, params, GenerationConfig(batch_size=count))
        result.check()
        return params.bpm, params.keyscale, [audio["tensor"].numpy() for audio in result.audios]

    return make


def shown(values: Sequence[float]) -> str:
    """Mean and standard error."""
    return f"{fmean(values):.3f} ± {stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
