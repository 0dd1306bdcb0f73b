"""Where a model family is found, what is said of folders that cannot be used, and how a broken one is refused."""

from __future__ import annotations

import json
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from acestep.checkpoints.family import find_weights, load_family, naming_the_remedy
from acestep.checkpoints.files import PACKAGED, staging_of
from acestep.checkpoints.integrity import Marker, State, StoredFile, inspect, write_marker
from acestep.checkpoints.registry import DEFAULT_LANGUAGE_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec
from acestep.devices import Placement
from acestep.errors import WeightsError
from acestep.machine import this_machine
from acestep.output.tags import read_recipe
from acestep.params import GenerationConfig, GenerationParams
from acestep.pieces import Piece
from acestep.planner.plan import Metadata, Plan
from acestep.planning import PlannedBatch
from acestep.playing import Song
from acestep.request import Request
from acestep.save import Provenance, save_song
from acestep.takes import Take

from published_shapes import TWO_B, Transformer
from published_support import publish_transformer, write_sparse

SPEC = MODELS["acestep-v15-turbo"]
BASE = MODELS["acestep-v15-base"]
CPU = Placement(torch.device("cpu"), torch.float32, "test")
COMMAND = "`acestep-download --model acestep-v15-turbo"


def fill(root: Path, spec: ModelSpec = SPEC) -> Path:
    """The embedded networks in the folders of a published model, as a person would copy them."""
    for source, target in (
        (EMBEDDED_MODEL.folder, spec.folder),
        (EMBEDDED_MODEL.vae, spec.vae),
        (EMBEDDED_MODEL.text_encoder, spec.text_encoder),
    ):
        shutil.copytree(PACKAGED / source, root / target, ignore=shutil.ignore_patterns("lm", "vae", "text_encoder"))
    return root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose ``weights`` folder has what the default model needs."""
    fill(tmp_path / "weights")
    return tmp_path


def missing(project: Path, spec: ModelSpec = SPEC) -> str:
    with pytest.raises(WeightsError) as caught:
        find_weights(spec, project)
    return str(caught.value)


def refusal(root: Path, spec: ModelSpec = SPEC, placement: Placement = CPU) -> str:
    with pytest.raises(WeightsError) as caught:
        load_family(spec, root, placement)
    return str(caught.value)


def mark(root: Path, spec: ModelSpec, commit: str) -> None:
    folder = root / spec.folder
    files = tuple(StoredFile(path.name, path.stat().st_size, "") for path in folder.iterdir() if path.is_file())
    write_marker(folder, Marker(spec.repository, commit, files))


def test_the_first_folder_that_has_everything_is_taken(project: Path) -> None:
    fill(project / "checkpoints")
    assert find_weights(SPEC, project) == project / "weights"
    (project / "weights" / SPEC.vae / "config.json").unlink()
    assert find_weights(SPEC, project) == project / "checkpoints"


def test_the_environment_alone_decides(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(project / "nowhere"))
    text = missing(project)
    assert f"in one of {project}/nowhere. Fetch it with {COMMAND}`" in text
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(project / "weights"))
    assert find_weights(SPEC, Path("/")) == project / "weights"


def test_an_unknown_folder_is_named_with_what_is_needed_and_the_command(tmp_path: Path) -> None:
    assert missing(tmp_path) == (
        "Model not loaded: acestep-v15-turbo needs the folders acestep-v15-turbo, vae, Qwen3-Embedding-0.6B "
        f"in one of {tmp_path}/weights, {tmp_path}/checkpoints, {PACKAGED}. Fetch it with {COMMAND}`, "
        "or point ACESTEP_WEIGHTS at a folder that has it."
    )


@pytest.mark.parametrize("parent", ["file", "x" * 5000], ids=["a file", "too long"])
def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(tmp_path / parent / "weights"))
    text = missing(tmp_path)
    assert ("cannot be read (File name too long)" in text) == (parent != "file")
    assert COMMAND in text


def test_every_folder_that_is_incomplete_says_what_it_lacks(project: Path) -> None:
    weights = project / "weights"
    (weights / SPEC.vae / "config.json").unlink()
    (weights / SPEC.folder / "silence_latent.safetensors").unlink()
    shutil.rmtree(weights / SPEC.text_encoder)
    text = missing(project)
    for words in (
        f"{weights}/{SPEC.folder} lacks silence_latent.pt",
        f"{weights}/vae lacks config.json",
        f"{weights}/{SPEC.text_encoder} is not there",
    ):
        assert f"; {words}" in text
    assert COMMAND in text


def test_a_shard_that_is_missing_is_named(project: Path) -> None:
    folder = project / "weights" / SPEC.folder
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert f"{folder} lacks model-00002-of-00002.safetensors" in missing(project)


def test_half_a_download_of_an_earlier_crash_is_not_loaded(project: Path) -> None:
    staging_of(SPEC, project / "weights").mkdir(parents=True)
    assert f"{SPEC.folder} is from a download that has not ended" in missing(project)


def test_a_folder_that_changed_after_its_download_is_not_loaded(project: Path) -> None:
    weights = project / "weights"
    mark(weights, SPEC, SPEC.revision)
    assert find_weights(SPEC, project) == weights
    (weights / SPEC.folder / "config.json").write_text("{}")
    assert "has files of another size than was downloaded: config.json" in missing(project)
    mark(weights, SPEC, "e" * 40)
    assert f"is commit eeeeeeee instead of {SPEC.revision[:8]}" in missing(project)
    mark(weights, replace(SPEC, repository="someone/else"), SPEC.revision)
    assert f"is from someone/else instead of {SPEC.repository}" in missing(project)


def test_embedded_models_are_found_where_they_ship_and_nothing_is_to_be_downloaded(tmp_path: Path) -> None:
    assert find_weights(EMBEDDED_MODEL, tmp_path) == PACKAGED
    broken = tmp_path / "weights"
    shutil.copytree(PACKAGED / EMBEDDED_MODEL.folder, broken / EMBEDDED_MODEL.folder)
    assert find_weights(EMBEDDED_MODEL, tmp_path) == broken
    (broken / EMBEDDED_MODEL.folder / "model.safetensors").write_text("<html>")
    text = refusal(broken, EMBEDDED_MODEL)
    assert "model.safetensors is a web page" in text
    assert text.endswith("It ships with this project: restore the folder from there.")
    (broken / EMBEDDED_MODEL.folder / "model.safetensors").unlink()
    assert inspect(EMBEDDED_MODEL, broken).state is State.INCOMPLETE
    assert find_weights(EMBEDDED_MODEL, tmp_path) == PACKAGED


def test_language_models_are_found_too(tmp_path: Path) -> None:
    row = DEFAULT_LANGUAGE_MODEL
    assert "`acestep-download --model acestep-5Hz-lm-1.7B`" in missing(tmp_path, row)
    shutil.copytree(PACKAGED / "tiny" / "lm", tmp_path / "weights" / row.folder)
    assert find_weights(row, tmp_path) == tmp_path / "weights"
    with (
        pytest.raises(WeightsError, match=r"^broken\. Fetch it with .* acestep-5Hz-lm-1.7B "),
        naming_the_remedy(row),
    ):
        raise WeightsError("broken.")


def test_loading_writes_nothing(project: Path) -> None:
    """A read-only folder is as good as any."""
    weights = project / "weights"
    paths = [weights, *weights.rglob("*")]
    for path in paths:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    before = {path: path.stat().st_mtime_ns for path in paths}
    family = load_family(SPEC, find_weights(SPEC, project), CPU)
    assert family.model.config.is_turbo
    assert {path: path.stat().st_mtime_ns for path in [weights, *weights.rglob("*")]} == before
    for path in paths:
        path.chmod(stat.S_IRWXU)


def test_the_problems_of_all_parts_are_one_error_that_ends_with_the_command(project: Path) -> None:
    weights = project / "weights"
    (weights / SPEC.folder / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(60))
    (weights / SPEC.folder / "silence_latent.safetensors").write_text("<html>")
    (weights / SPEC.vae / "config.json").write_text("[]")
    (weights / SPEC.text_encoder / "tokenizer.json").unlink()
    save_file({"norm.weight": torch.zeros(3)}, weights / SPEC.text_encoder / "model.safetensors")
    text = refusal(weights)
    for words in (
        "acestep-v15-turbo/model.safetensors cannot be used: model.safetensors is a pickle, which is never loaded.",
        "silence_latent.safetensors is a web page.",
        "vae/config.json is not a JSON object.",
        "tensors missing: embed_tokens.weight, layers.0.",
        "1 tensor of the wrong shape: norm.weight is [3], not [128].",
        "Qwen3-Embedding-0.6B/tokenizer.json (No such file or directory).",
    ):
        assert words in text
    assert text.endswith(f"{COMMAND} --force`, or point ACESTEP_WEIGHTS at a folder that has it.")


@pytest.mark.parametrize(
    ("folder", "change", "words"),
    [
        (SPEC.folder, {"model_type": "qwen3"}, "is of another architecture: model_type is 'qwen3', not 'acestep'"),
        (SPEC.folder, {"num_experts": 8}, "config.json: The model configuration has keys this version does not know"),
        (SPEC.folder, {"hidden_size": "wide"}, "config.json: The model configuration has hidden_size='wide'"),
        (
            SPEC.folder,
            {"num_hidden_layers": 7, "layer_types": ["full_attention"] * 7},
            "19 tensors missing: decoder.",
        ),
        (SPEC.vae, {"_class_name": "AutoencoderDC"}, "_class_name is 'AutoencoderDC', not 'AutoencoderOobleck'"),
        (SPEC.vae, {"latents": 1}, "config.json: The autoencoder configuration has keys this version does not know"),
        (SPEC.text_encoder, {"model_type": "bert"}, "model_type is 'bert', not 'qwen3'"),
    ],
)
def test_configurations_of_another_architecture(
    project: Path, folder: str, change: dict[str, object], words: str
) -> None:
    path = project / "weights" / folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    text = refusal(project / "weights")
    assert str(path.parent) in text
    assert words in text


def test_a_vocabulary_larger_than_the_network_is_refused(project: Path) -> None:
    path = project / "weights" / SPEC.text_encoder / "tokenizer.json"
    shutil.copy(PACKAGED / "tiny" / "lm" / "tokenizer.json", path)
    assert "the tokenizer has 5056 tokens, the text encoder only 960 embeddings" in refusal(project / "weights")


@pytest.mark.parametrize(
    ("spec", "turbo", "words"),
    [
        (SPEC, True, None),
        (SPEC, False, "says is_turbo=false, but acestep-v15-turbo is run without guidance."),
        (SPEC, None, None),
        (BASE, False, None),
        (BASE, True, "says is_turbo=true, but acestep-v15-base is run with guidance."),
        (BASE, None, None),
    ],
)
def test_a_checkpoint_trained_otherwise_than_its_row_is_a_warning(
    tmp_path: Path, spec: ModelSpec, turbo: bool | None, words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = fill(tmp_path, spec) / spec.folder / "config.json"
    config = {key: value for key, value in json.loads(path.read_text()).items() if key != "is_turbo"}
    path.write_text(json.dumps(config if turbo is None else config | {"is_turbo": turbo}))
    load_family(spec, tmp_path, CPU)
    assert [record.getMessage() for record in caplog.records] == ([f"{path} {words}"] if words else [])


def test_a_published_checkpoint_that_was_cut_is_refused_in_one_go(tmp_path: Path) -> None:
    """At full size: the file ends early, and the error says so without a list of 677 names."""
    path = publish_transformer(fill(tmp_path) / SPEC.folder, TWO_B) / "model.safetensors"
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole - 1_000_000_000)
    text = refusal(tmp_path)
    assert f"model.safetensors is cut short: it has {whole - 1_000_000_000} of {whole} bytes." in text
    assert "missing" not in text


def test_a_checkpoint_of_the_other_size_is_refused(tmp_path: Path) -> None:
    size = Transformer(2048, 6144, 1, 16)
    folder = publish_transformer(fill(tmp_path) / SPEC.folder, size)
    write_sparse(folder / "model.safetensors", {"decoder.norm_out.weight": (2560,)}, "F8_E4M3")
    text = refusal(tmp_path)
    assert re.search(r"\d+ tensors missing: decoder\.condition_embedder\.bias, ", text)
    assert "decoder.norm_out.weight is [2560], not [2048]" in text
    assert "decoder.norm_out.weight is F8_E4M3" in text


@pytest.mark.parametrize("commit", ["a" * 40, None])
def test_the_commit_that_was_downloaded_is_in_the_recipe(tmp_path: Path, commit: str | None) -> None:
    fill(tmp_path, BASE)
    if commit is not None:
        mark(tmp_path, BASE, commit)
    family = load_family(BASE, tmp_path, CPU)
    assert family.commit == commit
    config = GenerationConfig(batch_size=1, audio_format="wav")
    request = Request.from_params(GenerationParams(caption="x", duration=10, thinking=False, seed=1), config, BASE)
    piece = Piece(Plan("x", "[Instrumental]", Metadata()), "", 1)
    song = Song(piece, torch.zeros(250, 64), torch.zeros(2, 480_000))
    take = Take(song, piece.plan, song.waveform.numpy())
    machine = this_machine(CPU)
    provenance = Provenance(BASE, "asked for by name", {}, None, None, family.commit, PlannedBatch(()), machine)
    path = save_song(take.samples, tmp_path / "song.wav", take, request, {}, provenance)
    used = {"name": BASE.name, "revision": commit, "sha256": None, "reason": "asked for by name"}
    assert read_recipe(path)["models"]["dit"] == used


def test_an_embedded_model_has_no_commit() -> None:
    assert load_family(EMBEDDED_MODEL, PACKAGED, CPU).commit is None
