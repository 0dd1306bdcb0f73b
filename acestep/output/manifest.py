"""What a C2PA manifest says, as JSON: claimed from a song's recipe, and told from what a reader found in a file.

In: a title and a recipe; or the reader's answer. Out: plain dicts. Refuses to know keys, files and the library.

``c2pa.created``, ``c2pa.opened`` and ``c2pa.edited``: C2PA Technical Specification 2.4, section "Actions";
``digitalSourceType``: IPTC NewsCodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

VALID = "valid"  # state of a manifest that holds; another one begins with "invalid: "
GENERATION = "com.acestep.generation"  # label of our own assertion
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
INGREDIENTS: Mapping[str, tuple[str, str]] = MappingProxyType(  # role in the recipe -> title, relationship
    {"source": ("source recording", "parentOf"), "reference": ("timbre reference", "inputTo")}
)

_SHOWN_CHARS = 200
_UNTRUSTED = "signingCredential.untrusted"
_CHANGED = "the file was changed after it was signed"
_FORGED = "the manifest was changed after it was signed"
_FINDINGS: Mapping[str, str] = MappingProxyType(  # the library's code -> what is wrong
    {
        "assertion.dataHash.mismatch": _CHANGED,
        "assertion.bmffHash.mismatch": _CHANGED,
        "assertion.hashedURI.mismatch": _FORGED,
        "claimSignature.mismatch": _FORGED,
        "signingCredential.expired": "its certificate has expired, and no timestamp tells that it was signed before",
    }
)


def manifest_of(title: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest of a song claims: who made it, how, of what.

    A recording that was worked on is the parent of the song, a timbre reference went into it. Both are named by
    SHA-256 only.
    """
    models = {role: model["name"] for role, model in recipe["models"].items() if model}
    generation = {"title": title, "task": recipe["task"], "models": models}
    return {
        "claim_generator_info": [dict(recipe["generator"])],
        "title": title,
        "ingredients": [_ingredient(role, recipe["sources"][role]["sha256"]) for role in _used(recipe)],
        "assertions": [
            {"label": "c2pa.actions.v2", "created": True, "data": {"actions": _actions(recipe, models.get("dit"))}},
            {"label": GENERATION, "created": True, "data": generation},
        ],
    }


def bound(claims: Mapping[str, Any], start: int, size: int, digest: bytes) -> dict[str, Any]:
    """Claims of a manifest that will lie at a known place of a file.

    Args:
        claims: from ``manifest_of``.
        start: offset of the manifest.
        size: of the manifest in bytes.
        digest: SHA-256 of everything else in the file.
    """
    place = {"exclusions": [{"start": start, "length": size}], "name": "jumbf manifest"}
    content = {**place, "alg": "sha256", "hash": list(digest), "pad": []}
    binding = {"label": "c2pa.hash.data", "created": True, "data": content}
    return {**claims, "assertions": [*claims["assertions"], binding]}


def _used(recipe: Mapping[str, Any]) -> list[str]:
    return [role for role in INGREDIENTS if recipe["sources"].get(role)]


def _ingredient(role: str, sha256: str) -> dict[str, str]:
    title, relationship = INGREDIENTS[role]
    return {"label": role, "title": title, "relationship": relationship, "description": f"sha256:{sha256}"}


def _actions(recipe: Mapping[str, Any], model: str | None) -> list[dict[str, Any]]:
    """The history: ``c2pa.created``, or ``c2pa.opened`` (a manifest begins with one of them) and ``c2pa.edited``."""
    edits, refers = "source" in _used(recipe), "reference" in _used(recipe)
    kind = "compositeWithTrainedAlgorithmicMedia" if edits else "trainedAlgorithmicMedia"
    made = {
        "action": "c2pa.edited" if edits else "c2pa.created",
        "when": recipe["created"],
        "digitalSourceType": SOURCE_TYPES + kind,
        **({"softwareAgent": {"name": model}} if model else {}),
        **({"parameters": {"ingredientIds": ["reference"]}} if refers else {}),
    }
    return [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}, made] if edits else [made]


def described(store: Mapping[str, Any]) -> dict[str, Any]:
    """A reader's answer about a file in short: the fields that ``content_credentials.read_credentials`` returns."""
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature, generators = manifest.get("signature_info", {}), manifest.get("claim_generator_info") or [{}]
    verdict, state = store.get("validation_state"), VALID
    if verdict not in {"Valid", "Trusted"}:
        state = f"invalid: {_finding(store.get('validation_status', []))}"
    return {
        "state": state,
        "trusted": verdict == "Trusted",
        "signer": _shown(signature.get("common_name")),
        "organisation": _shown(signature.get("issuer")),
        "signed_at": _shown(signature.get("time")),
        "stated_at": _shown(next(_moments(manifest.get("assertions", [])), None)),
        "generator": _shown(" ".join(filter(None, map(generators[0].get, ("name", "version"))))),
        "title": _shown(manifest.get("title")),
    }


def _finding(statuses: Sequence[Mapping[str, str]]) -> str:
    """What is wrong; that nobody vouches for the signer is not."""
    wrong = [status for status in statuses if status.get("code") != _UNTRUSTED]
    known = [_FINDINGS[status["code"]] for status in wrong if status.get("code") in _FINDINGS]
    told = [_shown(status.get("explanation") or status.get("code")) for status in wrong]
    return next((text for text in (*known, *told) if text), "its manifest does not hold")


def _moments(assertions: Sequence[Any]) -> Iterator[str]:
    """When the actions took place, by the signer's word. Whatever a stranger wrote there is passed over."""
    for assertion in assertions:
        match assertion:
            case {"label": str(label), "data": {"actions": [*actions]}} if label.startswith("c2pa.actions"):
                yield from (
                    action["when"]
                    for action in actions
                    if isinstance(action, dict) and isinstance(action.get("when"), str)
                )


def _shown(text: str | None) -> str | None:
    """A stranger's text, fit for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_SHOWN_CHARS] if text else None
