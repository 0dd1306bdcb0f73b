"""How well a planner would have guessed what was asked for: the formula, the texts that are scored, the backends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen3ForCausalLM

from acestep.errors import InputError
from acestep.llm_inference import LLMHandler
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes
from acestep.planner.ask import Ask, Backend, Completion, Heard, Scored
from acestep.planner.backends.native import NativeBackend
from acestep.planner.backends.pt import PtBackend, load_pt
from acestep.planner.chain import END_THINK, THINK
from acestep.planner.likelihood import likelihoods
from acestep.planner.plan import Metadata, Sheet
from acestep.planner.planner import Planner
from acestep.planner.prompts import understanding_prompt
from acestep.planner.vocabulary import Vocabulary
from acestep.scoring.likelihood import (
    PMI_SCALE,
    WEIGHTS,
    Likelihood,
    information_score,
    rank_score,
    recall_score,
)

from planner_support import TINY_LM, slow_logits, small_network, tiny_vocabulary

V = tiny_vocabulary()
SILENT = understanding_prompt(V, ())
PIANO, DRUMS = tuple(range(40)), tuple(range(400, 465))  # codes of two songs
FULL = Sheet(
    "A slow song: warm pads and 'rain', soft drums, a voice that never hurries and says what it has to say twice.",
    "[Verse]\nRain on the window\nAll day long\n\n[Chorus]\nStay",
    Metadata(bpm=97, keyscale="C# minor", timesignature="3", duration=30.5, language="no"),
    genres="ambient, folk",
)
DRY = Sheet("fast drums", "[Verse]\nRun", Metadata(bpm=180))
EMPTY = Sheet("", "")
CHAIN = "bpm: 97\nduration: 30\nkeyscale: C# minor\ntimesignature: 3"
PLAIN = Sheet("soft drums and rain", "Rain on the window\nStay", Metadata(97, "C# minor", "3", 30.5))  # has it
LYRICS = " ".join(f"the sea says {number}" for number in range(200))  # more tokens than are read at once


# --- The formula --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nats", [-3.0, -0.1, 0.0, 0.02, 0.5])
@pytest.mark.parametrize("scale", [0.05, PMI_SCALE, 0.5])
def test_information_becomes_a_score_by_the_sigmoid(nats: float, scale: float) -> None:
    assert information_score(nats, scale) == pytest.approx(1 / (1 + math.exp(-nats / scale)), abs=1e-12)
    assert information_score(nats) == information_score(nats, 0.1)


@pytest.mark.parametrize(("nats", "expected"), [(-1e6, 0.0), (1e6, 1.0), (0.0, 0.5)])
def test_no_information_overflows(nats: float, expected: float) -> None:
    assert information_score(nats, 1e-9) == expected


@pytest.mark.parametrize("scale", [0.0, -0.1, math.nan, math.inf])
def test_a_scale_is_above_zero(scale: float) -> None:
    with pytest.raises(InputError, match="scale must be a number above 0") as refused:
        likelihoods(Ear(), V, [PIANO], [FULL], scale)
    assert refused.value.field == "scale"


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (2, 0.9), (5, 0.6), (10, 0.1), (11, 0.0), (9000, 0.0)])
def test_a_rank_is_worth_a_tenth_less_each(rank: int, expected: float) -> None:
    assert rank_score(rank) == pytest.approx(expected)


def test_every_field_counts_alike_however_many_tokens_it_has() -> None:
    assert recall_score([[1, 1, 11], [6]]) == pytest.approx((2 / 3 + 0.5) / 2)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"caption": 1.0, "lyrics": 0.5, "metadata": 0.0}, 0.65),
        ({"caption": 0.4, "metadata": 1.0}, (0.5 * 0.4 + 0.2) / 0.7),
        ({"lyrics": 0.25}, 0.25),
        ({}, None),
    ],
)
def test_the_reward_weighs_the_parts_there_are(parts: Mapping[str, float], expected: float | None) -> None:
    assert Likelihood(**parts).reward == (None if expected is None else pytest.approx(expected))
    assert sum(WEIGHTS.values()) == pytest.approx(1)


@pytest.mark.parametrize("value", [math.nan, -0.01, 1.01, math.inf])
def test_a_likelihood_holds_nothing_but_shares(value: float) -> None:
    with pytest.raises(ValueError, match="lyrics of a likelihood is from 0 to 1"):
        Likelihood(lyrics=value)


# --- A listener whose mind is known -------------------------------------------------------------------------------


class Ear:
    """A language model without grammar: behind each prompt every token has its own weight, wherever it stands.

    Args:
        remembered: weights of some tokens behind some prompts; all others have 1.
    """

    name = "ear"

    def __init__(self, remembered: Mapping[Sequence[int], Mapping[int, float]] | None = None, context: int = 4096):
        self.remembered, self.context = remembered or {}, context
        self.asked: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        return [Completion((int(self.weights(ask.prompt).argmax()),), finished=False) for ask in asks]

    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        self.asked += [(tuple(prompt), tuple(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
        return [self.scored(self.weights(prompt), list(answer)) for prompt, answer in self.asked[-len(prompts) :]]

    def scored(self, weights: torch.Tensor, answer: list[int]) -> Scored:
        ranks = (weights[None] >= weights[answer][:, None]).sum(-1)
        return Scored((weights / weights.sum()).log()[answer].float(), ranks)

    def weights(self, prompt: Sequence[int]) -> torch.Tensor:
        weights = torch.ones(V.size, dtype=torch.float64)
        for token, weight in self.remembered.get(tuple(prompt), {}).items():
            weights[token] = weight
        return weights


def ear_of(songs: Mapping[tuple[int, ...], Sheet], weight: float = 4.0) -> Ear:
    """Knows what each song is."""
    return Ear(
        {
            understanding_prompt(V, codes): dict.fromkeys(V.text(f"{sheet.caption}\n{sheet.lyrics}"), weight)
            for codes, sheet in songs.items()
        }
    )


def heard(backend: Backend, codes: Sequence[int], sheet: Sheet, scale: float = PMI_SCALE) -> Likelihood:
    return likelihoods(backend, V, [codes], [sheet], scale)[0]


def test_what_a_song_is_scores_higher_than_what_another_is() -> None:
    ear = ear_of({PIANO: FULL, DRUMS: DRY})
    own, foreign = likelihoods(ear, V, [PIANO, PIANO], [FULL, DRY])
    assert own.caption > foreign.caption and own.lyrics > foreign.lyrics and own.reward > foreign.reward
    other, strange = likelihoods(ear, V, [DRUMS, DRUMS], [DRY, FULL])
    assert other.caption > strange.caption and other.lyrics > strange.lyrics


def test_a_song_that_tells_nothing_scores_a_half() -> None:
    deaf = heard(Ear(), PIANO, FULL)
    assert deaf.caption == deaf.lyrics == 0.5
    assert deaf.metadata == 0.0  # all tokens are as likely: none is among the ten likeliest


@pytest.mark.parametrize("scale", [PMI_SCALE, 0.5, 3.0])
def test_information_is_the_mean_over_the_texts_tokens(scale: float) -> None:
    """Every token of the chain ``caption: ...`` and its tags counts; those of the weight 2 bring log 2 more."""
    liked = V.text(" drums")[0]
    text = [V.control(THINK), *V.text("\ncaption: fast drums\n"), V.control(END_THINK), *V.text("\n")]
    assert text.count(liked) == 1
    nats = math.log(2) / len(text) - math.log((V.size + 1) / V.size)
    got = heard(Ear({understanding_prompt(V, PIANO): {liked: 2.0}}), PIANO, replace(DRY, lyrics=""), scale)
    rounding = 1e-6  # of the mean of some nats in fp32; the sigmoid is nowhere steeper than a quarter
    assert got.caption == pytest.approx(1 / (1 + math.exp(-nats / scale)), abs=rounding * max(1.0, 0.25 / scale))


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (5, 0.6), (10, 0.1), (11, 0.0)])
def test_metadata_count_by_the_rank_of_their_value(rank: int, expected: float) -> None:
    meter = next(token for token in V.text("\ntimesignature: 3\n") if b"3" in V.pieces[token])
    likelier = dict.fromkeys(range(V.first_code, V.first_code + rank - 1), 9.0)
    ear = Ear({understanding_prompt(V, PIANO): {meter: 3.0, **likelier}})
    got = heard(ear, PIANO, replace(EMPTY, metadata=Metadata(timesignature="3")))
    assert got.metadata == pytest.approx(expected)
    assert got == Likelihood(metadata=got.metadata) and got.reward == got.metadata


# --- What is asked ------------------------------------------------------------------------------------------------


def spelled(ear: Ear) -> list[tuple[str, str]]:
    """What was asked, as text: the part of the prompt that is the song's, and what is scored behind it."""
    prompts = {SILENT: "silent", understanding_prompt(V, PIANO): "piano", understanding_prompt(V, DRUMS): "drums"}
    return [(prompts[prompt], V.spell(answer)) for prompt, answer in ear.asked]


