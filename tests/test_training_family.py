"""The trainers' road from seeds to weights folders: every stage a few steps long, on a soundfont the tests write."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from acestep.conditioning.prompt import lyric_prompt, text_prompt
from acestep.conditioning.text import PromptTokens
from acestep.constants import LATENT_CHANNELS, TIMBRE_FRAMES
from acestep.errors import DeviceError, InputError, WeightsError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.planner.plan import Metadata, Plan
from acestep.tasks import (
    COMPLETE_INSTRUCTION,
    COVER_INSTRUCTION,
    EXTRACT_INSTRUCTION,
    LEGO_INSTRUCTION,
    REPAINT_INSTRUCTION,
    TEXT2MUSIC_INSTRUCTION,
)
from acestep.training import examples as tasks
from acestep.training.begin import begin_runs
from acestep.training.corpus import Corpus, make_corpus
from acestep.training.distill import distill
from acestep.training.embedded import EmbeddedModel
from acestep.training.examples import Example, draw_example, region_mask
from acestep.training.export import export_family
from acestep.training.latents import MIX, REST, STEM, LatentSong, LatentSongs, make_latents
from acestep.training.learn.command import run_command, settings_of, trainer_parser
from acestep.training.learn.flow import (
    FlowBatch,
    begin_as_identity,
    draw_forgotten,
    flow_loss,
    frame_mask,
    masked_error,
    noisy,
    recompute_layers,
)
from acestep.training.learn.trainer import Budget, Settings, averaged_weights
from acestep.training.make_tiny import Effort, Place, Scale, main, make_tiny
from acestep.training.render.bank import SETTING
from acestep.training.songs import HELD_OUT_SEED, SongRecord, record_of, training_score
from acestep.training.train_dit import (
    BEATS_WEIGHT,
    FACTS_WEIGHT,
    LOOKS_WEIGHT,
    WORDS_WEIGHT,
    DitLoss,
    Lessons,
    make_lessons,
    train_dit,
)
from acestep.training.train_fsq import SemanticCodec, train_fsq
from acestep.training.train_lm import train_lm
from acestep.training.train_vae import train_vae, trained_vae
from acestep.training.truth import FRAME_FACTS, SONG_FACTS

from soundfont_support import write_soundfont

SETTINGS = Settings(learning_rate=1e-3)
SONGS = 3
FEW_CROPS = 32  # of sound to begin an autoencoder with
INSTRUCTIONS = {
    TEXT2MUSIC_INSTRUCTION,
    COVER_INSTRUCTION,
    REPAINT_INSTRUCTION,
    *(text.split("{")[0] for text in (LEGO_INSTRUCTION, EXTRACT_INSTRUCTION, COMPLETE_INSTRUCTION)),
}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``corpus``, ``latents`` and ``runs`` with every trainer's first steps."""
    root = tmp_path_factory.mktemp("family")
    runs, latents = root / "runs", root / "latents"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, str(write_soundfont(root / "tiny.sf2")))
        make_corpus(root / "corpus", SONGS, 1, chunk=2)
        train(root, "vae", runs / "vae", 2)
        make_latents(runs / "vae", latents, SONGS, 1, chunk=2)
    for name in ("fsq", "dit", "turbo", "lm"):
        train(root, name, runs / name, 2)
    return root


def train(root: Path, name: str, run: Path, steps: int) -> None:
    """Train one network of the family up to so many steps, in the folder ``run``."""
    budget, vae, fsq = Budget(steps=steps), root / "runs" / "vae", root / "runs" / "fsq"
    if name == "vae":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("acestep.training.train_vae.START_CROPS", FEW_CROPS)
            train_vae(Corpus(root / "corpus"), run, SETTINGS, budget, 1, "cpu")
        return
    songs = LatentSongs(root / "latents")
    match name:
        case "fsq":
            train_fsq(songs, vae, run, SETTINGS, budget, 2, "cpu")
        case "dit":
            train_dit(make_lessons(songs, vae, 2, 0), fsq, run, SETTINGS, budget, "cpu")
        case "turbo":
            distill(make_lessons(songs, vae, 2, 0), root / "runs" / "dit", run, SETTINGS, budget, "cpu", 3.0)
        case "lm":
            train_lm(songs, fsq, run, SETTINGS, budget, 2, "cpu")


