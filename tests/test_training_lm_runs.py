"""Training the planner: it goes on where it stopped, keeps what it began with, and is exported as inference loads."""

from __future__ import annotations

import csv
import importlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acestep.checkpoints.language_transformers import load_language_model
from acestep.constants import CODE_RATE, LATENT_CHANNELS, LATENT_RATE
from acestep.errors import WeightsError
from acestep.models.config import AceStepConfig
from acestep.planner.answers import planning_grammar
from acestep.planner.chain import FIELDS, read_chain
from acestep.planner.prompts import planning_prompt
from acestep.planner.token_mask import TokenMask
from acestep.training.export import export_planner
from acestep.training.latents import MIX, LatentSongs
from acestep.training.learn.command import budget_of, settings_of, trainer_parser
from acestep.training.learn.curve import CURVE
from acestep.training.learn.trainer import CHECKPOINT, Budget, Settings, Trainer
from acestep.training.lm_examples import learn_planner_vocabulary, song_text
from acestep.training.sizes import TRANSFORMER, VOCABULARY
from acestep.training.train_fsq import SemanticCodec
from acestep.training.train_lm import CODES, TOKENIZER, coded_songs, main, planner_tokenizer, train_lm

CODEBOOK = AceStepConfig.from_dict(TRANSFORMER).codebook_size
SETTINGS = Settings(learning_rate=2e-3, warmup_steps=10)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``latents`` and ``fsq`` as their makers write them, with noise for music."""
    root = tmp_path_factory.mktemp("planner")
    write_latents(root / "latents", 0, 3)
    write_codec(root / "fsq", 0)
    return root


@pytest.fixture(scope="module")
def once(root: Path) -> Path:
    """A run of fifty steps."""
    train(root, root / "once", 50)
    return root / "once"


def write_latents(folder: Path, start: int, songs: int) -> None:
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(start)
    records = [song_text(seed).record for seed in range(start, start + songs)]
    frames = [int(record.duration * LATENT_RATE) for record in records]
    tensors = {
        f"{record.seed}.{MIX}": torch.randn(count, LATENT_CHANNELS, generator=generator).half()
        for record, count in zip(records, frames, strict=True)
    }
    save_file(tensors, folder / f"songs-{start:07d}.safetensors")
    index = json.dumps([{**record.to_dict(), "stems": []} for record in records])
    (folder / f"songs-{start:07d}.json").write_text(index)


def write_codec(folder: Path, seed: int) -> SemanticCodec:
    torch.manual_seed(seed)
    codec = SemanticCodec(AceStepConfig.from_dict(TRANSFORMER))
    Trainer(codec, lambda network, step: (torch.zeros(()), {}), SETTINGS, folder).save()
    return codec


def train(root: Path, folder: Path, steps: int) -> None:
    train_lm(LatentSongs(root / "latents"), root / "fsq", folder, SETTINGS, Budget(steps=steps), 2, "cpu")


def state(folder: Path) -> dict[str, object]:
    return torch.load(folder / CHECKPOINT, weights_only=True)


def test_fifty_steps_are_equal_with_and_without_a_break(root: Path, once: Path) -> None:
    train(root, root / "broken", 21)  # in the middle of a round
    train(root, root / "broken", 50)
    straight, resumed = state(once), state(root / "broken")
    assert straight["step"] == resumed["step"] == 50
    for part in ("network", "averaged"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in straight[part].items())


def test_words_and_codes_are_both_learnt(once: Path) -> None:
    with (once / CURVE).open() as file:
        first, second = csv.DictReader(file)
    assert float(first["codes"]) < 1.1 * math.log(VOCABULARY + CODEBOOK)
    for name in ("text", "codes"):
        assert float(second[name]) < 0.95 * float(first[name])


def test_a_run_keeps_its_vocabulary(once: Path) -> None:
    kept, written = (once / TOKENIZER).read_text(), (once / TOKENIZER).stat().st_mtime_ns
    assert json.loads(kept) == json.loads(learn_planner_vocabulary(CODEBOOK).to_str())
    assert planner_tokenizer(once).to_str() == kept
    assert (once / TOKENIZER).stat().st_mtime_ns == written


def test_codes_are_those_of_inference(root: Path, tmp_path: Path) -> None:
    codec, songs = write_codec(tmp_path / "fsq", 1), LatentSongs(root / "latents")
    coded = coded_songs(songs, tmp_path / "fsq", tmp_path, "cpu")
    assert [(song.seed, song.late) for song in coded] == [(seed, late) for seed in range(3) for late in range(5)]
    for made in coded:
        song = songs.songs[made.seed]
        latents = song.latents(MIX)[None, made.late :]
        with torch.no_grad():
            codes = codec.eval().tokenizer(latents, torch.zeros(1, 5, LATENT_CHANNELS))[0]
        whole = latents.shape[1] // 5
        assert list(made.codes[:whole]) == codes[:whole].tolist()
        assert len(made.codes) >= CODE_RATE * int(song.record.duration)
        assert len(set(made.codes)) > 1


def test_only_new_songs_are_encoded(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "latents", tmp_path / "latents")
    before = coded_songs(LatentSongs(tmp_path / "latents"), root / "fsq", tmp_path, "cpu")
    written = (tmp_path / CODES).stat().st_mtime_ns
    assert coded_songs(LatentSongs(tmp_path / "latents"), root / "fsq", tmp_path, "cpu") == before
    assert (tmp_path / CODES).stat().st_mtime_ns == written
    (tmp_path / "latents" / "songs-0000000.safetensors").unlink()  # what is known is not read again
    write_latents(tmp_path / "latents", 3, 1)
    after_all = coded_songs(LatentSongs(tmp_path / "latents"), root / "fsq", tmp_path, "cpu")
    assert after_all[:15] == before
    assert [song.seed for song in after_all[::5]] == [0, 1, 2, 3]


def test_codes_of_another_codec_are_refused(root: Path, tmp_path: Path) -> None:
    write_codec(tmp_path / "other", 2)
    songs = LatentSongs(root / "latents")
    coded_songs(songs, root / "fsq", tmp_path, "cpu")
    with pytest.raises(WeightsError, match="another semantic codec"):
        coded_songs(songs, tmp_path / "other", tmp_path, "cpu")


# --- Weights folder -----------------------------------------------------------------------------------------------


def test_the_exported_planner_plans_a_song(once: Path, tmp_path: Path) -> None:
    """Greedily, token by token, under the grammar of a plan."""
    export_planner(once, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert "embed_tokens.weight" in tensors
    assert not any(name.startswith("model.") for name in tensors)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    network, vocabulary = load_language_model(tmp_path, torch.float32)
    assert vocabulary.codes == CODEBOOK
    assert network.config.vocab_size == vocabulary.size
    mask, state, answer = TokenMask(vocabulary.pieces, vocabulary.text), planning_grammar(caption_pieces=12).start, []
    prompt = planning_prompt(vocabulary, "calm piano", "[Instrumental]")
    while not state.is_finished:
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, -1]
        allowed = sorted(mask.allowed(state))
        answer.append(allowed[int(logits[allowed].argmax())])
        state = state.advance(vocabulary.pieces[answer[-1]])
    read = read_chain(vocabulary.spell(answer))
    assert read.problems == ()
    assert set(read.chain.decided()) == set(FIELDS) - {"genres"}


# --- Commands -----------------------------------------------------------------------------------------------------


def test_the_command_trains(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(root / "latents"), str(root / "fsq"), str(tmp_path / "lm")]
    main([*folders, "--steps", "25", "--batch", "2", "--rate", "1e-3"])
    assert "step 25 " in capsys.readouterr().out
    assert state(tmp_path / "lm")["step"] == 25


@pytest.mark.parametrize(("capability", "bf16"), [((7, 5), False), ((9, 0), True)])
def test_what_is_typed_is_what_is_trained(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], bf16: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1 << 33, 1 << 33))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    parser = trainer_parser("train_lm", "x", ("latents", "folder"), batch=7, rate=0.25)
    given = parser.parse_args(["a", "b"])
    assert (given.latents, given.folder, given.batch, given.device) == (Path("a"), Path("b"), 7, "cpu")
    assert settings_of(given, weight_decay=0.5) == Settings(learning_rate=0.25, weight_decay=0.5)
    assert budget_of(given) == Budget(None, None)
    typed = parser.parse_args(
        "a b --minutes 1.5 --steps 9 --batch 2 --accumulate 3 --seed 4 --rate 1e-3 --device cuda".split()
    )
    assert (typed.batch, typed.device) == (2, "cuda")
    assert settings_of(typed) == Settings(learning_rate=1e-3, accumulate=3, seed=4, bf16=bf16)
    assert budget_of(typed) == Budget(9, 1.5)


@pytest.mark.parametrize(
    ("module", "folders"),
    [
        ("train_vae", "corpus folder"),
        ("train_fsq", "latents vae folder"),
        ("train_dit", "latents vae fsq folder"),
        ("distill", "latents vae dit folder"),
        ("train_lm", "latents fsq folder"),
    ],
)
def test_every_trainer_has_the_same_options(module: str, folders: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"acestep.training.{module}").main(["--help"])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"python -m acestep.training.{module} " in shown
    assert f" {folders} " in shown
    assert all(f"--{option} {option.upper()}" in shown for option in ("minutes", "steps", "batch", "rate"))
    assert "--device {cpu,cuda}" in shown
