"""What happens when the checking child itself breaks."""

import pytest
from django.core.files.base import ContentFile

from datasets_app import services
from datasets_app.confined import CheckingFailed


def test_a_file_that_breaks_the_checker_is_refused_as_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise CheckingFailed("Traceback: a fault of ours")

    monkeypatch.setattr(services, "check_file", broken)
    with pytest.raises(services.DatasetInvalid) as refused:
        services.check_dataset(file=ContentFile(b"PK\x03\x04", name="a.xlsx"), choice=services.SheetChoice())
    assert refused.value.code == "corrupt"