@pytest.fixture(scope="module")
def songs(family: Path) -> list[LatentSong]:
    return LatentSongs(family / "latents").songs


@pytest.fixture(scope="module")
def lessons(family: Path) -> Lessons:
    return make_lessons(LatentSongs(family / "latents"), family / "runs" / "vae", 2, 0)


# --- Data ---------------------------------------------------------------------------------------------------------


def test_a_corpus_holds_every_song_and_is_not_made_twice(family: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = Corpus(family / "corpus")
    takes = [take for _, take in corpus.takes]
    assert sorted({take.seed for take in takes}) == [0, 1, 2, 3]  # whole chunks
    assert all(12 <= take.length / 48_000 <= 30 for take in takes)
    for chunk in corpus.chunks:
        assert sum(take.length for take in chunk.takes) == len(chunk.samples)
        assert np.abs(chunk.samples).max() > 3_000
    crop = corpus.crop(np.random.default_rng(0), 48_000)
    assert (crop.shape, crop.dtype) == ((2, 48_000), np.float32)
    assert np.array_equal(crop, corpus.crop(np.random.default_rng(0), 48_000))
    make_corpus(family / "corpus", SONGS, 1, chunk=2)
    assert capsys.readouterr().out == ""


def test_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"python -m acestep.training.corpus"):
        Corpus(tmp_path)
    with pytest.raises(WeightsError, match=r"python -m acestep.training.latents"):
        LatentSongs(tmp_path)


def test_records_survive_json_and_held_out_words_are_others() -> None:
    score = training_score(HELD_OUT_SEED)
    record, held_out = record_of(score), record_of(score, held_out=True)
    assert SongRecord.from_dict(record.to_dict()) == record
    assert record == record_of(training_score(HELD_OUT_SEED))
    assert not set(record.captions) & set(held_out.captions)


