"""Trains the embedded planner: words to a chain of thought and codes, codes and rough words to chains and lyrics.

    python -m acestep.training.train_lm .cache/latents runs/fsq runs/lm --minutes 30

In: latents of songs, the run of the semantic codec. Out: checkpoints, and beside them what the run began with: the
planner's vocabulary and the codes of the songs. Refuses to know how prompts and answers are spelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from acestep.errors import InputError, WeightsError
from acestep.models.config import AceStepConfig
from acestep.planner.vocabulary import Vocabulary
from acestep.training.claims import NETWORK, claim, digest_of_tensors
from acestep.training.compose.brief import stream
from acestep.training.files import write_beside
from acestep.training.latents import MIX, LatentSong, LatentSongs
from acestep.training.learn.command import budget_of, run_command, settings_of, trainer_parser
from acestep.training.learn.trainer import Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.lm_examples import (
    CodedSong,
    LmExample,
    draw_played,
    draw_worded,
    learn_planner_vocabulary,
)
from acestep.training.planner_network import PlannerNetwork, digest_of_planner
from acestep.training.sizes import TRANSFORMER
from acestep.training.train_fsq import SemanticCodec

TOKENIZER, CODES = "tokenizer.json", "codes.safetensors"
ROUND = 8  # batches are drawn so many at a time and dealt by length
PLAYED = 0.75
CODE_WEIGHT = 0.5  # of the codes' mean error beside the text's: music goes on in many ways, words in few
EARS_WEIGHT = 3.0  # of cross-entropies of a quarter to a half


class LmLessons:
    """Batches by number: ``PLAYED`` of each end in codes, the others in words, all of about the same length.

    Args:
        songs: rendered ones.
        vocabulary: of the planner.
        size: examples per batch.
        seed: of everything drawn.

    Raises:
        InputError: a batch of one cannot hold both.
    """

    def __init__(self, songs: Sequence[CodedSong], vocabulary: Vocabulary, size: int, seed: int) -> None:
        if size < 2:
            raise InputError.must("batch", "be 2 or more", size)
        self.songs, self.vocabulary, self.size, self.seed = songs, vocabulary, size, seed
        self._number, self._dealt = -1, []

    def batch(self, step: int) -> list[LmExample]:
        """The batch of one micro step."""
        number, place = divmod(step, ROUND)
        if number != self._number:
            self._number, self._dealt = number, self._deal(number)
        return self._dealt[place]

    def _deal(self, number: int) -> list[list[LmExample]]:
        """The batches of a round, in any order."""
        rng = stream(self.seed, f"round {number}")
        batches: list[list[LmExample]] = [[] for _ in range(ROUND)]
        played = min(round(self.size * PLAYED), self.size - 1)
        for draw, share in ((draw_played, played), (draw_worded, self.size - played)):
            drawn = sorted((draw(self.songs, self.vocabulary, rng) for _ in range(share * ROUND)), key=len)
            for place, batch in enumerate(batches):
                batch.extend(drawn[place * share : (place + 1) * share])
        rng.shuffle(batches)
        return batches


@dataclass(frozen=True, slots=True)
class LmLoss:
    """Cross-entropy of the next token of the answers, in nats (text and codes alike), and of the ears."""

    lessons: LmLessons

    def __call__(self, network: PlannerNetwork, step: int) -> tuple[Tensor, Figures]:
        vocabulary, device = self.lessons.vocabulary, network.model.device
        examples = self.lessons.batch(step)
        tokens, learnt = padded(examples, vocabulary.end_of_text)
        tokens, learnt = tokens.to(device), learnt[:, 1:].to(device)
        states, wanted = network.states(tokens[:, :-1]), tokens[:, 1:][learnt]
        errors = F.cross_entropy(network.logits(states[learnt]).float(), wanted, reduction="none")
        is_code = wanted >= vocabulary.first_code
        text, codes = errors[~is_code].mean(), errors[is_code].mean()
        songs, nexts = network.ears_error(states, examples)
        figures = {"text": text, "codes": codes, "songs": songs, "nexts": nexts}
        loss = text + CODE_WEIGHT * codes + EARS_WEIGHT * (songs + nexts)
        return loss, {name: value.item() for name, value in figures.items()}


def padded(examples: Sequence[LmExample], padding: int) -> tuple[Tensor, Tensor]:
    """Token ids of prompts and answers, padded on the right, and which are of answers, both ``[B, L]``."""
    tokens = [torch.tensor(example.prompt + example.answer) for example in examples]
    learnt = [torch.arange(len(example)) >= len(example.prompt) for example in examples]
    return pad_sequence(tokens, batch_first=True, padding_value=padding), pad_sequence(learnt, batch_first=True)


# --- What a run begins with ---------------------------------------------------------------------------------------


def planner_tokenizer(folder: Path) -> Tokenizer:
    """The vocabulary of a run; it is learnt when the run begins."""
    path = folder / TOKENIZER
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = learn_planner_vocabulary(AceStepConfig.from_dict(TRANSFORMER).codebook_size)
        with write_beside(path) as file:
            file.write(tokenizer.to_str().encode())
    return Tokenizer.from_file(str(path))


def coded_songs(songs: LatentSongs, fsq_run: Path, folder: Path, device: str) -> list[CodedSong]:
    """The songs as codes of the trained semantic codec; those that the run has not seen yet are encoded now.

    Every song is there ``FRAMES_PER_CODE`` times, each time cut into codes one frame later, so what is learnt is what
    is played and not its codes by heart.

    Raises:
        WeightsError: there is no such codec, or the run began with the codes of another.
    """
    weights = {name: tensor for name, tensor in averaged_weights(fsq_run).items() if name.startswith("tokenizer.")}
    path, mark = folder / CODES, digest_of_tensors(weights)
    known = _read_codes(path, mark) if path.is_file() else {}
    missing = [song for song in songs.songs if song.record.seed not in known]
    if missing:
        codes = known | _encode(missing, weights, device)
        folder.mkdir(parents=True, exist_ok=True)
        with write_beside(path) as file:
            file.write(save({str(seed): one for seed, one in codes.items()}, {"codec": mark}))
        known = codes
    return [
        CodedSong(song.record.seed, tuple(codes), late)
        for song in songs.songs
        for late, codes in enumerate(known[song.record.seed].tolist())
    ]


@torch.inference_mode()
def _encode(songs: Sequence[LatentSong], weights: Mapping[str, Tensor], device: str) -> dict[int, Tensor]:
    """Codes ``[FRAMES_PER_CODE, K]`` int16 of every group of frames, from each of the first on, by seed."""
    tokenizer = SemanticCodec(AceStepConfig.from_dict(TRANSFORMER)).tokenizer
    tokenizer.load_state_dict({name.removeprefix("tokenizer."): tensor for name, tensor in weights.items()})
    tokenizer.eval().to(device)
    codes = {}
    for song in songs:
        latents = song.latents(MIX)[None].to(device)  # [1, T, C]
        whole = latents.shape[1] // tokenizer.pool * tokenizer.pool
        late = torch.arange(whole) + torch.arange(tokenizer.pool)[:, None]  # [FRAMES_PER_CODE, whole]
        cuts = latents[0, late.clamp_max(latents.shape[1] - 1)]
        codes[song.record.seed] = tokenizer(cuts, cuts).to("cpu", torch.int16)
    return codes


def _read_codes(path: Path, mark: str) -> dict[int, Tensor]:
    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get("codec") != mark:
            raise WeightsError(
                f"{path} holds the codes of another semantic codec; train this planner in another folder."
            )
        return {int(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file, not a mapping


# --- The run ------------------------------------------------------------------------------------------------------


def new_planner(rows: int, seed: int) -> PlannerNetwork:
    """The untrained network with ``rows`` embeddings."""
    torch.manual_seed(seed)
    return PlannerNetwork(rows)


def train_lm(
    songs: LatentSongs, fsq_run: Path, folder: Path, settings: Settings, budget: Budget, batch: int, device: str
) -> None:
    """Train, or go on.

    Raises:
        WeightsError: the run is of another network, or of another semantic codec.
    """
    claim(folder, NETWORK, digest_of_planner())
    vocabulary = Vocabulary.of(planner_tokenizer(folder))
    lessons = LmLessons(coded_songs(songs, fsq_run, folder, device), vocabulary, batch, settings.seed)
    network = new_planner(vocabulary.size, settings.seed).to(device)
    Trainer(network, LmLoss(lessons), settings, folder).run(budget)


def main(argv: list[str] | None = None) -> None:
    """Train the embedded planner."""
    parser = trainer_parser("train_lm", main.__doc__, ("latents", "fsq", "folder"), batch=8, rate=2e-3)
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments, weight_decay=0.01), budget_of(arguments)
    songs = LatentSongs(arguments.latents)
    train_lm(songs, arguments.fsq, arguments.folder, settings, budget, arguments.batch, arguments.device)


if __name__ == "__main__":
    run_command("train_lm", main)
