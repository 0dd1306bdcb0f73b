"""Signed songs, judged by the c2pa library's own reader: what they claim, what breaks them, what cannot sign them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import c2pa
import mutagen
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from acestep.audio.io import read_audio
from acestep.errors import InputError, OutputError, UnsupportedError
from acestep.output.content_credentials import SIGNABLE, Credentials, check_signable, read_credentials
from acestep.output.formats import FORMATS
from acestep.output.manifest import described, manifest_of
from acestep.output.recipe import ModelUsed, OutputMade, SourceUsed, build_recipe, to_json
from acestep.output.tags import SongTags, read_recipe, read_tags, write_tags
from acestep.output.writer import write_audio

from hardening_support import disk_with_room_for
from signing_support import Identity, certificate, identity, key_pem, pem

RATE = 48_000
UNTRUSTED = ["signingCredential.untrusted"]  # all that a reader may find about a chain of our own making
CHANGED = "invalid: the file was changed after it was signed"
TAGS = SongTags("Über „A“; B/C", "[Verse]\nÜber 你好", 128, "C# minor", "zh", synced=((0.5, "Über"), (0.75, "你好")))
SOURCE, REFERENCE = SourceUsed("ab" * 32, 12.5), SourceUsed("cd" * 32, 30.0)
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PER_CONTAINER = ["wav", "mp3", "m4a"]


# --- Songs----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def credentials(signer: Identity) -> Credentials:
    return signer.load()


def recipe(caption: str = "a song", task: str = "text2music", **sources: SourceUsed) -> dict[str, Any]:
    return build_recipe(
        version="0.1.0",
        task=task,
        parameters={"caption": caption, "src_audio": "/home/singer/secret.wav"},
        seeds=[7],
        models={"dit": ModelUsed("acestep-v15-turbo"), "lm": None},
        output=OutputMade("wav", RATE, RATE),
        created=datetime(2026, 11, 21, tzinfo=UTC),
        **sources,
    )


def song(length: int = RATE) -> np.ndarray:
    return np.random.default_rng(length).uniform(-0.3, 0.3, (2, length)).astype(np.float32)


def write(folder: Path, name: str, credentials: Credentials | None, made: Mapping[str, Any] | None = None) -> Path:
    path = folder / f"song{FORMATS[name].extension}"
    return write_audio(song(), RATE, path, name, TAGS, made or recipe(), credentials)


def verdict(path: Path) -> tuple[str, list[str]]:
    """What the library itself says about a file, with its default settings."""
    with c2pa.Reader(str(path)) as reader:
        store = json.loads(reader.json())
    return store["validation_state"], [status["code"] for status in store.get("validation_status", [])]


def claims(path: Path) -> dict[str, Any]:
    with c2pa.Reader(str(path)) as reader:
        manifest = reader.get_active_manifest()
    return {**manifest, "assertions": {one["label"]: one["data"] for one in manifest["assertions"]}}


def assert_only(folder: Path, *expected: str) -> None:
    assert sorted(os.listdir(folder)) == sorted(expected)


# --- Signed songs ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SIGNABLE)
def test_a_signed_song_is_valid_and_otherwise_the_same(tmp_path: Path, credentials: Credentials, name: str) -> None:
    plain = write(tmp_path, name, None).rename(tmp_path / "plain")
    signed = write(tmp_path, name, credentials)
    assert verdict(signed) == ("Valid", UNTRUSTED)
    assert read_tags(signed) == read_tags(plain)
    assert read_tags(signed).synced == TAGS.synced
    assert read_recipe(signed) == read_recipe(plain) == recipe()
    one, other = (read_audio(path, field="src_audio").samples for path in (plain, signed))
    assert np.array_equal(one, other)
    assert getattr(mutagen.File(signed).tags, "version", None) == getattr(mutagen.File(plain).tags, "version", None)
    assert signed.stat().st_mode == plain.stat().st_mode
    assert_only(tmp_path, "plain", signed.name)


def test_what_is_read_says_who_and_when(tmp_path: Path, credentials: Credentials) -> None:
    found = read_credentials(write(tmp_path, "mp3", credentials))
    assert found == {
        "state": "valid",
        "trusted": False,
        "signer": "A. Singer",
        "organisation": "Studio GmbH",
        "signed_at": None,
        "stated_at": "2026-11-21T00:00:00+00:00",
        "generator": "acestep-cog 0.1.0",
        "title": TAGS.title,
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("es256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("es384", lambda: ec.generate_private_key(ec.SECP384R1())),
        ("es512", lambda: ec.generate_private_key(ec.SECP521R1())),
        ("ps256", lambda: rsa.generate_private_key(65537, 2048)),
        ("ed25519", ed25519.Ed25519PrivateKey.generate),
    ],
)
def test_the_kind_of_key_decides_the_algorithm(tmp_path: Path, algorithm: str, make: Callable[[], Any]) -> None:
    loaded = identity(tmp_path / "signer", make()).load()
    assert loaded.identity.algorithm == algorithm
    for name in PER_CONTAINER:
        assert verdict(write(tmp_path, name, loaded)) == ("Valid", UNTRUSTED)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_opens_with_its_password(tmp_path: Path, form: PrivateFormat) -> None:
    made = identity(tmp_path / "signer")
    made.files[1].write_bytes(key_pem(made.key, form, BestAvailableEncryption(b"sesame")))
    assert verdict(write(tmp_path, "wav", made.load(password="sesame"))) == ("Valid", UNTRUSTED)
    rules = {None: "come with its password, as it is encrypted", "wrong": "that the password opens"}
    for password, rule in rules.items():
        with pytest.raises(InputError, match=rule) as caught:
            made.load(password=password)
        assert caught.value.field == "sign_key"


def test_one_file_may_hold_certificates_and_key(tmp_path: Path, signer: Identity) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(key_pem(signer.key) + signer.files[0].read_bytes())
    path = write(tmp_path, "wav", Credentials.load(both, both))
    assert verdict(path) == ("Valid", UNTRUSTED)
    assert b"PRIVATE" not in path.read_bytes()


def test_only_an_anchor_makes_it_trusted(tmp_path: Path, signer: Identity, credentials: Credentials) -> None:
    path, own, foreign = write(tmp_path, "wav", credentials), tmp_path / "own.pem", tmp_path / "foreign.pem"
    own.write_bytes(pem(signer.authority))
    foreign.write_bytes(pem(identity(tmp_path / "other").authority))
    states = [read_credentials(path, anchors=anchors) for anchors in (own, foreign, None)]
    assert [(found["state"], found["trusted"]) for found in states if found] == [
        ("valid", True),
        ("valid", False),
        ("valid", False),
    ]
    foreign.write_text("nobody")
    with pytest.raises(InputError, match="anchors must be a PEM file of certificates, not 'foreign.pem'"):
        read_credentials(path, anchors=foreign)


def test_a_recipe_of_200_kilobytes_moves_the_manifest_far_back(tmp_path: Path, credentials: Credentials) -> None:
    made = recipe("é" * 100_000)
    assert len(to_json(made).encode()) > 200_000
    for name in PER_CONTAINER:
        path = write(tmp_path, name, credentials, made)
        assert verdict(path) == ("Valid", UNTRUSTED)
        assert read_recipe(path) == made


def test_a_wav_of_a_minute_is_consistent(tmp_path: Path, credentials: Credentials) -> None:
    samples = np.tile(song(), (1, 60))
    path = write_audio(samples, RATE, tmp_path / "song.wav", "wav32", TAGS, recipe(), credentials)
    content = path.read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert np.array_equal(read_audio(path, field="src_audio").samples, samples)
    assert verdict(path) == ("Valid", UNTRUSTED)


# --- Claims ---------------------------------------------------------------------------------------------------------
def test_a_new_song_is_created_by_a_model(tmp_path: Path, credentials: Credentials) -> None:
    found = claims(write(tmp_path, "wav", credentials))
    (action,) = found["assertions"]["c2pa.actions.v2"]["actions"]
    assert action == {
        "action": "c2pa.created",
        "when": "2026-11-21T00:00:00+00:00",
        "softwareAgent": {"name": "acestep-v15-turbo"},
        "digitalSourceType": IPTC + "trainedAlgorithmicMedia",
    }
    assert found["assertions"]["com.acestep.generation"] == {
        "title": TAGS.title,
        "task": "text2music",
        "models": {"dit": "acestep-v15-turbo"},
    }
    assert (found["title"], found.get("ingredients")) == (TAGS.title, None)
    generator = found["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("acestep-cog", "0.1.0")


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_changed_recording_is_opened_then_edited(tmp_path: Path, credentials: Credentials, name: str) -> None:
    path = write(tmp_path, name, credentials, recipe(task="repaint", source=SOURCE, reference=REFERENCE))
    assert verdict(path) == ("Valid", UNTRUSTED)
    found = claims(path)
    opened, edited = found["assertions"]["c2pa.actions.v2"]["actions"]
    parent, timbre = found["ingredients"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == IPTC + "compositeWithTrainedAlgorithmicMedia"
    assert (parent["relationship"], parent["description"]) == ("parentOf", f"sha256:{SOURCE.sha256}")
    assert (timbre["relationship"], timbre["description"]) == ("inputTo", f"sha256:{REFERENCE.sha256}")
    for action, ingredient in ((opened, parent), (edited, timbre)):
        (link,) = action["parameters"]["ingredients"]
        assert link["url"].endswith(ingredient["label"])


def test_a_timbre_reference_alone_stays_a_creation(tmp_path: Path, credentials: Credentials) -> None:
    path = write(tmp_path, "wav", credentials, recipe(reference=REFERENCE))
    assert verdict(path) == ("Valid", UNTRUSTED)
    found = claims(path)
    assert found["assertions"]["c2pa.actions.v2"]["actions"][0]["action"] == "c2pa.created"
    assert [one["relationship"] for one in found["ingredients"]] == ["inputTo"]


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_no_folder_of_this_machine_gets_out(tmp_path: Path, credentials: Credentials, name: str) -> None:
    content = write(tmp_path, name, credentials, recipe(source=SOURCE)).read_bytes()
    for leak in (str(tmp_path), tmp_path.name, "/home/singer", "secret.wav", ".part", "cert.pem"):
        assert leak.encode() not in content
        assert leak.encode("utf-16-le") not in content


# --- Tampering ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_changed_sample_is_seen(tmp_path: Path, credentials: Credentials, name: str) -> None:
    path = write(tmp_path, name, credentials)
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    found = read_credentials(path)
    assert found is not None
    assert (found["state"], found["trusted"], found["signer"]) == (CHANGED, False, "A. Singer")


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_changed_recipe_is_seen(tmp_path: Path, credentials: Credentials, name: str) -> None:
    path = write(tmp_path, name, credentials)
    encoding = "utf-8" if name == "m4a" else "utf-16-le"  # ID3v2.3 knows no UTF-8
    before, after = ('"seeds":[7]'.encode(encoding), '"seeds":[8]'.encode(encoding))
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    assert read_recipe(path)["seeds"] == [8]
    assert read_credentials(path)["state"] == CHANGED


@pytest.mark.parametrize(("name", "state"), [("wav", CHANGED), ("mp3", None), ("m4a", CHANGED)])
def test_tags_written_after_signing_break_the_signature(
    tmp_path: Path, credentials: Credentials, name: str, state: str | None
) -> None:
    path = write(tmp_path, name, credentials)
    write_tags(path, FORMATS[name].tag_kind, replace(TAGS, title="Mine"), to_json(recipe()))
    found = read_credentials(path)
    assert (found and found["state"]) == state


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_forged_claim_is_seen(tmp_path: Path, credentials: Credentials, name: str) -> None:
    path = write(tmp_path, name, credentials)
    content = path.read_bytes()
    assert b"acestep-v15-turbo" in content
    path.write_bytes(content.replace(b"acestep-v15-turbo", b"acestep-v15-human"))
    assert read_credentials(path)["state"] == "invalid: the manifest was changed after it was signed"


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_any_damage_to_a_manifest_gets_an_answer(tmp_path: Path, credentials: Credentials, name: str) -> None:
    path, rng = write(tmp_path, name, credentials), np.random.default_rng(1)
    content = path.read_bytes()
    start = content.index(b"jumbc2pa") if b"jumbc2pa" in content else content.index(b"jumb")
    states = set()
    for _ in range(60):
        damaged = bytearray(content)
        for at in start + rng.integers(0, 2500, 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        found = read_credentials(path)
        states.add("none" if found is None else found["state"].partition(":")[0])
    assert "invalid" in states
    assert states <= {"none", "valid", "invalid"}  # some bytes are padding


def test_a_cut_file_is_no_longer_valid(tmp_path: Path, credentials: Credentials) -> None:
    for name in PER_CONTAINER:
        path = write(tmp_path, name, credentials)
        path.write_bytes(path.read_bytes()[:-50])
        assert read_credentials(path)["state"].startswith("invalid: ")


def test_an_expired_certificate_ends_a_signature_without_a_timestamp() -> None:
    code = {"code": "signingCredential.expired", "explanation": "certificate expired"}
    found = described({"validation_state": "Invalid", "validation_status": [{"code": UNTRUSTED[0]}, code]})
    assert found["state"].startswith("invalid: its certificate has expired")


def test_what_a_stranger_wrote_cannot_move_the_cursor() -> None:
    data = ([], {"actions": 3}, {"actions": [3]}, {"actions": [{"when": 3}]})
    odd = [{"label": 3}, *({"label": "c2pa.actions.v2", "data": value} for value in data)]
    manifest = {"title": "\x1b[31m" + "x" * 5000, "signature_info": {"common_name": "a\nb"}, "assertions": odd}
    found = described({"validation_state": "Trusted", "active_manifest": "m", "manifests": {"m": manifest}})
    assert found["title"] == " [31m" + "x" * 195
    assert (found["signer"], found["stated_at"], found["state"]) == ("a b", None, "valid")


# --- Files without a manifest ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FORMATS)
def test_an_unsigned_song_has_none(tmp_path: Path, name: str) -> None:
    assert read_credentials(write(tmp_path, name, None)) is None


def test_other_files_have_none_and_missing_ones_are_an_error(tmp_path: Path) -> None:
    for content in (b"", b"Dear diary", bytes(3 << 20)):
        (tmp_path / "file").write_bytes(content)
        assert read_credentials(tmp_path / "file") is None
    for name, reason in {"nothing": "No such file or directory", ".": "Is a directory"}.items():
        with pytest.raises(InputError, match=f"cannot be read: {reason}"):
            read_credentials(tmp_path / name)


@pytest.mark.parametrize("embedded", [False, True])
def test_a_manifest_elsewhere_is_not_fetched(tmp_path: Path, signer: Identity, embedded: bool) -> None:
    plain, path = write(tmp_path, "wav", None), tmp_path / "remote.wav"
    info = c2pa.C2paSignerInfo("es256", *(file.read_bytes() for file in signer.files), None)
    with listening(lambda query: b"") as (url, queries):
        with c2pa.Signer.from_info(info) as by, c2pa.Builder(manifest_of("Song", recipe())) as builder:
            if not embedded:
                builder.set_no_embed()
            builder.set_remote_url(url)
            with plain.open("rb") as source, path.open("w+b") as target:
                builder.sign(by, "audio/wav", source, target)
        assert url.encode() in path.read_bytes()
        found = read_credentials(path)
        assert (found and found["state"]) == ("valid" if embedded else None)
        assert queries == []


# --- Formats, package -----------------------------------------------------------------------------------------------
def test_formats_that_cannot_be_signed_are_refused_before_anything_is_made(
    tmp_path: Path, credentials: Credentials
) -> None:
    assert SIGNABLE == ("wav", "wav24", "wav32", "mp3", "m4a")
    for name in FORMATS:
        if name in SIGNABLE:
            check_signable(name)
            continue
        message = f"audio_format {name} cannot be signed; choose one of: wav, wav24, wav32, mp3, m4a."
        with pytest.raises(UnsupportedError) as caught:
            check_signable(name)
        assert (str(caught.value), caught.value.field) == (message, "audio_format")
        with pytest.raises(UnsupportedError):
            write(tmp_path, name, credentials)
    with pytest.raises(InputError, match="audio_format is 'aac'"):
        check_signable("aac")
    assert_only(tmp_path)


def test_without_the_package_one_sentence_says_how_to_get_it(
    tmp_path: Path, signer: Identity, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed, plain = write(tmp_path, "wav", credentials), write(tmp_path, "flac", None)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    for attempt in (signer.load, lambda: read_credentials(signed)):
        with pytest.raises(UnsupportedError, match=r"c2pa-python; install it with `pip install 'acestep-cog\[prov"):
            attempt()
    assert read_credentials(plain) is None


def test_nobody_who_does_not_sign_loads_the_library() -> None:
    program = "import sys, acestep.output.writer; print({'c2pa', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- What cannot sign -----------------------------------------------------------------------------------------------
def test_the_key_is_never_shown(signer: Identity, credentials: Credentials) -> None:
    assert repr(credentials).startswith("Credentials(identity=SigningKey(algorithm='es256', signer='A. Singer'")
    secrets = [line for line in key_pem(signer.key).decode().splitlines() if len(line) > 8]
    assert not any(line in repr(credentials) + str(credentials) for line in (*secrets, "BEGIN"))


def refused(certificate: Path, key: Path, **options: Any) -> InputError:
    """The error of loading; it must be one sentence without folders and key material."""
    with pytest.raises(InputError) as caught:
        Credentials.load(certificate, key, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert str(key.parent) not in text
    if key.name == "key.pem":
        assert not any(line in text for line in key.read_text().splitlines() if len(line) > 8)
    return caught.value


def test_a_key_of_somebody_else_is_refused(tmp_path: Path, signer: Identity) -> None:
    other = identity(tmp_path / "other")
    error = refused(signer.files[0], other.files[1])
    assert str(error) == "sign_key must belong to the first certificate in 'cert.pem', not 'key.pem'."
    upside_down = tmp_path / "cert.pem"
    upside_down.write_bytes(b"".join(reversed(split(signer.files[0].read_bytes()))))
    assert refused(upside_down, signer.files[1]).field == "sign_key"


def split(chain: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [part + end for part in chain.split(end) if part]


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
def test_a_certificate_that_is_not_valid_today_is_refused(tmp_path: Path, days: tuple[float, float]) -> None:
    made = identity(tmp_path / "signer", days=days)
    error = refused(*made.files)
    start, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
    dates = f"from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    assert str(error) == f"sign_cert must be valid today; 'cert.pem' is valid {dates}."


def test_a_certificate_for_something_else_is_refused(tmp_path: Path) -> None:
    error = refused(*identity(tmp_path / "signer", usage=ExtendedKeyUsageOID.SERVER_AUTH).files)
    assert error.field == "sign_cert"
    assert "be allowed to sign documents or e-mail" in str(error)


def test_a_self_made_authority_cannot_sign(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = identity(tmp_path / "signer", key)
    made.files[0].write_bytes(pem(certificate("Me", key, "Me", key, authority=True)))
    assert "the certificate was self-signed" in str(refused(*made.files))


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: dsa.generate_private_key(2048),
        lambda: ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_a_kind_of_key_that_c2pa_does_not_know_is_refused(tmp_path: Path, make: Callable[[], Any]) -> None:
    error = refused(*identity(tmp_path / "signer", make()).files)
    assert str(error).startswith("sign_key must be an EC key (P-256, P-384, P-521), Ed25519 or RSA of 2048 bits")


@pytest.mark.parametrize("content", [b"", b"Dear diary", b"\xff\xfe\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_garbage_is_refused(tmp_path: Path, signer: Identity, content: bytes) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(content)
    error = refused(garbage, signer.files[1])
    assert str(error) == "sign_cert must be a PEM file of certificates, not 'garbage.pem'."
    error = refused(signer.files[0], garbage)
    assert str(error) == "sign_key must be a PEM file of a private key, not 'garbage.pem'."


def test_certificate_and_key_are_not_interchangeable(signer: Identity) -> None:
    assert refused(*reversed(signer.files)).field == "sign_cert"
    assert refused(signer.files[0], signer.files[0]).field == "sign_key"


def test_files_that_cannot_be_read_are_refused(tmp_path: Path, signer: Identity) -> None:
    (tmp_path / "locked").symlink_to("/proc/self/mem")  # reading fails even for root
    (tmp_path / "folder").mkdir()
    reasons = {"nothing": "No such file", "folder": "Is a directory", "locked": "Input/output error"}
    for name, reason in reasons.items():
        error = refused(tmp_path / name, signer.files[1])
        assert str(error).startswith(f"sign_cert {name!r} cannot be read: {reason}")
        error = refused(signer.files[0], tmp_path / name)
        assert str(error).startswith(f"sign_key {name!r} cannot be read: {reason}")


def test_a_password_for_an_open_key_is_refused(signer: Identity) -> None:
    error = refused(*signer.files, password="sesame")
    assert str(error) == "sign_key must be encrypted to have a password, not 'key.pem'."


# --- Failing while signing ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_certificate_that_expires_between_two_songs_leaves_nothing(
    tmp_path: Path, credentials: Credentials, name: str
) -> None:
    past = identity(tmp_path / "past", credentials_key(credentials), days=(-10, -1)).files[0].read_bytes()
    late = replace(credentials, identity=replace(credentials.identity, certificates=past))
    (tmp_path / "songs").mkdir()
    old = tmp_path / "songs" / f"song{FORMATS[name].extension}"
    old.write_bytes(b"an older song")
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "songs", name, late)
    reason = "it cannot be signed: the certificate was not valid at time of signing"
    assert str(caught.value) == f"cannot write {old.name!r}: {reason}"
    assert old.read_bytes() == b"an older song"
    assert_only(tmp_path / "songs", old.name)


def credentials_key(credentials: Credentials) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(credentials.identity.private_key, None)


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_a_disk_that_fills_while_signing_leaves_nothing(tmp_path: Path, credentials: Credentials, name: str) -> None:
    plain, signed = (write(tmp_path, name, by).stat().st_size for by in (None, credentials))
    path = tmp_path / f"song{FORMATS[name].extension}"
    path.write_bytes(b"an older song")
    for room in (plain + 1, (plain + signed) // 2, signed - 1):
        with disk_with_room_for(room), pytest.raises(OutputError) as caught:
            write(tmp_path, name, credentials)
        assert str(caught.value) == f"cannot write {path.name!r}: File too large"
        assert path.read_bytes() == b"an older song"
        assert_only(tmp_path, path.name)


def test_a_folder_that_is_none_is_refused(tmp_path: Path, credentials: Credentials) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write into the folder 'file'"):
        write(tmp_path / "file", "wav", credentials)
    assert_only(tmp_path, "file")


@pytest.mark.parametrize("name", PER_CONTAINER)
def test_an_interrupt_in_the_middle_is_heard_and_leaves_nothing(
    tmp_path: Path, credentials: Credentials, name: str
) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def interrupt(query: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGALRM)
        return b""

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with listening(interrupt) as (url, queries):
            with pytest.raises(KeyboardInterrupt):
                write(tmp_path, name, replace(credentials, timestamp_url=url))
            assert len(queries) == 1
    finally:
        signal.signal(signal.SIGALRM, before)
    assert_only(tmp_path)
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())
    assert verdict(write(tmp_path, name, credentials)) == ("Valid", UNTRUSTED)


# --- Timestamps -----------------------------------------------------------------------------------------------------
@contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A loopback server that answers what is posted to it; and everything that was asked of it."""
    queries: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            reply = answer(queries[-1])
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_HEAD = do_POST  # noqa: N815 - names that the base class looks for

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/timestamps", queries
        finally:
            server.shutdown()
            thread.join()


