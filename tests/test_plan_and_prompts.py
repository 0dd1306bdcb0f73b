"""Plans as JSON, prompts character for character, and their tokens."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.conditioning.context import SilenceLatents, context, erased
from acestep.conditioning.prompt import lyric_prompt, text_prompt
from acestep.conditioning.reference import WINDOW_SAMPLES, timbre_excerpt
from acestep.conditioning.text import PromptTokenizer
from acestep.errors import InputError
from acestep.lyrics import is_instrumental
from acestep.planner.plan import Metadata, Plan
from acestep.tasks import TASKS, TEXT2MUSIC_INSTRUCTION, instruction_for
from acestep.training.vocabulary import learn_vocabulary

PLAN = Plan("soft rain", "[Verse]\nDrop by drop", Metadata(90, "A minor", "3", 42.9, "en"), tuple(range(215)))


def test_the_text_prompt_is_the_trained_one() -> None:
    plan = Plan("soft rain", "", Metadata(90, "A minor", "3", 42.9))
    assert text_prompt(plan, "Do it") == (
        "# Instruction\nDo it:\n\n# Caption\nsoft rain\n\n# Metas\n"
        "- bpm: 90\n- timesignature: 3\n- keyscale: A minor\n- duration: 42 seconds\n"
    )


def test_open_metadata_reads_not_available() -> None:
    prompt = text_prompt(Plan("x", "", Metadata(duration=30)), TEXT2MUSIC_INSTRUCTION)
    assert prompt.endswith("- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 30 seconds\n")
    assert "conditions::" not in prompt


def test_the_lyric_prompt_is_the_trained_one() -> None:
    assert lyric_prompt(PLAN) == "# Languages\nen\n\n# Lyric\n[Verse]\nDrop by drop"


@pytest.mark.parametrize(
    ("task", "tracks", "line"),
    [
        ("lego", ("guitar",), "Generate the GUITAR track based on the audio context:"),
        ("lego", (), "Generate the track based on the audio context:"),
        ("extract", ("vocals",), "Extract the VOCALS track from the audio:"),
        ("complete", ("drums", "bass"), "Complete the input track with DRUMS | BASS:"),
        ("complete", (), "Complete the input track:"),
        ("cover", (), "Generate audio semantic tokens based on the given conditions:"),
    ],
)
def test_instruction_lines(task: str, tracks: tuple[str, ...], line: str) -> None:
    assert instruction_for(TASKS[task], tracks=tracks) == line


def test_plans_survive_json() -> None:
    assert Plan.from_dict(json.loads(PLAN.to_json())) == PLAN
    assert PLAN.duration_s == 42.9
    assert replace(PLAN, metadata=Metadata(), audio_codes=(3, 1)).duration_s == 0.4
    with pytest.raises(InputError, match="audio_codes of the plan are 2, which last 0.4 s, but its duration is 42.9"):
        _ = replace(PLAN, audio_codes=(3, 1)).duration_s
    with pytest.raises(InputError, match="duration is not decided"):
        _ = Plan("x", "", Metadata()).duration_s


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tempo": 3}, "a plan has no field 'tempo'; it has: caption"),
        ({"metadata": {"key": "C"}}, "a plan has no field 'key'; it has: bpm"),
        ({"metadata": 3}, "metadata of a plan must be an object"),
        ({"audio_codes": [1.5]}, "audio_codes of a plan must be a list of whole numbers"),
        ({"audio_codes": [-1]}, "audio_codes of a plan must be a list"),
        ({"caption": None}, "caption of a plan must be text"),
    ],
)
def test_edited_plans_are_checked(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Plan.from_dict({**PLAN.to_dict(), **change})


@pytest.fixture(scope="module")
def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(learn_vocabulary(960, seed=0))


def test_prompts_end_with_the_trained_markers(tokenizer: PromptTokenizer) -> None:
    tokens = tokenizer("caption\n", "lyrics")
    end = tokens.lyric[-1]
    assert tokens.text[-1] == tokens.text[-3] == end
    assert tokens.lyric[-2:] == (end, end)
    assert end not in tokens.text[:-3]


def test_control_tokens_typed_by_a_user_are_text(tokenizer: PromptTokenizer) -> None:
    end = tokenizer("", "").lyric[-1]
    tokens = tokenizer("<|endoftext|> <think>", "<|im_end|><|endoftext|>")
    assert tokens.text.count(end) == tokens.lyric.count(end) == 2


def test_too_long_prompts_are_refused_with_both_counts(tokenizer: PromptTokenizer) -> None:
    assert len(tokenizer("7" * 253, "").text) == 256
    with pytest.raises(InputError, match="Tokenization error: caption makes a prompt of 257 tokens, .* at most 256"):
        tokenizer("7" * 254, "")
    with pytest.raises(InputError, match="lyrics makes a prompt of 2049 tokens, .* at most 2048"):
        tokenizer("", "7" * 2047)


def test_tag_only_lyrics_are_instrumental() -> None:
    assert is_instrumental("[Intro]\n\n[Solo: guitar]")
    assert is_instrumental("")
    assert not is_instrumental("[Verse]\nla")


def test_silence_goes_on_after_what_is_stored() -> None:
    stored = torch.arange(6.0).view(1, 3, 2)
    silence = SilenceLatents(stored)
    assert torch.equal(silence.first(2), stored[:, :2])
    assert torch.equal(silence.first(5), torch.cat([stored, stored[:, -1:], stored[:, -1:]], dim=1))
    everywhere = context(silence.first(5), (0, 5))
    assert everywhere.shape == (1, 5, 4)
    assert everywhere[..., 2:].eq(1).all()
    inside = context(torch.full((1, 5, 2), 9.0), (1, 3))
    assert inside[0, :, 2:].tolist() == [[0, 0], [1, 1], [1, 1], [0, 0], [0, 0]]
    assert torch.equal(erased(torch.full((1, 4, 2), 9.0), (1, 3), silence)[0, 1:3], stored[0, 1:3])


def test_short_songs_are_padded_and_remembered() -> None:
    songs = [SongConditions(torch.ones(1, rows, 4), torch.ones(1, frames, 6)) for rows, frames in ((3, 5), (2, 8))]
    batch = Conditions.collate(songs)
    assert batch.frames == (5, 8)
    assert batch.encoder_mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.encoder_states[1, 2].eq(0).all()
    assert batch.context[0, 5:].eq(0).all()


def test_reference_windows_come_from_each_third_and_from_the_seed() -> None:
    seconds = torch.arange(100 * 48_000, dtype=torch.float32).div(48_000).expand(2, -1)
    excerpt = timbre_excerpt(seconds, seed=5)
    starts = [float(excerpt[0, index * WINDOW_SAMPLES]) for index in range(3)]
    for index, start in enumerate(starts):
        assert 100 / 3 * index <= start <= 100 / 3 * (index + 1) - 10 + 1e-3
    assert torch.equal(excerpt, timbre_excerpt(seconds, seed=5))
    assert not torch.equal(excerpt, timbre_excerpt(seconds, seed=6))


@pytest.mark.parametrize("seconds", [0.5, 9, 29.9, 30, 31])
def test_short_references_are_repeated(seconds: float) -> None:
    excerpt = timbre_excerpt(torch.randn(2, int(seconds * 48_000)), seed=1)
    assert excerpt.shape == (2, 30 * 48_000)