def test_latents_of_a_song(songs: list[LatentSong]) -> None:
    assert len(songs) == SONGS + 1
    for song in songs:
        mix = song.latents(MIX)
        assert mix.shape == (round(song.record.duration * 48_000) // 1920, LATENT_CHANNELS)
        for track in song.stems:
            assert track in song.record.tracks
            assert song.latents(STEM, track).shape == song.latents(REST, track).shape == mix.shape
    everything = torch.cat([song.latents(MIX) for song in songs])
    assert 0.3 < everything.std() < 3


# --- Examples -----------------------------------------------------------------------------------------------------


def test_every_task_is_drawn_and_asked_for_in_its_words(songs: list[LatentSong], lessons: Lessons) -> None:
    song = next(song for song in songs if song.stems)
    rng = np.random.default_rng(0)
    seen = {show(song, rng).instruction.split("drums")[0] for show, _, _ in tasks._TASKS for _ in range(3)}
    for start in INSTRUCTIONS:
        assert any(text.startswith(start) for text in seen), start
    drawn = [draw_example(song, rng, lessons.tokenizer) for _ in range(40)]
    assert any(example.reference is not None for example in drawn)
    assert any(example.source is None for example in drawn)
    assert any(example.region is not None for example in drawn)
    assert all(len(example.target) == len(song.latents(MIX)) for example in drawn)


def asked(target: torch.Tensor, tokens: PromptTokens, **differs: object) -> Example:
    """A song to make, with nothing to hear but what is given."""
    silent = dict.fromkeys(("source", "region", "reference", "facts", "bpm")) | {"semantic": False}
    return Example(**{"target": target, "tokens": tokens, "words": torch.zeros(SONG_FACTS), **silent, **differs})


def test_context_shows_what_a_task_may_see(songs: list[LatentSong], lessons: Lessons) -> None:
    song = next(song for song in songs if song.stems)
    mix, tokens = song.latents(MIX), lessons.tokenizer("a", "b")
    network = EmbeddedModel(lessons.tokenizer.size).eval()
    example = asked(mix, tokens, source=mix, region=(60, 120))
    with torch.no_grad():
        source, mask = network.batch([example], lessons.silence).context[0].chunk(2, dim=-1)
    assert torch.equal(mask[:, 0], region_mask(len(mix), (60, 120)))
    assert mask.sum() == 60 * LATENT_CHANNELS
    assert torch.equal(source[:60], mix[:60])
    assert torch.equal(source[120:], mix[120:])
    assert torch.equal(source[60:120], lessons.silence[0, 60:120])


def test_training_conditions_are_those_of_inference(songs: list[LatentSong], lessons: Lessons) -> None:
    """Prompts of different lengths in one batch; each song told exactly what rendering it alone would tell."""
    torch.manual_seed(0)
    network = EmbeddedModel(lessons.tokenizer.size).eval()
    plans = [
        Plan("calm piano", "[Instrumental]", Metadata(bpm=90, duration=12.0)),
        Plan("a long caption about drums and bass and strings", "[Verse 1]\nla la la", Metadata(duration=20.0)),
    ]
    tokens = [lessons.tokenizer(text_prompt(plan, TEXT2MUSIC_INSTRUCTION), lyric_prompt(plan)) for plan in plans]
    mixes = [song.latents(MIX) for song in songs[:2]]
    reference = mixes[1].repeat(9, 1)[:TIMBRE_FRAMES]
    examples = [
        asked(mix, ids, reference=timbre) for mix, ids, timbre in zip(mixes, tokens, (None, reference), strict=True)
    ]
    with torch.no_grad():
        batch = network.batch(examples, lessons.silence)
        for index, (ids, timbre) in enumerate(zip(tokens, (lessons.silence, reference[None]), strict=True)):
            alone = states_at_inference(network, ids.text, ids.lyric, timbre)
            length = alone.shape[1]
            real = batch.states[index : index + 1, :length]
            assert torch.allclose(real, alone, atol=1e-5)
            assert batch.state_mask is None or batch.state_mask[index].sum() == length


def states_at_inference(
    network: EmbeddedModel, text: tuple[int, ...], lyric: tuple[int, ...], timbre: torch.Tensor
) -> torch.Tensor:
    hidden = network.text(input_ids=torch.tensor([text])).last_hidden_state
    words = network.text.get_input_embeddings()(torch.tensor([lyric]))
    masks = [torch.ones(part.shape[:2], dtype=torch.bool) for part in (hidden, words)]
    order = torch.zeros(1, dtype=torch.long)
    return network.model.encode_conditions(hidden, masks[0], words, masks[1], timbre, order)[0]


# --- Losses -------------------------------------------------------------------------------------------------------


def test_noise_and_velocity_follow_the_convention() -> None:
    data, noise = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    level = torch.tensor([0.25, 1.0])
    x = noisy(data, level, noise)
    assert torch.allclose(x[1], noise[1])
    assert torch.allclose(x - level[:, None, None] * (noise - data), data, atol=1e-6)


def test_padding_does_not_count() -> None:
    batch = FlowBatch(torch.zeros(2, 6, 4), torch.zeros(2, 6, 8), torch.zeros(2, 3, 4), None, (6, 3))
    made = torch.ones(2, 6, 4)
    made[1, 3:] = 100.0
    assert masked_error(made, batch.target, frame_mask(batch)) == 1.0


def test_the_transformer_learns_one_song_by_heart(lessons: Lessons, songs: list[LatentSong]) -> None:
    torch.manual_seed(0)
    network = EmbeddedModel(lessons.tokenizer.size)
    begin_as_identity(network.model)
    mix = songs[0].latents(MIX)[:60]
    batch_of = asked(mix, lessons.tokenizer("x", "y"))
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step % 4)
        batch = network.batch([batch_of] * 2, lessons.silence)
        loss = flow_loss(network.model, batch, draw_forgotten(2, batch.target.device))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1 + mix.square().mean().item(), rel=0.1)  # of a velocity of zero
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])