def test_the_texts_are_those_of_training() -> None:
    heard(ear := Ear(), PIANO, FULL)
    caption = (
        "<think>\ncaption: 'A slow song: warm pads and ''rain'', soft drums, a voice that never hurries\n"
        "  and says what it has to say twice.'\n</think>\n"
    )
    lyrics = "<think>\n</think>\n# Lyric\n[Verse]\nRain on the window\nAll day long\n\n[Chorus]\nStay\n"
    metadata = (
        "<think>\nbpm: 97\nduration: 30\ngenres: ambient, folk\nkeyscale: C# minor\nlanguage: 'no'\n"
        "timesignature: 3\n</think>\n"
    )
    assert spelled(ear) == [
        ("piano", caption),
        ("silent", caption),
        ("piano", lyrics),
        ("silent", lyrics),
        ("piano", metadata),
    ]


def test_nothing_is_asked_twice() -> None:
    both = likelihoods(ear := Ear(), V, [PIANO, DRUMS, PIANO], [DRY, DRY, DRY])
    assert sorted(prompt for prompt, _ in spelled(ear)) == ["drums"] * 3 + ["piano"] * 3 + ["silent"] * 2
    assert both[0] == both[2]


def test_tags_in_words_are_words() -> None:
    sheet = Sheet(f"a {END_THINK} b", f"sing {THINK}{END_THINK}<|im_end|> now")
    heard(ear := Ear(), PIANO, sheet)
    controls = [V.control(THINK), V.control(END_THINK)]
    for _, text in ear.asked:
        assert [token for token in text if token in (*controls, V.end_of_turn)] == controls


