"""Path converters of the addresses."""

from django.urls import register_converter


class IdConverter:
    """A row's number that fits the database's integers: a longer one is an address that leads nowhere (404)."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        """The number."""
        return int(value)

    def to_url(self, value: int) -> str:
        """The same in digits."""
        return str(value)


register_converter(IdConverter, "id")
