"""The OpenAPI document, and the database as the contract names it."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from tests.routes import API, ROUTES

TABLES = {"bert_datasets", "bert_runs", "bert_jobs", "bert_metrics", "bert_logs", "bert_workers"}
INDEXES = {
    "ix_bert_datasets_sha256_hash": ("bert_datasets", ["sha256_hash"]),
    "ix_bert_runs_status": ("bert_runs", ["status"]),
    "ix_bert_jobs_status": ("bert_jobs", ["status"]),
    "ix_bert_metrics_run_id": ("bert_metrics", ["run_id"]),
    "ix_bert_logs_timestamp": ("bert_logs", ["timestamp"]),
}


def test_the_document_is_valid_and_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    document = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(document)
    assert (dict(GENERATOR_STATS._error_cache), dict(GENERATOR_STATS._warn_cache)) == ({}, {})


def test_the_document_lists_every_route_and_method() -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)
    documented = {
        (method.upper(), path.replace("{id}", "{}"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    for route in ROUTES:
        path = f"{API}/{route.path}".partition("?")[0]
        for name in ("{dataset}", "{run}", "{job}"):
            path = path.replace(name, "{}")
        assert (route.method, path) in documented


def test_the_document_is_served() -> None:
    answer = APIClient().get(f"{API}/schema?format=json")
    assert (answer.status_code, answer.json()["openapi"][:2]) == (200, "3.")


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db
def test_the_tables_are_named_as_agreed() -> None:
    assert set(connection.introspection.table_names()) >= TABLES


@pytest.mark.django_db
@pytest.mark.parametrize("name", INDEXES)
def test_the_indexes_are_named_as_agreed(name: str) -> None:
    table, columns = INDEXES[name]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    assert (found[name]["index"], found[name]["columns"]) == (True, columns)
