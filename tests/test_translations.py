"""Brazilian Portuguese is complete: every string in the code is in a catalogue, and each .mo is its .po."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation import ngettext, override
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
# As makemessages sorts them: an app's own files into its catalogue, everything else into config's.
APPS = ("datasets_app", "runs_app", "workers_app")
SHARED = "config"
KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# Words of others for what is called ponto de salvamento, conjunto de dados, treinamento, revocação and worker here.
NOT_OURS = re.compile(
    r"(?<!gradient )\b(checkpoints?|datasets?|rodadas?|corridas?|recall|trabalhador(es)?)\b", re.IGNORECASE
)
PLACEHOLDER = re.compile(r"%\(\w+\)[sdfgr]|%[sdfg]|\{\w+\}|%%")


def catalogue(app: str) -> Catalog:
    path = ROOT / app / "locale" / "pt_BR" / "LC_MESSAGES" / "django.po"
    return read_po(BytesIO(path.read_bytes()))


def sources(app: str) -> Iterator[tuple[Path, str]]:
    folders = [ROOT / app] if app != SHARED else [ROOT / SHARED, ROOT / "templates"]
    for folder in folders:
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.html")]):
            text = path.read_text(encoding="utf-8")
            yield path, templatize(text, origin=str(path)) if path.suffix == ".html" else text


def messages_in(app: str) -> Iterator[tuple[Path, Any, str | None]]:
    for path, text in sources(app):
        for _line, message, _comments, context in extract("python", BytesIO(text.encode()), keywords=KEYWORDS):
            yield path, message, context


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_no_string_is_missing(app: str) -> None:
    known = catalogue(app)
    missing = [
        f"{path.relative_to(ROOT)}: {message}"
        for path, message, context in messages_in(app)
        if known.get(message, context=context) is None
    ]
    assert missing == []


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_strings_are_found_at_all(app: str) -> None:
    assert len(list(messages_in(app))) > 20


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_no_translation_is_empty_or_uncertain(app: str) -> None:
    unfinished = [
        str(message.id)
        for message in catalogue(app)
        if message.id
        and (message.fuzzy or not all([message.string] if isinstance(message.string, str) else message.string))
    ]
    assert unfinished == []


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_no_translation_is_left_over(app: str) -> None:
    used = {(first(message), context) for _path, message, context in messages_in(app)}
    left_over = [
        message.id for message in catalogue(app) if message.id and (first(message.id), message.context) not in used
    ]
    assert left_over == []
    assert not catalogue(app).obsolete


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_a_thing_has_one_name(app: str) -> None:
    said = [
        message.string if isinstance(message.string, str) else " ".join(message.string) for message in catalogue(app)
    ]
    assert [text for text in said if NOT_OURS.search(text)] == []


def context_of(message: Any) -> str | None:
    """Babel reads a context from a .mo as bytes, from a .po as text."""
    return message.context.decode() if isinstance(message.context, bytes) else message.context


def first(message: Any) -> str:
    """The singular of a message."""
    return message if isinstance(message, str) else message[0]


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_a_translation_has_the_placeholders_of_its_original(app: str) -> None:
    """A singular may leave its number out ("one row"); nothing else may differ."""
    for message in catalogue(app):
        if not message.id:
            continue
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        translated = [message.string] if isinstance(message.string, str) else list(message.string)
        wanted = set(PLACEHOLDER.findall(originals[-1]))
        for text in translated[-1:]:
            assert set(PLACEHOLDER.findall(text)) == wanted, originals[-1]
        for text in translated[:-1]:
            assert set(PLACEHOLDER.findall(text)) <= wanted, originals[0]


@pytest.mark.parametrize("app", [*APPS, SHARED])
def test_each_compiled_catalogue_is_the_text_one(app: str) -> None:
    path = ROOT / app / "locale" / "pt_BR" / "LC_MESSAGES" / "django.mo"
    compiled = read_mo(BytesIO(path.read_bytes()))

    def content(found: Catalog) -> dict[tuple[str, str | None], tuple[str, ...]]:
        return {
            (first(m.id), context_of(m)): (m.string,) if isinstance(m.string, str) else tuple(m.string)
            for m in found
            if m.id
        }

    assert content(compiled) == content(catalogue(app))


def test_portuguese_counts_as_portuguese_does() -> None:
    with override("pt-br"):
        assert ngettext("%(count)d new run is in the queue.", "%(count)d new runs are in the queue.", 1) % {
            "count": 1
        } == ("1 novo treinamento está na fila.")
        assert ngettext("%(count)d new run is in the queue.", "%(count)d new runs are in the queue.", 2) % {
            "count": 2
        } == ("2 novos treinamentos estão na fila.")
