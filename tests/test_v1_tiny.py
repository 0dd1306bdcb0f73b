"""The embedded v1 model: made again to the byte, small, and loud enough to be heard whatever it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from acestep.checkpoints.files import PACKAGED
from acestep.devices import Placement
from acestep.training.random_tiny_v1 import embedded_model, main, write_model
from acestep.training.vocabulary_v1 import LYRIC_TOKENS, lyric_vocabulary, tag_vocabulary
from acestep.v1.codec import HOP
from acestep.v1.family import V1Family, load_v1_family
from acestep.v1.lyrics.languages import SUPPORTED, token_of
from acestep.v1.lyrics.tags import KNOWN

from v1_load_support import AUTOENCODER, TINY, TRANSFORMER, UMT5, VOCODER, folders_of

FOLDER = (PACKAGED / TINY.folder).parent
BYTES_MAX = 4 << 20
MINUS_20_DB = 0.1
CPU = Placement(torch.device("cpu"), torch.float32, "test")
WORDS = ("funk, pop, 105 bpm, energetic", "[verse]\nneon lights they flicker bright")


@pytest.fixture(scope="module")
def family() -> V1Family:
    return load_v1_family(TINY, PACKAGED, CPU)


def latents(frames: int, seed: int = 3, songs: int = 1) -> Tensor:
    return torch.randn(songs, 8, 16, frames, generator=torch.Generator().manual_seed(seed))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The files.


def test_it_is_made_again_to_the_byte(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    made, committed = files_of(tmp_path / FOLDER.name), files_of(FOLDER)
    assert made.keys() == committed.keys()
    assert [name for name in made if made[name] != committed[name]] == []


def test_another_seed_makes_another_model_of_the_same_form(tmp_path: Path) -> None:
    write_model(tmp_path, seed=1)
    made, committed = files_of(tmp_path / FOLDER.name), files_of(FOLDER)
    weights = {name for name in committed if name.endswith(".safetensors")}
    assert {name for name in committed if made[name] != committed[name]} == weights | {"card.md"}
    for name in weights:
        here, there = load_file(FOLDER / name), load_file(tmp_path / FOLDER.name / name)
        assert {key: tensor.shape for key, tensor in here.items()} == {key: x.shape for key, x in there.items()}


def test_all_of_it_together_is_small() -> None:
    assert sum(map(len, files_of(FOLDER).values())) <= BYTES_MAX


def test_every_folder_of_the_row_is_there_and_nothing_else() -> None:
    assert embedded_model() == TINY
    assert {PACKAGED / folder for folder in folders_of(TINY)} == {path for path in FOLDER.iterdir() if path.is_dir()}


def test_weights_are_halves_that_all_take_part() -> None:
    """No tensor is zero from end to end, except the bias in front of tanh."""
    for path in FOLDER.rglob("*.safetensors"):
        for name, tensor in load_file(path).items():
            assert tensor.dtype is torch.float16
            assert tensor.isfinite().all()
            assert tensor.any() or name == "head.conv_post.bias", name


@pytest.mark.parametrize(
    ("folder", "published"),
    [
        (TINY.folder, TRANSFORMER),
        (TINY.vae, AUTOENCODER),
        (TINY.text_encoder, UMT5),
        (TINY.others[0], VOCODER),
    ],
    ids=["transformer", "autoencoder", "tags", "vocoder"],
)
def test_configurations_name_what_the_published_ones_name(folder: str, published: dict[str, object]) -> None:
    """The same networks in the same arrangement; only sizes differ, and a few that the published files leave out."""
    config = json.loads((PACKAGED / folder / "config.json").read_text())
    for key in ("_class_name", "model_type", "patch_size", "n_fft", "hop_length", "sampling_rate", "n_mels", "f_max"):
        assert config.get(key) == published.get(key)
    unsaid = {"_diffusers_version", "_name_or_path", "scaling_factor"}
    unsaid |= {key for key in published if key.startswith("ssl_")}
    if folder != TINY.text_encoder:  # transformers' configurations say much that is about other things
        assert published.keys() - unsaid <= config.keys()


def test_the_card_tells_what_is_there() -> None:
    card = (FOLDER / "card.md").read_text()
    assert "noise, not music" in card
    assert "--seed 0" in card
    for path in FOLDER.rglob("*.safetensors"):
        with safe_open(path, "pt") as reader:
            shapes = [torch.Size(reader.get_slice(name).get_shape()) for name in reader.keys()]  # noqa: SIM118
        values = sum(shape.numel() for shape in shapes)
        assert f"| {path.relative_to(FOLDER)} | {len(shapes)} | {values:,} | {path.stat().st_size >> 10:,} |" in card


# The vocabularies.


def test_the_lyric_vocabulary_has_every_token_that_is_asked_for_by_name() -> None:
    vocabulary = Tokenizer.from_file(str(PACKAGED / TINY.others[1] / "vocab.json"))
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *map(token_of, sorted(SUPPORTED)), *KNOWN]
    assert len(special) == 4 + 17 + 12
    assert [vocabulary.token_to_id(token) for token in special] == list(range(33))
    assert vocabulary.get_vocab_size() == LYRIC_TOKENS
    assert vocabulary.encode("[en][verse]").tokens == ["[en]", "[verse]"]


def test_lyrics_are_spelled_without_unknown_tokens(family: V1Family) -> None:
    tokenizer = family.lyric_tokenizer
    lyrics = "[verse]\ndon't stop, now!\nsol y mañana\nдобрый вечер\nschön über Straße\nमैं तुमसे\nأحبك"
    ids = tokenizer.ids(lyrics)
    assert tokenizer.unknown_id not in ids
    assert len(ids) < len(lyrics) + 20


def test_words_of_this_project_are_few_tokens() -> None:
    spelled = lyric_vocabulary().encode("golden night")
    assert len(spelled.tokens) < len("goldennight") / 2
    assert tag_vocabulary().encode("energetic", add_special_tokens=False).tokens == ["▁energetic"]


def test_the_tag_vocabulary_has_the_published_control_tokens(family: V1Family) -> None:
    vocabulary = tag_vocabulary()
    assert [vocabulary.token_to_id(token) for token in ("<pad>", "</s>", "<unk>")] == [0, 1, 2]
    ids = family.tag_tokenizer("Funk, 105 BPM, mañana 東京")
    assert ids[-1] == 1
    assert 2 not in ids


# The networks.


@pytest.mark.parametrize("frames", [1, 30, 120])
@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_it_can_be_heard_and_does_not_clip(family: V1Family, frames: int, spread: float) -> None:
    sound = family.codec.decode(spread * latents(frames))
    assert sound.shape == (1, 2, frames * HOP)
    assert sound.isfinite().all()
    assert sound.std() == pytest.approx(MINUS_20_DB, rel=0.25)
    assert sound.mean().abs() < 0.01
    assert sound.abs().max() < 0.8


def test_songs_and_channels_differ(family: V1Family) -> None:
    one, other = family.codec.decode(latents(30)), family.codec.decode(latents(30, seed=4))
    assert (one - other).std() > 0.2 * MINUS_20_DB
    assert (one[:, 0] - one[:, 1]).std() > 0.1 * MINUS_20_DB


@pytest.mark.parametrize("level", [0.0, 0.01, 0.5])
def test_recordings_become_latents_of_moderate_size(family: V1Family, level: float) -> None:
    waveform = level * torch.randn(1, 2, 20 * HOP - 5, generator=torch.Generator().manual_seed(6))
    encoded = family.codec.encode(waveform)
    assert encoded.shape == (1, 8, 16, 20)
    assert 0.3 < encoded.std() < 3
    assert family.codec.decode(encoded).std() == pytest.approx(MINUS_20_DB, rel=0.25)


def velocities(family: V1Family, tags: str, lyrics: str, *, weaken: bool = False) -> Tensor:
    ids = torch.tensor([family.tag_tokenizer(tags)])
    sung = torch.tensor([family.lyric_tokenizer.ids(lyrics)])
    mask, sung_mask = (torch.ones_like(row, dtype=torch.bool) for row in (ids, sung))
    states = family.text_encoder(ids, mask, weaken=weaken)
    context, _ = family.transformer.encode(states, mask, sung, sung_mask, weaken_lyrics=weaken)
    cache = family.transformer.cross_cache(context)
    return family.transformer(latents(40), torch.tensor([0.6]), cache, None, torch.tensor([weaken]))


def test_velocities_hear_tags_lyrics_and_weakening(family: V1Family) -> None:
    tags, lyrics = WORDS
    plain = velocities(family, tags, lyrics)
    assert plain.isfinite().all()
    assert 0.1 < plain.std() < 1
    others = [
        velocities(family, "slow, ballad, female vocals", lyrics),
        velocities(family, tags, "[chorus]\nhold my hand"),
        velocities(family, tags, lyrics, weaken=True),
    ]
    assert all((other - plain).std() > 0.02 for other in others)
