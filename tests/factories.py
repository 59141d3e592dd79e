"""The smallest valid objects; a test states only what matters to it."""

import hashlib
import io
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import openpyxl
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.utils import timezone
from rest_framework.test import APIClient

from datasets_app.models import Dataset, TaskType
from runs_app.models import BUILTIN_TINY_BERT, BaseModel, Job, Run
from runs_app.services import queue, runs
from workers_app import services as workers
from workers_app.models import Worker

_numbers = itertools.count(1)

CLASSIFICATION_ROWS = [
    ("Recurso de apelação provido.", "provido"),
    ("Nega-se provimento ao recurso.", "negado"),
    ("Recurso especial provido em parte.", "provido"),
    ("Recurso ordinário não provido.", "negado"),
]
TOKEN_ROWS = [
    ("O Estado de Mato Grosso do Sul", "O B-ORG I-ORG I-ORG I-ORG I-ORG I-ORG"),
    ("Maria recorreu", "B-PESSOA O"),
]


def sheet_bytes(rows: Sequence[Sequence[Any]] | None = None, header: Sequence[str] = ("texto", "rótulo")) -> bytes:
    """A small real .xlsx; four examples of two classes where no rows are given."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(list(header))
    for row in CLASSIFICATION_ROWS if rows is None else rows:
        sheet.append(list(row))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def make_user(*permissions: str, username: str = "", is_superuser: bool = False, is_staff: bool = False) -> User:
    """A person with these permissions ("runs_app.add_run") and no others."""
    user = User.objects.create_user(
        username=username or f"person-{next(_numbers)}",
        password="not-a-secret",
        is_superuser=is_superuser,
        is_staff=is_staff or is_superuser,
    )
    for permission in permissions:
        app, _dot, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def make_api_token(user: User | None = None) -> str:
    """The token of a person; of a superuser where none is named."""
    return workers.create_api_token(user=user or make_user(is_superuser=True))[1]


def make_worker(name: str = "", **values: Any) -> tuple[Worker, str]:
    """A registered worker and its token. `values` are columns, such as enabled or draining."""
    worker, token = workers.register_worker(name=name or f"gpu-{next(_numbers)}")
    for column, value in values.items():
        setattr(worker, column, value)
    worker.save()
    return worker, token


def client_for(token: str) -> APIClient:
    """An API client that shows this token with every request."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def make_dataset(content: bytes | None = None, **values: Any) -> Dataset:
    """A stored classification sheet, as an import leaves it; its bytes are real and different each time."""
    number = next(_numbers)
    if content is None:
        content = sheet_bytes([*CLASSIFICATION_ROWS, (f"Autos número {number}.", "provido")])
    dataset = Dataset(
        **{
            "name": f"Decisões {number}",
            "task_type": TaskType.TEXT_CLASSIFICATION,
            "sha256_hash": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "original_filename": "decisões.xlsx",
            "sheet": "Sheet",
            "columns": {"text": "texto", "label": "rótulo"},
            "mapping_key": hashlib.sha256(str(number).encode()).hexdigest(),
            "num_rows": 5,
            "labels": [{"name": "negado", "count": 2}, {"name": "provido", "count": 3}],
            "report": {"warnings": []},
            **values,
        }
    )
    dataset.file.save("sheet.xlsx", ContentFile(content), save=False)
    dataset.save()
    return dataset


def make_run(dataset: Dataset | None = None, **values: Any) -> Run:
    """A queued run of the built-in tiny model. `values` go to `create_run`: given, name, seed, priority, user, now."""
    # The catalogue comes with the migrations, and is gone after a test that emptied the tables behind itself.
    BaseModel.objects.get_or_create(model_id=BUILTIN_TINY_BERT, defaults={"label": "tiny-bert"})
    wanted = {"base_model": BUILTIN_TINY_BERT, "given": {}, "now": timezone.now(), **values}
    return runs.create_run(dataset=dataset or make_dataset(), **wanted)


def make_job(dataset: Dataset | None = None, **values: Any) -> Job:
    """The queued job of a new run."""
    return make_run(dataset, **values).job


def claim(worker: Worker, **values: Any) -> Job | None:
    """What `worker` gets when it asks for a job now."""
    return queue.claim_job(worker=worker, **{"claim_id": uuid4(), "now": timezone.now(), **values})


def make_running_job(worker: Worker | None = None, **values: Any) -> Job:
    """A job that `worker` (a new one by default) holds as its first attempt."""
    job = make_job(**values)
    holder = worker or make_worker()[0]
    claimed = claim(holder)
    assert claimed is not None
    assert claimed.pk == job.pk, "another job was waiting before this one"
    return claimed


def after_lease(job: Job) -> Any:
    """A moment one second after the lease of `job` ran out."""
    assert job.lease_expires_at is not None
    return job.lease_expires_at + timedelta(seconds=1)
