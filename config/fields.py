"""Serializer fields that let nothing through which a database refuses: NUL, surrogates, infinities, huge integers."""

import json
import math
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

MAX_INT = 2**31 - 1
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class BoundedIntegerField(serializers.IntegerField):
    """An integer that fits the column; not negative unless `min_value` says otherwise."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": MAX_INT, **kwargs})


class FiniteFloatField(serializers.FloatField):
    """A number; JSON's 1e999 reads as infinity and is refused."""

    default_error_messages = {"finite": _("Enter a finite number.")}

    def to_internal_value(self, data: Any) -> float:
        """The number. Raises ValidationError."""
        value = super().to_internal_value(data)
        if isinstance(data, bool) or not math.isfinite(value):
            self.fail("finite")
        return value


class LogTextField(serializers.CharField):
    """Text of a log line: what cannot be stored is replaced, for a line is not to block those behind it."""

    def to_internal_value(self, data: Any) -> str:
        """The text without NUL and lone surrogates. Raises ValidationError when it is no text."""
        if isinstance(data, str):
            data = storable(data)
        return super().to_internal_value(data)


class StorableJSONField(serializers.JSONField):
    """A JSON object, with what PostgreSQL's jsonb cannot hold replaced (see `storable`) or set to null."""

    default_error_messages = {"object": _("Expected an object."), "size": _("At most %(limit)d bytes are kept.")}

    def __init__(self, *, max_bytes: int = 1_000_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_bytes = max_bytes

    def to_internal_value(self, data: Any) -> Any:
        """The object. Raises ValidationError."""
        if not isinstance(data, dict):
            self.fail("object")
        data = storable_tree(data)
        if len(json.dumps(data)) > self.max_bytes:
            raise serializers.ValidationError(self.error_messages["size"] % {"limit": self.max_bytes}, code="size")
        return data


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates replaced, which neither UTF-8 columns nor jsonb can hold."""
    return text.replace("\x00", REPLACEMENT).encode("utf-8", "replace").decode("utf-8")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # JSON's integers have no end; one of 400 digits is infinite to all who read floats
        return False


def storable_tree(data: Any) -> Any:
    """The same for JSON: every text in it `storable`, every number that is not finite set to null."""
    if isinstance(data, str):
        return storable(data)
    if isinstance(data, int | float) and not _is_finite(data):
        return None
    if isinstance(data, dict):
        return {storable(str(key)): storable_tree(value) for key, value in data.items()}
    return [storable_tree(value) for value in data] if isinstance(data, list) else data
