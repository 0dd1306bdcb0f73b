"""The planner's grammar over a vocabulary of published size: seconds to sort it, microseconds for a mask.

``python -m benchmarks.grammar`` prints one JSON line. The vocabulary is drawn at random with the make-up of the
published one: 151,643 pieces of byte-level BPE, 26 added tokens, 65,535 audio codes; ``--tokenizer FILE`` takes a
real ``tokenizer.json``. ``first`` is the first time in a state, ``again`` the same state once more. ``walk`` is whole
answers, amortised over their tokens: each has its own grammar and is drawn evenly from the masks, which visits more
different states than a model does; ``cold`` forgets all answers before each, ``warm`` keeps them.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from acestep.planner.answers import codes_grammar, planning_grammar
from acestep.planner.chain import FIELDS, ChainOfThought
from acestep.planner.grammar import Grammar, State
from acestep.planner.token_mask import TokenMask, byte_pieces

BASE, AUDIO_CODES, CODEBOOK = 151_643, 65_535, 64_000
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|spare_{rank}|>" for rank in range(21))]
THINKING = ["<think>", "</think>"]
CHAINS = 20
Result = TypeVar("Result")
CAPTION_PIECES = 60  # tokens of a usual caption


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json; default: a random vocabulary"
    )
    arguments = parser.parse_args()
    pieces = real_pieces(arguments.tokenizer) if arguments.tokenizer else random_pieces(random.Random(0))
    print(json.dumps({"benchmark": "grammar", "tokens": len(pieces), **measure(pieces)}))


def random_pieces(rng: random.Random) -> list[bytes]:
    """A vocabulary of published size: words, other scripts, marks, indentation, parts of characters."""
    pieces = {bytes([byte]) for byte in range(256)}
    draw = kinds_of_pieces(rng)
    while len(pieces) < BASE:
        pieces.add(next(draw))
    codes = [f"<|audio_code_{code}|>" for code in range(AUDIO_CODES)]
    return [*sorted(pieces), *(token.encode() for token in (*ADDED, *THINKING, *codes))]


def kinds_of_pieces(rng: random.Random) -> Iterator[bytes]:
    """One piece after another, kinds in about the shares of the published vocabulary."""
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    while True:
        word = "".join(rng.choices(letters, k=rng.randrange(2, 11)))
        beyond = "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(rng.randrange(1, 4)))
        yield (" " + word).encode()
        yield rng.choice([word, word.capitalize(), " " + word.capitalize()]).encode()
        yield beyond.encode() if rng.random() < 0.85 else beyond.encode()[: rng.randrange(1, 4)]
        if rng.random() < 0.1:
            yield (
                "".join(rng.choices('.,;:)("{}=', k=rng.randrange(1, 4))) + rng.choice(["\n", "\n\n", ""])
            ).encode()
        if rng.random() < 0.02:
            yield ("\n" * rng.randrange(9) + " " * rng.randrange(1, 80)).encode()


def real_pieces(path: Path) -> list[bytes]:
    """The vocabulary of a tokenizer file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return byte_pieces(tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size()))


def measure(pieces: list[bytes]) -> dict[str, object]:
    """Sorting, single states, whole chains."""
    build_s, mask = timed(lambda: TokenMask(pieces))
    figures: dict[str, object] = {"build_s": round(build_s, 3)}
    for name, state in places().items():
        first_s, answer = timed(lambda state=state: mask.allowed(state))  # type: ignore[misc]
        again = [timed(lambda state=state: mask.allowed(state))[0] for _ in range(1000)]  # type: ignore[misc]
        figures[name] = {
            "allowed": len(answer),
            "first_us": round(first_s * 1e6, 1),
            "again_us": round(statistics.median(again) * 1e6, 2),
        }
    figures["walk_closed"] = both_walks(pieces, lambda: planning_grammar(leave_out={"caption"}))
    figures["walk_plan"] = both_walks(pieces, lambda: planning_grammar(caption_pieces=CAPTION_PIECES))
    given = ChainOfThought(120, "soft " * 100, 60, "", "C major", "en", "4")
    figures["walk_given"] = both_walks(pieces, lambda: planning_grammar(given, FIELDS))
    figures["walk_codes"] = both_walks(pieces, lambda: codes_grammar(240, CODEBOOK))
    return figures


def places() -> dict[str, State]:
    """One state of each kind."""
    start = planning_grammar().start.advance(b"<think>")
    caption = start.advance(b"\nbpm: 120\ncaption: a")
    behind = caption.advance(b"\nduration: 60\nkeyscale:")
    return {
        "bpm": start.advance(b"\nbpm: 1"),
        "caption": caption,
        "caption_line": caption.advance(b"\n"),
        "half_character": caption.advance(b"\xe9"),
        "keyscale": behind,
        "language": behind.advance(b" C major\nlanguage: "),
        "codes": codes_grammar(60, CODEBOOK).start,
    }


def both_walks(pieces: list[bytes], grammar: Callable[[], Grammar]) -> dict[str, object]:
    """Whole answers, remembered and forgotten."""
    warm, cold = TokenMask(pieces), TokenMask(pieces)
    walks(warm, pieces, grammar)
    return {
        "warm": walks(warm, pieces, grammar),
        "cold": walks(cold, pieces, grammar, before_each=cold.forget),
    }


def walks(
    mask: TokenMask,
    pieces: list[bytes],
    grammar: Callable[[], Grammar],
    before_each: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Whole answers: microseconds a token for masks and for advancing, each answer with its own grammar."""
    rng = random.Random(0)
    tokens, mask_s, advance_s = 0, 0.0, 0.0
    build_s = []
    for _ in range(CHAINS):
        before_each()
        seconds, made = timed(grammar)
        build_s.append(seconds)
        state = made.start
        while not state.is_finished:
            seconds, allowed = timed(lambda state=state: mask.allowed(state))  # type: ignore[misc]
            mask_s += seconds
            piece = pieces[rng.choice(allowed)]
            seconds, state = timed(lambda state=state, piece=piece: state.advance(piece))  # type: ignore[misc]
            advance_s += seconds
            tokens += 1
    return {
        "tokens": tokens // CHAINS,
        "grammar_us": round(statistics.median(build_s) * 1e6, 1),
        "mask_us": round(mask_s / tokens * 1e6, 1),
        "advance_us": round(advance_s / tokens * 1e6, 1),
    }


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