def test_gradient_checkpointing_changes_no_gradient(lessons: Lessons) -> None:
    def gradients(recompute: bool) -> tuple[float, dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        network = EmbeddedModel(lessons.tokenizer.size)
        if recompute:
            recompute_layers(network.model)
        saved = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, figures = DitLoss(lessons)(network, 0)
        assert min(figures["beats"], figures["looks"]) > 0
        loss.backward()
        return saved, {name: one.grad for name, one in network.named_parameters() if one.grad is not None}

    (kept, plain), (kept_less, again) = gradients(False), gradients(True)
    assert kept_less < kept / 2
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_what_the_networks_know_reaches_text_encoder_and_detokenizer(
    lessons: Lessons, songs: list[LatentSong]
) -> None:
    """The song's facts teach the text encoder; the frames' facts the transformer; a cover its detokenizer."""
    torch.manual_seed(0)
    network = EmbeddedModel(lessons.tokenizer.size)
    mix, facts = songs[0].latents(MIX)[:60], torch.rand(60, FRAME_FACTS)
    examples = [
        asked(mix, lessons.tokenizer("x", "y"), source=mix, semantic=True, facts=facts, bpm=100),
        asked(mix, lessons.tokenizer("longer words", "y")),
    ]
    captions = network.captions(examples)
    assert [len(states) for states in captions] == [len(example.tokens.text) for example in examples]
    batch = network.batch(examples, lessons.silence, captions)
    with network.overheard() as heard:
        flow = flow_loss(network.model, batch, torch.tensor([False, True]))
    config = network.model.config
    first, middle = heard.tokens
    assert first.shape == middle.shape == (2, 60 // config.patch_size, config.hidden_size)
    network.words_error(captions, examples).backward(retain_graph=True)
    assert network.text.embed_tokens.weight.grad.abs().sum() > 0
    assert network.model.decoder.proj_in[1].weight.grad is None
    network.facts_error(middle, examples).backward(retain_graph=True)
    assert network.model.decoder.proj_in[1].weight.grad.abs().sum() > 0
    flow.backward()
    assert network.model.detokenizer.proj_out.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in network.model.tokenizer.parameters())
    assert len(heard.looks) == len(network.model.decoder.layers) // 2 - 1
    assert network.looks_error([], examples) == 0.0
    assert network.facts_error(middle[1:], examples[1:]) == 0.0, "a track alone is no whole song"


def test_tokens_learn_what_a_query_needs_to_look_a_beat_back(lessons: Lessons, songs: list[LatentSong]) -> None:
    """At 100 bpm and 25 frames per second a beat is 15 frames: the fastest pair turns by as many radians."""
    network = EmbeddedModel(lessons.tokenizer.size)
    config, pairs = network.model.config, network.model.config.head_dim // 2
    turns = 15 / config.patch_size * config.rope_theta ** -(np.arange(pairs) / pairs)
    with torch.no_grad():
        network.beat_ear.weight.zero_()
        network.beat_ear.bias.copy_(torch.from_numpy(np.concatenate([np.cos(turns), np.sin(turns)])))
    tokens = torch.randn(2, 60, config.hidden_size)
    told, silent = (asked(songs[0].latents(MIX)[:60], lessons.tokenizer("x", "y"), bpm=bpm) for bpm in (100, None))
    assert network.beats_error(tokens, [told, silent]) < 1e-9
    assert network.beats_error(tokens, [replace(told, bpm=101), silent]) > 1e-4
    assert network.beats_error(tokens, [silent, silent]) == 0.0


def test_all_lessons_count(lessons: Lessons, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is their weighted sum; the guided heads and the ears learn from it."""
    torch.manual_seed(0)
    network = EmbeddedModel(lessons.tokenizer.size)
    loss, figures = DitLoss(lessons)(network, 0)
    weights = {
        "flow": 1.0,
        "facts": FACTS_WEIGHT,
        "words": WORDS_WEIGHT,
        "beats": BEATS_WEIGHT,
        "looks": LOOKS_WEIGHT,
    }
    assert min(weights.values()) > 0
    assert loss.item() == pytest.approx(sum(weights[name] * figure for name, figure in figures.items()), rel=1e-5)
    loss.backward()
    assert network.beat_ear.weight.grad.abs().sum() > 0
    assert network.frame_ear.weight.grad.abs().sum() > 0
    # Who is told nothing is not asked for the tempo.
    monkeypatch.setattr("acestep.training.learn.flow.CONDITION_DROPOUT", 1.0)
    _, forgotten = DitLoss(lessons)(network, 0)
    assert forgotten["beats"] == forgotten["looks"] == 0.0


def test_louder_channels_count_more() -> None:
    batch = FlowBatch(torch.zeros(1, 2, 2), torch.zeros(1, 2, 4), torch.zeros(1, 1, 1), None, (1,))
    made = torch.tensor([[[1.0, 2.0], [9.0, 9.0]]])
    assert masked_error(made, batch.target, frame_mask(batch)) == 2.5
    assert masked_error(made, batch.target, frame_mask(batch) * torch.tensor([1.5, 0.5])) == (1.5 + 2.0) / 2


def test_latents_need_not_wait_for_the_decoder(family: Path, tmp_path: Path) -> None:
    """Training changes the decoder alone: the latents of the first step are those of the last."""
    run = shutil.copytree(family / "runs" / "vae", tmp_path / "vae")
    sound = 0.1 * torch.randn(1, 2, 96_000)
    before = trained_vae(run)
    train_vae(Corpus(family / "corpus"), run, SETTINGS, Budget(steps=3), 4, "cpu")
    after = trained_vae(run)
    with torch.no_grad():
        latents = before.encode(sound)
        assert torch.equal(after.encode(sound), latents)
        assert not torch.equal(after.decode(latents), before.decode(latents))


def test_codes_while_training_are_the_codes_of_inference(songs: list[LatentSong]) -> None:
    torch.manual_seed(0)
    from acestep.models.config import AceStepConfig
    from acestep.training.sizes import TRANSFORMER

    codec = SemanticCodec(AceStepConfig.from_dict(TRANSFORMER)).eval()
    latents = songs[0].latents(MIX)[None, :100]
    with torch.no_grad():
        codes = codec.tokenizer(latents, latents[:, :5])
        decoded = codec.detokenizer(codec.tokenizer.quantizer.decode(codes))
        assert torch.allclose(codec(latents), decoded, atol=1e-5)
    codec(latents).square().mean().backward()
    assert codec.tokenizer.quantizer.project_in.weight.grad.abs().sum() > 0


# --- Going on ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "fsq", "dit", "turbo", "lm"])
def test_every_trainer_resumes_to_the_same_weights(family: Path, tmp_path: Path, name: str) -> None:
    train(family, name, tmp_path / "once", 3)
    train(family, name, tmp_path / "again", 1)
    train(family, name, tmp_path / "again", 3)
    once, again = averaged_weights(tmp_path / "once"), averaged_weights(tmp_path / "again")
    assert once.keys() == again.keys()
    assert all(torch.equal(again[key], one) for key, one in once.items())


def test_work_of_one_network_is_not_mixed_with_that_of_another(family: Path, tmp_path: Path) -> None:
    corpus, lessons = (
        Corpus(family / "corpus"),
        make_lessons(LatentSongs(family / "latents"), family / "runs/vae", 2, 0),
    )
    train_vae(corpus, tmp_path / "vae", replace(SETTINGS, seed=1), Budget(steps=1), 1, "cpu")
    with pytest.raises(WeightsError, match="latents was made with another autoencoder; name a new folder"):
        make_latents(tmp_path / "vae", family / "latents", SONGS, 1, chunk=2)
    train_dit(lessons, family / "runs" / "fsq", tmp_path / "dit", replace(SETTINGS, seed=1), Budget(steps=1), "cpu")
    with pytest.raises(WeightsError, match="turbo was made with another teacher; name a new folder"):
        distill(lessons, tmp_path / "dit", family / "runs" / "turbo", SETTINGS, Budget(steps=2), "cpu", 3.0)
    runs = tmp_path / "runs"
    for name, there in (("vae", family / "runs"), ("turbo", family / "runs"), ("dit", tmp_path)):
        shutil.copytree(there / name, runs / name)
    with pytest.raises(WeightsError, match="was taught by another transformer than"):
        export_family(runs, tmp_path / "weights")
    (runs / "dit" / "network.sha256").write_text("0" * 64)
    with pytest.raises(WeightsError, match="dit was made with another network"):
        export_family(runs, tmp_path / "weights")
    with pytest.raises(WeightsError, match="dit was made with another network"):
        train_dit(lessons, family / "runs" / "fsq", runs / "dit", SETTINGS, Budget(steps=1), "cpu")
    (runs / "dit" / "network.sha256").unlink()
    with pytest.raises(WeightsError, match="dit does not say with which network it was made"):
        export_family(runs, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


# --- Weights folders ----------------------------------------------------------------------------------------------


def test_exported_weights_play(family: Path, tmp_path: Path) -> None:
    written = export_family(family / "runs", tmp_path / "weights")
    assert {str(folder.relative_to(tmp_path / "weights")) for folder in written} == {
        "tiny/vae",
        "tiny",
        "tiny-base",
        "tiny/text_encoder",
        "tiny/lm",
    }
    sizes = [path.stat().st_size for path in (tmp_path / "weights").rglob("*") if path.is_file()]
    assert max(sizes) <= 12 << 20
    assert sum(sizes) <= 24 << 20
    for model in ("tiny", "tiny-base"):
        handler = AceStepHandler()
        handler.initialize_service(tmp_path, model, "cpu")
        params = GenerationParams(caption="x", duration=10, seed=1, thinking=False, inference_steps=2)
        result = generate_music(handler, None, params, GenerationConfig(batch_size=1))
        assert result.success, result.error
        assert result.audios[0]["tensor"].shape == (2, 480_000)


def test_training_goes_on_from_exported_weights(family: Path, tmp_path: Path) -> None:
    export_family(family / "runs", tmp_path / "weights")
    runs = tmp_path / "runs"
    assert [folder.name for folder in begin_runs(tmp_path / "weights", runs)] == ["vae", "fsq", "dit", "turbo", "lm"]
    export_family(runs, tmp_path / "again")
    for path in (tmp_path / "weights").rglob("*.safetensors"):
        first, again = load_file(path), load_file(tmp_path / "again" / path.relative_to(tmp_path / "weights"))
        assert first.keys() == again.keys()
        # What is spelled out again is rounded again; silence is heard by an encoder that was rounded.
        tolerance = {"rtol": 0, "atol": 0.05} if "silence" in path.name else {"rtol": 2e-3, "atol": 1e-4}
        for name, tensor in first.items():
            torch.testing.assert_close(again[name], tensor, **tolerance, msg=f"{path} {name}")
    songs = LatentSongs(family / "latents")
    lessons = make_lessons(songs, runs / "vae", 2, 0)
    train_fsq(songs, runs / "vae", runs / "fsq", SETTINGS, Budget(steps=1), 2, "cpu")
    train_dit(lessons, runs / "fsq", runs / "dit", SETTINGS, Budget(steps=1), "cpu")
    distill(lessons, runs / "dit", runs / "turbo", SETTINGS, Budget(steps=1), "cpu", 3.0)
    train_lm(songs, runs / "fsq", runs / "lm", SETTINGS, Budget(steps=1), 2, "cpu")
    train_vae(Corpus(family / "corpus"), runs / "vae", SETTINGS, Budget(steps=1), 1, "cpu")
    with pytest.raises(InputError, match="vae has begun already"):
        begin_runs(tmp_path / "weights", runs)


def test_nothing_begins_with_weights_of_another_form(family: Path, tmp_path: Path) -> None:
    weights, runs = tmp_path / "weights", tmp_path / "runs"
    with pytest.raises(WeightsError, match="is missing"):
        begin_runs(weights, runs)
    export_family(family / "runs", weights)
    path = weights / "tiny-base" / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "decoder.proj_in.1.bias": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="is of another network"):
        begin_runs(weights, runs)
    save_file(tensors, path)
    sizes = path.with_name("config.json")
    written = sizes.read_text()
    sizes.write_text(json.dumps({**json.loads(written), "rope_theta": 1e6}))
    with pytest.raises(WeightsError, match="is of another network"):
        begin_runs(weights, runs)
    sizes.write_text(written)
    vocabulary = weights / "tiny" / "lm" / "tokenizer.json"
    vocabulary.write_bytes((weights / "tiny" / "text_encoder" / "tokenizer.json").read_bytes())
    with pytest.raises(WeightsError, match="is another vocabulary"):
        begin_runs(weights, runs)
    assert not runs.exists()


# --- The one command ----------------------------------------------------------------------------------------------


def test_one_command_makes_the_family_in_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = Effort(2, 2, 1e-3)
    scale = Scale(1, 1, Effort(2, 1, 1e-3), short, short, Effort(1, 2, 1e-3), short, chunk=1)
    out = tmp_path / "weights"

    def go_on(seconds: float) -> bool:
        place = Place(tmp_path / "cache", tmp_path / "runs", "cpu", 1, time.monotonic() + seconds)
        return make_tiny(place, scale, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, str(write_soundfont(tmp_path / "tiny.sf2")))
        patch.setattr("acestep.training.train_vae.START_CROPS", FEW_CROPS)
        assert not go_on(0.0)
        assert "time is up in the stage songs" in capsys.readouterr().out
        assert not out.exists()
        assert go_on(300.0)
        made = capsys.readouterr().out
        assert go_on(300.0)
    assert [line.removeprefix("stage: ") for line in made.splitlines() if line.startswith("stage: ")] == [
        "songs",
        "autoencoder",
        "latents",
        "semantic codec",
        "transformer",
        "few steps",
        "planner",
    ]
    assert {path.name for path in out.iterdir()} == {"tiny", "tiny-base"}


def test_data_made_beforehand_needs_no_bank_and_a_missing_one_is_one_line(
    family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SETTING, str(tmp_path / "none.sf2"))
    assert make_corpus(family / "corpus", SONGS, 1, chunk=2)
    assert make_latents(family / "runs" / "vae", family / "latents", SONGS, 1, chunk=2)
    typed = ["--minutes", "1", "--cache", str(tmp_path / "cache"), "--runs", str(tmp_path / "runs")]
    with pytest.raises(SystemExit) as ended:
        run_command("make_tiny", lambda: main(typed))
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(f"acestep.training.make_tiny: The soundfont {tmp_path / 'none.sf2'}")


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["--minutes", "nan"], "nan has to be above 0"),
        (["--minutes", "1", "--workers", "0"], "0 has to be above 0"),
        (["--minutes", "1", "--workers", "two"], "'two' is no number"),
        (["--minutes", "1", "--scale", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_bad_arguments_are_told_before_anything_runs(
    typed: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command("make_tiny", lambda: main(typed))
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_device_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    parser = trainer_parser("x", "", ("folder",), batch=1, rate=1e-3)
    with pytest.raises(DeviceError, match="no CUDA device is available"):
        settings_of(parser.parse_args(["runs", "--device", "cuda"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["runs", "--device", "gpu"])
    assert "invalid choice: 'gpu'" in capsys.readouterr().err