def authority(folder: Path) -> Callable[[bytes], bytes]:
    """A timestamp authority (RFC 3161), by the ``openssl`` program."""
    key, root = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    own = certificate("Clock", key, "Clock CA", root, usage=ExtendedKeyUsageOID.TIME_STAMPING)
    (folder / "own.pem").write_bytes(pem(own))
    (folder / "root.pem").write_bytes(pem(certificate("Clock CA", root, "Clock CA", root, authority=True)))
    (folder / "key.pem").write_bytes(key_pem(key))
    (folder / "serial").write_text("01")
    settings = {
        "serial": folder / "serial",
        "signer_cert": folder / "own.pem",
        "certs": folder / "root.pem",
        "signer_key": folder / "key.pem",
        "signer_digest": "sha256",
        "default_policy": "1.2.3.4.1",
        "digests": "sha256, sha384, sha512",
        "ess_cert_id_alg": "sha256",
    }
    lines = ("[tsa]", *(f"{name} = {value}" for name, value in settings.items()))
    (folder / "clock.cnf").write_text("\n".join(lines) + "\n")

    def stamp(query: bytes) -> bytes:
        (folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", folder / "clock.cnf", "-section", "tsa"]
        return subprocess.run([*command, "-queryfile", folder / "query"], check=True, capture_output=True).stdout

    return stamp


def test_a_timestamp_authority_says_when(tmp_path: Path, signer: Identity) -> None:
    (tmp_path / "clock").mkdir()
    with listening(authority(tmp_path / "clock")) as (url, queries):
        loaded = signer.load(timestamp_url=url)
        assert len(queries) == 1, "the rehearsal"
        for number, name in enumerate(PER_CONTAINER, 2):
            path = write(tmp_path, name, loaded)
            assert len(queries) == number, "one for each song"
            assert verdict(path) == ("Valid", UNTRUSTED)
            found = read_credentials(path)
            assert abs(datetime.fromisoformat(found["signed_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
            assert url.encode() not in path.read_bytes()


def test_an_authority_that_gives_no_timestamp_is_refused_before_any_song(tmp_path: Path, signer: Identity) -> None:
    with listening(lambda query: b"what?") as (url, _):
        for address in (url, "http://user:secret@127.0.0.1:9/"):
            error = refused(*signer.files, timestamp_url=address)
            assert (str(error), error.field) == ("timestamp_url gives no timestamps.", "timestamp_url")
    for address in ("", "ftp://clock", "clock.example"):
        assert (
            str(refused(*signer.files, timestamp_url=address)) == "timestamp_url must begin with http:// or https://."
        )


def test_an_authority_that_goes_away_is_not_named(tmp_path: Path, credentials: Credentials) -> None:
    gone = replace(credentials, timestamp_url="http://user:secret@127.0.0.1:9/")
    for name in PER_CONTAINER:
        with pytest.raises(OutputError, match="it cannot be signed: .*the timestamp authority") as caught:
            write(tmp_path, name, gone)
        assert "secret" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
    assert_only(tmp_path)