@pytest.mark.parametrize("blank", ["", "  \n", "[Instrumental]", "[Verse]\n\n[Chorus]\n"])
def test_an_instrumental_has_no_lyrics_to_judge(blank: str) -> None:
    got = heard(ear := Ear(), PIANO, replace(FULL, lyrics=blank))
    assert got.lyrics is None and got.caption is not None and got.warnings == ()
    assert not any("# Lyric" in text for _, text in spelled(ear))


@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_a_blank_caption_is_not_judged(blank: str) -> None:
    got = heard(Ear(), PIANO, replace(FULL, caption=blank))
    assert got.caption is None and got.lyrics is not None and got.warnings == ()


def test_only_fixed_metadata_count() -> None:
    heard(ear := Ear(), PIANO, replace(EMPTY, metadata=Metadata(keyscale="G major", language="unknown")))
    assert spelled(ear) == [("piano", "<think>\nkeyscale: G major\n</think>\n")]


def test_where_nothing_was_asked_for_nothing_is_scored() -> None:
    got = heard(ear := Ear(), PIANO, EMPTY)
    assert got == Likelihood() and got.reward is None and ear.asked == []


# --- Limits -------------------------------------------------------------------------------------------------------


def test_a_part_beyond_the_context_is_left_out_with_a_reason() -> None:
    sheet, prompt = replace(FULL, lyrics=LYRICS), understanding_prompt(V, PIANO)
    heard(whole := Ear(), PIANO, sheet)
    lengths = {spelling: len(answer) for (_, answer), (_, spelling) in zip(whole.asked, spelled(whole), strict=True)}
    longest = max(lengths.values())
    exact = heard(Ear(context=len(prompt) + longest), PIANO, sheet)
    assert exact.lyrics is not None and exact.warnings == ()
    got = heard(Ear(context=len(prompt) + longest - 1), PIANO, sheet)
    assert got.lyrics is None and got.caption == exact.caption and got.metadata == exact.metadata
    (warning,) = got.warnings
    assert "lyrics" in warning and all(str(n) in warning for n in (len(prompt), longest, len(prompt) + longest - 1))


