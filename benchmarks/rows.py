"""Many rows at once for the benchmarks, by SQL and behind the ORM's back."""

from typing import Any


def execute(*statements: str) -> None:
    """One after the other, on Django's connection."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def multiply(model: Any, template: int, first: int, count: int, **columns: str) -> None:
    """`count` copies of a row, with ids from `first` on. columns: SQL for those that differ; `g` counts from 0."""
    table, names = model._meta.db_table, [f'"{field.column}"' for field in model._meta.local_concrete_fields]
    differing = {f'"{name}"': sql for name, sql in {"id": f"{first} + g", **columns}.items()}
    values = [differing.get(name, f"template.{name}") for name in names]
    execute(
        "WITH RECURSIVE series (g) AS "  # noqa: S608
        f"(SELECT CAST(0 AS bigint) UNION ALL SELECT g + 1 FROM series WHERE g + 1 < {count}) "
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {table} AS template, series "
        f"WHERE template.id = {template}"
    )


def without_keys() -> None:
    """On PostgreSQL this connection checks no foreign key from now on: millions of look-ups less."""
    if is_postgresql():
        execute("SET session_replication_role = replica")


def count_on(*tables: str) -> None:
    """The next row gets an id behind those that were given by hand."""
    if is_postgresql():
        count = "SELECT setval(pg_get_serial_sequence('{0}', 'id'), (SELECT max(id) FROM {0}))"
        execute(*[count.format(table) for table in tables])


def is_postgresql() -> bool:
    """Whether Django works on one."""
    from django.db import connection

    return connection.vendor == "postgresql"
