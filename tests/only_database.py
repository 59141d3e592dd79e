"""`pytest -p tests.only_database`: leaves out what a database cannot change; for the second run, on PostgreSQL."""

import pytest

SIGNS = {"db", "transactional_db", "database_url"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that use Django's database, or an installation of their own."""
    config.hook.pytest_deselected(items=[item for item in items if not _touches_a_database(item)])
    items[:] = [item for item in items if _touches_a_database(item)]


def _touches_a_database(item: pytest.Item) -> bool:
    """A browser does not see which database there is; what it is told, other tests ask for."""
    if "browser" in getattr(item, "fixturenames", ()) or item.get_closest_marker("any_database"):
        return False
    return item.get_closest_marker("django_db") is not None or bool(SIGNS & set(getattr(item, "fixturenames", ())))