def test_codes_alone_beyond_the_context_leave_nothing() -> None:
    got = heard(ear := Ear(context=50), tuple(range(60)), FULL)
    assert (got.caption, got.lyrics, got.metadata, got.reward) == (None, None, None, None)
    assert len(got.warnings) == 3 and ear.asked == []


def test_a_song_too_long_does_not_touch_the_next() -> None:
    ear = ear_of({PIANO: FULL})
    long, short = likelihoods(ear, V, [tuple(range(900)) * 5, PIANO], [FULL, FULL])
    assert long.reward is None and short == heard(ear, PIANO, FULL)


def test_a_song_has_codes_that_the_planner_knows() -> None:
    with pytest.raises(InputError, match="audio_codes of a song are empty"):
        heard(Ear(), (), FULL)
    with pytest.raises(InputError, match="audio_codes must be from 0 to 4095 for this planner, not 4096"):
        heard(Ear(), (4096,), FULL)
    with pytest.raises(ValueError, match="shorter"):
        likelihoods(Ear(), V, [PIANO, DRUMS], [FULL])
    assert likelihoods(Ear(), V, [], []) == []


# --- Real networks ------------------------------------------------------------------------------------------------


def native(network: torch.nn.Module, **options: object) -> NativeBackend:
    """The same weights in our decoder."""
    config, weights = network.config, network.model.state_dict()
    names = [name for name in Qwen3Sizes.__dataclass_fields__ if name != "rope_theta"]
    sizes = Qwen3Sizes(
        **{name: getattr(config, name) for name in names}, rope_theta=config.rope_parameters["rope_theta"]
    )
    return NativeBackend(Qwen3Decoder(sizes, lambda name: weights[name].clone()), V, **options)


@lru_cache(maxsize=1)
def leaning_network() -> Qwen3ForCausalLM:
    """A random network that cares for the tokens of some metadata; others are about as likely as one another."""
    network = deepcopy(small_network())
    others = torch.ones(V.size, dtype=torch.bool)
    others[V.text(f"\n{CHAIN}\n")] = False
    network.model.embed_tokens.weight[others] *= 0.1
    return network


@pytest.fixture(scope="module")
def both() -> dict[str, Backend]:
    network = leaning_network()
    return {"native": native(network), "pt": PtBackend(network, V)}


@pytest.fixture(params=["native", "pt"])
def backend(request: pytest.FixtureRequest, both: Mapping[str, Backend]) -> Backend:
    return both[request.param]


def slow_log_probs(prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
    """By a fresh look of the plain network at the whole text, ``[n, V]`` fp64."""
    logits = slow_logits(leaning_network(), [*prompt, *answer])[len(prompt) - 1 : -1].astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def slow_mean(prompt: Sequence[int], answer: Sequence[int]) -> float:
    return float(np.mean([row[token] for row, token in zip(slow_log_probs(prompt, answer), answer, strict=True)]))


def slow_likelihood(codes: Sequence[int], caption: str, lyrics: str, chain: str) -> list[float]:
    """Caption, lyrics and metadata from the texts as they are written."""
    prompt, think, end = understanding_prompt(V, codes), V.control(THINK), V.control(END_THINK)
    texts = [
        [think, *V.text(f"\n{caption}\n"), end, *V.text("\n")],
        [think, *V.text("\n"), end, *V.text(f"\n# Lyric\n{lyrics}\n")],
    ]
    parts = [1 / (1 + math.exp(-(slow_mean(prompt, text) - slow_mean(SILENT, text)) / 0.1)) for text in texts]
    text = [think, *V.text(f"\n{chain}\n"), end, *V.text("\n")]
    return [*parts, slow_recall(slow_log_probs(prompt, text), text)]


def slow_recall(log_probs: np.ndarray, text: Sequence[int]) -> float:
    """Line by line, token by token: 1 for the likeliest, .9 for the next ..."""
    fields: list[list[float]] = []
    written = ""
    for row, token in zip(log_probs, text, strict=True):
        line = written.split("\n")[-1]
        piece = V.spell([token])
        if ": " in line + piece and piece.strip() not in ("", ":") and END_THINK not in piece:
            if ": " not in line or not line.split(": ")[1].strip():
                fields.append([])
            place = int((row > row[token]).sum())
            fields[-1].append(max(0.0, 1 - place / 10))
        written += piece
    return sum(sum(field) / len(field) for field in fields) / len(fields)


@pytest.mark.parametrize("codes", [PIANO, DRUMS, (7,)], ids=len)
def test_likelihoods_are_those_of_a_slow_look(backend: Backend, codes: tuple[int, ...]) -> None:
    got = heard(backend, codes, PLAIN)
    expected = slow_likelihood(codes, f"caption: {PLAIN.caption}", PLAIN.lyrics, CHAIN)
    assert [got.caption, got.lyrics, got.metadata] == pytest.approx(expected, abs=1e-4)
    assert abs(got.caption - 0.5) > 0.01 and 0 < got.metadata < 1  # the random network does hear something


def test_scores_have_log_probabilities_and_ranks(backend: Backend) -> None:
    generator = np.random.default_rng(2)
    prompts = [generator.integers(0, V.size, count).tolist() for count in (1, 600, 7)]
    prompts = [*prompts, prompts[1], prompts[0]]
    answers = [generator.integers(0, V.size, count).tolist() for count in (150, 0, 64, 530, 1)]
    for prompt, answer, scored in zip(prompts, answers, backend.score(prompts, answers), strict=True):
        assert (scored.log_probs.dtype, scored.ranks.dtype) == (torch.float32, torch.int64)
        assert scored.log_probs.shape == scored.ranks.shape == (len(answer),)
        if answer:
            every = slow_log_probs(prompt, answer)
            own = every[np.arange(len(answer)), answer]
            np.testing.assert_allclose(scored.log_probs.numpy(), own, rtol=0, atol=1e-4)
            least, most = ((every >= own[:, None] + edge).sum(-1) for edge in (1e-4, -1e-4))
            assert (np.maximum(least, 1) <= scored.ranks.numpy()).all() and (scored.ranks.numpy() <= most).all()


def test_native_scores_what_the_reference_scores(both: Mapping[str, Backend]) -> None:
    songs = [PIANO, DRUMS, PIANO + DRUMS], [FULL, replace(DRY, lyrics=LYRICS), PLAIN]
    ours, theirs = (likelihoods(both[name], V, *songs) for name in ("native", "pt"))
    for one, other in zip(ours, theirs, strict=True):
        assert parts(one) == pytest.approx(parts(other), abs=1e-4)


def parts(likelihood: Likelihood) -> list[float | None]:
    return [getattr(likelihood, name) for name in WEIGHTS]


def test_a_song_scores_alone_what_it_scores_among_others(backend: Backend) -> None:
    codes, sheets = [PIANO, DRUMS, (5,) * 700, PIANO], [FULL, replace(DRY, lyrics=LYRICS), PLAIN, DRY]
    together = likelihoods(backend, V, codes, sheets)
    for song, sheet, got in zip(codes, sheets, together, strict=True):
        assert parts(got) == pytest.approx(parts(heard(backend, song, sheet)), abs=1e-4)


def test_scoring_leaves_no_trace(backend: Backend) -> None:
    first = heard(backend, PIANO, FULL)
    heard(backend, DRUMS, DRY)
    assert heard(backend, PIANO, FULL) == first


def test_a_prompt_is_read_once_for_all_that_stands_behind_it(backend: Backend) -> None:
    network = backend.network if isinstance(backend, NativeBackend) else backend.network.model
    read: list[int] = []
    hook = network.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    prompt, answers = V.text("rain " * 700), [V.text("the sea " * count) for count in (5, 300, 20, 0)]
    assert len(prompt) > 1000
    backend.score([prompt] * 4 + [prompt[:9]], [*answers, answers[0]])
    hook.remove()
    assert sum(read) == len(prompt) - 1 + sum(map(len, answers)) + 8 + len(answers[0])


class WidestHead(TorchDispatchMode):
    """Counts the rows of every result that has a column for each of many tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.logsumexp.default:
            self.rows.append(args[0].numel() // args[0].shape[-1])
        elif isinstance(result, torch.Tensor) and result.dim() > 1 and result.shape[-1] == V.size:
            assert result.numel() <= 64 * V.size, func
        return result


def test_logits_are_found_of_texts_only_and_of_few_tokens_at_a_time(backend: Backend) -> None:
    codes, text = tuple(range(900)), V.text(LYRICS)
    with WidestHead() as head:
        backend.score([understanding_prompt(V, codes)] * 2, [text, text[:10]])
    assert sum(head.rows) == len(text) + 10 and max(head.rows) <= 64


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["native", "pt"])
def test_a_network_that_breaks_judges_nothing(kind: str, poison: float) -> None:
    broken = load_pt(TINY_LM, torch.device("cpu"), torch.float32)
    broken.network.model.norm.weight.fill_(poison)
    if kind == "native":
        broken = native(broken.network)
    got = heard(broken, PIANO, FULL)
    assert parts(got) == [None, None, None] and got.reward is None
    assert [name in warning and "NaN" in warning for name, warning in zip(WEIGHTS, got.warnings, strict=True)] == [
        True
    ] * 3
    json.dumps(asdict(got), allow_nan=False)


def test_one_broken_number_costs_its_part_alone() -> None:
    class Cracked(Ear):
        def scored(self, weights: torch.Tensor, answer: list[int]) -> Scored:
            found = super().scored(weights, answer)
            if b"Lyric" in b"".join(V.pieces[token] for token in answer):
                found.log_probs[3] = math.nan
            return found

    whole, got = heard(Ear(), PIANO, FULL), heard(Cracked(), PIANO, FULL)
    assert got == replace(whole, lyrics=None, warnings=got.warnings) and "lyrics" in got.warnings[0]


# --- The embedded planner -----------------------------------------------------------------------------------------


def test_the_embedded_planner_judges_songs_end_to_end(planner: LLMHandler) -> None:
    songs = [PIANO * 4, DRUMS * 3], [FULL, Sheet("calm piano", "[Instrumental]", Metadata(bpm=90))]
    with planner.planner() as listening:
        first = listening.likelihoods(*songs)
        assert listening.likelihoods(*songs) == first
        softer = listening.likelihoods(*songs, scale=10.0)
    assert all(0 < got.caption < 1 and 0 <= got.metadata <= 1 and got.warnings == () for got in first)
    assert 0 < first[0].lyrics < 1 and first[1].lyrics is None
    assert all(abs(got.caption - 0.5) < 0.05 for got in softer)
    reference = Planner(load_pt(TINY_LM, torch.device("cpu"), torch.float32), Vocabulary.load(TINY_LM))
    for ours, theirs in zip(first, reference.likelihoods(*songs), strict=True):
        assert parts(ours) == pytest.approx(parts(theirs), abs=1e-4)


def test_the_longest_song_is_judged(planner: LLMHandler) -> None:
    with planner.planner() as listening:
        (got,) = listening.likelihoods([tuple(n % 1000 for n in range(3000))], [FULL])
    assert None not in parts(got)
